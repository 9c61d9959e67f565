"""tfs-admin: what a server serves, whether it is ready, and another configuration for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, NoReturn

from tfs_client import daemons
from tfs_client.cli import exits
from tfs_client.cli.admin_arguments import parse
from tfs_client.cli.admin_connection import check_grpc, connect, models_of
from tfs_client.cli.admin_reload import reload
from tfs_client.cli.credentials import WORDS
from tfs_client.errors import ConfigError, DeadlineExceededError, NotFoundError, UnimplementedError

PROGRAM = "tfs-admin"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exits.guarded(PROGRAM, lambda: run(argv), WORDS)


def run(argv: Sequence[str] | None) -> int:
    """Read the command line and do what it says."""
    try:
        options = parse(argv)
    except SystemExit as end:  # argparse has said everything, and its output is still to be flushed
        return end.code if isinstance(end.code, int) else exits.OK
    return COMMANDS[options.command](options)


def status(options: Any) -> int:
    """The versions of a model. A model that the server does not know is one that is not ready."""
    (model,) = models_of(options)
    from tfs_client.cli import admin_report
    from tfs_client.results import ModelStatus

    with connect(options, model=model, version=options.version) as client:
        try:
            found = client.status()
        except NotFoundError as error:
            if options.json:
                exits.show(admin_report.status(ModelStatus(model, ()), as_json=True))
            return exits.said(PROGRAM, str(error), exits.NOT_READY)
    exits.show(admin_report.status(found, as_json=options.json))
    return exits.OK if found.ready else exits.NOT_READY


def signatures(options: Any) -> int:
    """What a model takes and gives."""
    (model,) = models_of(options)
    with connect(options, model=model, version=options.version, label=options.label) as client:
        found = client.signatures()
    from tfs_client.cli import admin_report

    exits.show(admin_report.signatures(found, as_json=options.json))
    return exits.OK


def wait(options: Any) -> int:
    """Until all models are ready: all at once, so that each has the whole time and the error names all that lack."""
    models = models_of(options)
    which = {name: value for name in ("version", "label") if (value := getattr(options, name)) is not None}
    if which and len(models) > 1:
        raise ConfigError(f"--{' and --'.join(which)} belong to one model: give a single --model")
    ended: SimpleQueue[tuple[str, Exception | None]] = SimpleQueue()
    with connect(options) as client:

        def ask(model: str) -> None:
            try:
                client.wait_until_ready(options.timeout, model=model, **which)
            except Exception as error:
                ended.put((model, error))
            else:
                ended.put((model, None))

        for model in models:
            if daemons.start(partial(ask, model), "tfs-admin-wait") is None:
                ask(model)
        late: dict[str, str] = {}
        for model, error in (ended.get() for _ in models):
            if isinstance(error, DeadlineExceededError):
                late[model] = error.details
            elif error is not None:  # no waiting heals it
                raise error
    if late:
        raise DeadlineExceededError("; ".join(late[model] for model in models if model in late))
    exits.show("\n".join(f"{model} is ready" for model in models))
    return exits.OK


def health(options: Any) -> int:
    """What the health service says."""
    check_grpc(options)
    with connect(options) as client:
        try:
            found = client.health(options.service)
        except UnimplementedError as error:
            error.hint = error.hint or "The model server has it when started with --enable_grpc_healthcheck_service."
            raise
        except NotFoundError as error:
            error.hint = "The model server's own names are ModelService and PredictionService."
            raise
    from tfs_client.cli import admin_report

    exits.show(admin_report.health(options.service, found, as_json=options.json))
    return exits.OK if found.name == "SERVING" else exits.NOT_READY


COMMANDS: Mapping[str, Callable[[Any], int]] = {
    "status": status,
    "signatures": signatures,
    "wait": wait,
    "health": health,
    "reload": reload,
}


def script() -> NoReturn:
    """The console script: run the command and end the process."""
    with exits.Interrupts():
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would print what servers send, as it came
        code = main()
    os._exit(code)  # at once: everything is closed, and taking an interpreter with grpc apart takes its time


if __name__ == "__main__":
    script()
