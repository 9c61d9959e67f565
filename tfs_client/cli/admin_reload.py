"""tfs-admin reload: another configuration for a server, shown, asked about, sent, waited for and saved."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from tfs_client.cli import exits
from tfs_client.cli.admin_connection import check_grpc, connect, server_of
from tfs_client.cli.admin_edits import edited
from tfs_client.cli.admin_save import replacement
from tfs_client.errors import (
    CallError,
    ConfigError,
    DeadlineExceededError,
    FailedPreconditionError,
    NotFoundError,
    UnavailableError,
    UnknownError,
)
from tfs_client.model_config import ModelServerConfig
from tfs_client.options import Deadline, checked_timeout

if TYPE_CHECKING:
    from tfs_client.client import PredictClient
    from tfs_client.results import ModelStatus

POLL_INTERVAL = 0.1  # seconds between two looks at what the server makes of it

_PERHAPS = "the server may have taken the configuration all the same: tfs-admin status tells"


def reload(options: Any) -> int:
    """Show what changes; then, unless that was all, ask, send, save and wait."""
    check_grpc(options)
    if not (options.dry_run or options.yes or _terminal()):
        raise ConfigError("reload asks before it sends, and there is no terminal to ask on: give --yes, or --dry-run")
    base = ModelServerConfig.from_file(options.config)
    config = edited(base, options.edits)
    exits.show(_changes(options, base, config))
    if options.dry_run:
        return exits.OK
    if not (options.yes or _agreed(f"Replace the whole configuration of {server_of(options)}? [y/N] ")):
        return exits.said("tfs-admin", "nothing was sent", exits.DECLINED)
    return _replaced(options, config)


def _changes(options: Any, base: ModelServerConfig, config: ModelServerConfig) -> str:
    difference = config.difference(base)
    lines = [f"changes to {options.config}:" if difference else f"no changes to {options.config}"]
    lines += difference.splitlines()
    if options.verbose or not difference:
        lines += ["the whole configuration:", *(f"  {line}" for line in str(config).splitlines())]
    return "\n".join(lines)


def _terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _agreed(question: str) -> bool:
    # On standard error, for standard output may be a file or a pipe; and an end of input is no yes.
    print(question, end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    return answer.strip().lower() in ("y", "yes")


def _replaced(options: Any, config: ModelServerConfig) -> int:
    """Send the configuration; once the server took it, save it, whether or not it then loads everything."""
    with _saved(options, config) as save, connect(options) as client:
        deadline = Deadline.after(checked_timeout(options.timeout))
        try:
            client.reload_config(config, timeout=deadline.remaining())
        except CallError as error:
            raise _explained(error) from None
        exits.show(f"{server_of(options)} took the configuration")
        save()
        if options.save:
            exits.show(f"saved as {options.save}")
        if options.wait:
            _wait(client, config, deadline)
            exits.show("every model is served as configured")
    return exits.OK


def _saved(options: Any, config: ModelServerConfig) -> AbstractContextManager[Callable[[], None]]:
    return replacement(options.save, config.to_text()) if options.save else nullcontext(lambda: None)


def _explained(error: CallError) -> CallError:
    """The error with what it means for the configuration (model_servers/server_core.cc, ServerCore::ReloadConfig)."""
    if isinstance(error, FailedPreconditionError) and "assign label" in error.details:
        error.hint = "Labels are for versions that are AVAILABLE: reload without the label, --wait, then give it."
    if isinstance(error, DeadlineExceededError):
        return DeadlineExceededError(f"{error.details}; {_PERHAPS}", error.method)
    if isinstance(error, UnknownError) and "did not become available" in error.details:
        error.hint = f"It tells of models that could not be loaded; {_PERHAPS}."
    return error


def _wait(client: PredictClient, config: ModelServerConfig, deadline: Deadline) -> None:
    """Return when every model is served as configured. Raises for one that never will be, and when time is over.

    ``reload_config(wait=True)`` does the same, but does not say when the server has taken the configuration.
    """
    from tfs_client.calls.reload import failed, pending

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
    """The model's status; None where the server knows none."""
    try:
        return client.status(model=model, timeout=deadline.remaining())
    except DeadlineExceededError:  # the last look has little time: what an earlier one saw says more
        return seen
    except (UnavailableError, NotFoundError):
        return None


def _listed(reasons: dict[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in reasons.items())
