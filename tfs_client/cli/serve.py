"""tfs-serve: the tiny server as a program, with tensorflow_model_server's flags, files and texts."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tfs_client._version import __version__
from tfs_client.cli import exits
from tfs_client.cli.serve_flags import Arguments, Use, complaint, read, usage
from tfs_client.errors import CallError, TFServingError
from tfs_client.shown import bounded

PROGRAM = "tfs-serve"
FAILED = 255  # main() of the model server returns -1

log = logging.getLogger("tfs_client.server")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command until it is told to stop; returns its exit code."""
    arguments = read(sys.argv[1:] if argv is None else argv)
    for text in arguments.wrong:
        log.error("%s", text)
    if not arguments.usable:
        exits.show(usage(PROGRAM))
        return FAILED
    if arguments.values.version:
        exits.show(f"TensorFlow ModelServer: {__version__} (tfs_client)\nTensorFlow Library: {_tensorflow_version()}")
        return exits.OK
    if arguments.unknown:
        exits.show(bounded("\n".join(map(complaint, arguments.unknown))))
        exits.show(f"The server was not started. {PROGRAM} --help lists all flags")
        return FAILED
    _tell_unused(arguments)
    return _serve(arguments)


def _serve(arguments: Arguments) -> int:
    # Before what takes long to import: who presses Ctrl-C meanwhile shall see no traceback.
    from tfs_client.cli.serve_signals import StopSignals

    with StopSignals() as signals:
        from tfs_client.cli.serve_running import run
        from tfs_client.server.access.bounds import raise_open_files

        raise_open_files()
        try:
            run(arguments, signals)
        except TFServingError as error:
            exits.show(f"Failed to start server. Error: {_status(error)}")
            return FAILED
    return exits.OK


def _status(error: TFServingError) -> str:
    """An error as the model server shows a status. Values that make no sense are invalid arguments."""
    if isinstance(error, CallError):
        return f"{error.code.name}: {error.details}"
    return f"INVALID_ARGUMENT: {error}"


def _tell_unused(arguments: Arguments) -> None:
    levels = {Use.ACCEPTED: logging.INFO, Use.IGNORED: logging.WARNING}
    for flag in sorted(arguments.given, key=lambda flag: flag.name):
        if flag.use in levels:
            log.log(levels[flag.use], "--%s: %s", flag.name, flag.use.value)


def _tensorflow_version() -> str:
    """That of the installed package, which is not imported for it."""
    from importlib import metadata

    for package in ("tensorflow", "tensorflow-cpu"):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "none"


def script() -> NoReturn:
    """The console script: run the command and end the process."""
    from tfs_client.cli.serve_log import log_to_stderr

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would say of a port that is taken, we say
    log_to_stderr()
    code = main()
    logging.shutdown()
    os._exit(code)  # at once: whoever still works here has had its time


if __name__ == "__main__":
    script()
