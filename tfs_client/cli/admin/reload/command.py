"""tfs-admin reload: show a new configuration, ask for confirmation, send it, wait until it is served, and save it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tfs_client._transports.deadline import Deadline
from tfs_client.cli import exits
from tfs_client.cli.admin.reload.arguments import ReloadOptions
from tfs_client.cli.admin.reload.checks import check
from tfs_client.cli.admin.reload.edits import edited
from tfs_client.cli.admin.reload.previous_config import PreviousConfig
from tfs_client.cli.admin.server_connection import ServerConnection
from tfs_client.cli.replaced_files import replacement
from tfs_client.errors import (
    CallError,
    ConfigError,
    DeadlineExceededError,
    DecodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
)
from tfs_client.model_config import ModelServerConfig

if TYPE_CHECKING:
    from tfs_client.client import PredictClient
    from tfs_client.results import ModelStatus

POLL_INTERVAL = 0.1  # seconds between two status calls

_PERHAPS = "the server may have accepted the configuration nevertheless: see tfs-admin status"

# Errors after which the server keeps its configuration. LOGGER_REFUSED is the exception: the server has switched.
REFUSED = (
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnimplementedError,
)
LOGGER_REFUSED = "No request-logger-creator provided"


def reload(options: ReloadOptions) -> int:
    """Show changes and warnings; then, unless it is a dry run, ask, send, save and wait."""
    connection = ServerConnection(options, one="reload", grpc=True)
    base = ModelServerConfig.from_file(options.config)
    config = edited(base, options.edits)
    if not (options.dry_run or options.yes or _stdin_is_terminal()):
        raise ConfigError("reload asks for confirmation, but standard input is not a terminal: use --yes or --dry-run")
    with connection.connect() as client:
        deadline = Deadline.after(connection.timeout)
        current, warnings = check(client, base, config, deadline)
        exits.show(_changes(options, connection.server, base, config, current))
        for warning in warnings:
            exits.show_note(f"tfs-admin: warning: {warning}")
        if options.dry_run:
            return exits.OK
        asked = time.monotonic()
        if not (options.yes or _confirmed(f"Replace the whole configuration of {connection.server}? [y/N] ")):
            return exits.show_error("tfs-admin", "nothing was sent", exits.DECLINED)
        if deadline.at is not None:  # the time spent on the question does not count
            deadline.at += time.monotonic() - asked
        before = base if current is None and options.edits else current
        with _saved(options, config) as save:
            return _replaced(
                options, client, config, deadline, save, PreviousConfig(options.config, connection, before, config)
            )


def _changes(
    options: ReloadOptions,
    server: str,
    base: ModelServerConfig,
    config: ModelServerConfig,
    current: ModelServerConfig | None,
) -> str:
    """Describe the changes: relative to the server's configuration, or to the file if the server does not report it."""
    whole = [f"  {line}" for line in str(config).splitlines()]
    difference = config.difference(base if current is None else current)
    if current is None and not difference:
        return "\n".join([f"replacement for the whole configuration of {server}, from {options.config}:", *whole])
    before = options.config if current is None else f"the configuration of {server}"
    lines = [f"changes to {before}:" if difference else f"no changes to {before}"]
    lines += difference.splitlines()
    if options.verbose:
        lines += ["the whole configuration:", *whole]
    return "\n".join(lines)


def _stdin_is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _confirmed(question: str) -> bool:
    # On standard error, because standard output may be a file or a pipe. End of input counts as no.
    print(question, end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    return answer.strip().lower() in ("y", "yes")


def _replaced(
    options: ReloadOptions,
    client: PredictClient,
    config: ModelServerConfig,
    deadline: Deadline,
    save: Callable[[], None],
    previous: PreviousConfig,
) -> int:
    """Send the configuration and save it once the server has accepted it, whether or not all models then load."""
    try:
        try:
            client.reload_config(config, timeout=deadline.remaining())
        except CallError as error:
            if _changed_nothing(error):
                previous.drop()
                raise _explained(error) from None
            raise _with_hint(_explained(error), previous.restoring(client)) from None
        exits.show(f"{previous.connection.server} accepted the configuration")
        save()
        if options.save:
            exits.show(f"saved as {options.save}")
        if options.wait:
            try:
                _wait(client, config, deadline)
            except CallError as error:
                raise _with_hint(error, previous.restoring(client)) from None
            exits.show("every model is served as configured")
            previous.drop()
        elif previous.path:
            exits.show(f"the previous configuration is saved as {previous.path}")
    except (KeyboardInterrupt, OSError, DecodeError):
        if previous.path:
            exits.show_note(f"tfs-admin: {previous.restoring()}")
        raise
    return exits.OK


def _changed_nothing(error: CallError) -> bool:
    """Whether it is certain that the server still has its previous configuration."""
    refused = isinstance(error, REFUSED) and LOGGER_REFUSED not in error.details
    return refused or (error.unreached and error.attempts == 1)


def _with_hint(error: CallError, hint: str) -> CallError:
    """Add a hint to an error."""
    before = exits.ANOTHER_LIMIT if isinstance(error, DeadlineExceededError) else error.hint
    error.hint = f"{before} {hint}".strip()
    return error


def _saved(options: ReloadOptions, config: ModelServerConfig) -> AbstractContextManager[Callable[[], None]]:
    return replacement(options.save, [config.to_text().encode()]) if options.save else nullcontext(lambda: None)


def _explained(error: CallError) -> CallError:
    """Add what an error means for the configuration (model_servers/server_core.cc, ServerCore::ReloadConfig)."""
    if isinstance(error, FailedPreconditionError) and "assign label" in error.details:
        error.hint = (
            "Only versions that are AVAILABLE can have labels: reload without the label and with --wait, then add it."
        )
    if isinstance(error, DeadlineExceededError):
        return DeadlineExceededError(f"{error.details}; {_PERHAPS}", error.method)
    if isinstance(error, UnknownError) and "did not become available" in error.details:
        error.hint = f"These models could not be loaded; {_PERHAPS}."
    return error


def _wait(client: PredictClient, config: ModelServerConfig, deadline: Deadline) -> None:
    """Wait until every model is served as configured. Raises when one has failed to load, and after the deadline.

    ``reload_config(wait=True)`` does the same, but does not report when the server has accepted the configuration.
    """
    from tfs_client._calls.reload import failed, pending

    statuses: dict[str, ModelStatus | None] = {}
    while True:
        for model in config:
            statuses[model.name] = _status(client, model.name, deadline, statuses.get(model.name))
        if broken := failed(config, statuses):
            raise FailedPreconditionError(f"the server could not load {_listed(broken)}")
        missing = pending(config, statuses)
        if not missing:
            return
        if deadline.passed():
            raise DeadlineExceededError(f"within {deadline.limit:g} s the server did not serve {_listed(missing)}")
        time.sleep(min(POLL_INTERVAL, deadline.remaining() or POLL_INTERVAL))


def _status(client: PredictClient, model: str, deadline: Deadline, seen: ModelStatus | None) -> ModelStatus | None:
    """Return the model's status; None if the server does not know it."""
    try:
        return client.status(model=model, timeout=deadline.remaining())
    except DeadlineExceededError:  # the last call has little time: an earlier status says more
        return seen
    except (UnavailableError, NotFoundError):
        return None


def _listed(reasons: dict[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in reasons.items())
