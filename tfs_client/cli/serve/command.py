"""tfs-serve: the tiny server as a program, with the flags, files and texts of tensorflow_model_server."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tfs_client import __version__
from tfs_client._printable import bounded
from tfs_client.cli import exits
from tfs_client.cli.serve.flags import Arguments, Use, read, unknown_argument, usage
from tfs_client.errors import CallError, TFServingError

PROGRAM = "tfs-serve"
FAILED = 255  # main() of the model server returns -1
NOT_STARTED = f"The server was not started. {PROGRAM} --help lists all flags"

log: logging.Logger = logging.getLogger("tfs_client.server")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command until a signal stops it; returns the exit code."""
    arguments = read(sys.argv[1:] if argv is None else argv)
    if not arguments.usable:
        exits.show(usage(PROGRAM))
        for text in arguments.wrong:  # after the long usage, to stay visible on a terminal
            log.error("%s", text)
        return FAILED
    if arguments.values.version:
        exits.show(f"TensorFlow ModelServer: {__version__} (tfs_client)\nTensorFlow Library: {_tensorflow_version()}")
        return exits.OK
    if arguments.unknown:
        exits.show(bounded("\n".join(map(unknown_argument, arguments.unknown))))
        exits.show(NOT_STARTED)
        return FAILED
    _log_unused(arguments)
    return _serve(arguments)


def _serve(arguments: Arguments) -> int:
    # Before the slow imports, so that Ctrl-C during them prints no traceback.
    from tfs_client.cli.signals import Signals

    with Signals() as signals:
        from tfs_client.cli.serve.serving import run
        from tfs_client.server.access.bounds import raise_open_files

        raise_open_files()
        try:
            run(arguments, signals)
        except TFServingError as error:
            exits.show(f"Failed to start server. Error: {_status(error)}")
            values = arguments.values
            if not (values.model_base_path or values.model_config_file or values.embedded or values.fake):
                exits.show(f"{NOT_STARTED}; --embedded serves demo models")
            return FAILED
    return exits.OK


def _status(error: TFServingError) -> str:
    """Return an error in the model server's form of a status. Errors without a code are invalid arguments."""
    if isinstance(error, CallError):
        return f"{error.code.name}: {error.details}"
    return f"INVALID_ARGUMENT: {error}"


def _log_unused(arguments: Arguments) -> None:
    levels = {Use.ACCEPTED: logging.INFO, Use.IGNORED: logging.WARNING}
    for flag in sorted(arguments.given, key=lambda flag: flag.name):
        if flag.use in levels:
            log.log(levels[flag.use], "--%s: %s", flag.name, flag.use.value)


def _tensorflow_version() -> str:
    """Return the version of the installed TensorFlow, without importing it."""
    from importlib import metadata

    for package in ("tensorflow", "tensorflow-cpu"):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "none"


def script() -> NoReturn:
    """The console script: run the command and end the process."""
    from tfs_client.cli.serve.log import log_to_stderr

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # the server reports a port that is in use
    log_to_stderr(os.environ)
    code = main()
    logging.shutdown()
    os._exit(code)  # at once: remaining threads have had their grace period
