"""tfs-admin: the commands that show and change what a server serves, and those for tests against one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from tfs_client.cli import exits
from tfs_client.cli.admin.arguments import parse
from tfs_client.cli.credentials import WORDS

if TYPE_CHECKING:
    from tfs_client.cli.admin.arguments import Options

PROGRAM = "tfs-admin"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exits.guarded(PROGRAM, lambda: run(argv), WORDS)


def run(argv: Sequence[str] | None) -> int:
    """Parse the command line and run the command."""
    try:
        options = parse(argv)
    except SystemExit as end:  # argparse has printed everything; its output must still be flushed
        return end.code if isinstance(end.code, int) else exits.OK
    return _perform(options)


def _perform(options: Options) -> int:
    match options.command:
        case "status":
            from tfs_client.cli.admin.status.command import status

            return status(options)
        case "signatures":
            from tfs_client.cli.admin.signatures.command import signatures

            return signatures(options)
        case "wait":
            from tfs_client.cli.admin.wait.command import wait

            return wait(options)
        case "health":
            from tfs_client.cli.admin.health.command import health

            return health(options)
        case "config":
            from tfs_client.cli.admin.config.command import config

            return config(options)
        case "reload":
            from tfs_client.cli.admin.reload.command import reload

            return reload(options)
        case "record":
            from tfs_client.cli.admin.record.command import record

            return record(options)
        case "replay":
            from tfs_client.cli.admin.replay.command import replay

            return replay(options)
        case "cassette":
            from tfs_client.cli.admin.cassette.command import cassette

            return cassette(options)
        case "warmup":
            from tfs_client.cli.admin.warmup.command import warmup

            return warmup(options)
        case "typed-client":
            from tfs_client.cli.admin.typed_client.command import typed_client

            return typed_client(options)


def script() -> NoReturn:
    """The console script: run the command and end the process."""
    with exits.Interrupts():
        exits.warn_in_one_line(PROGRAM)
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would print text from servers unescaped
        code = main()
    os._exit(code)  # at once: everything is closed, and shutting down an interpreter with grpc takes long
