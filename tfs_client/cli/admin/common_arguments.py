"""What the options of several commands have in common: the server, the model, the output, and the exit codes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from tfs_client.cli import credentials, exits
from tfs_client.cli.argument_parser import ArgumentParser, time_limit
from tfs_client.cli.configuration import DEFAULT_SERVER
from tfs_client.cli.credentials import CredentialOptions
from tfs_client.options import DEFAULT_TIMEOUT

SERVER = (
    f"host:port of the gRPC port (TFS_SERVER; default: {DEFAULT_SERVER}); status, signatures, wait, replay and "
    "typed-client also accept http://host:port of the REST port"
)
TIMEOUT = f"seconds for the whole command (TFS_TIMEOUT; default: {DEFAULT_TIMEOUT:g}; inf: no limit)"
TOLERANCES = ("--rtol", "--atol")


def exit_codes(
    more: str = "",
    *,
    usage: str = "wrong arguments or an unreadable file",
    server: bool = True,
    failed: str = "",
) -> str:
    """Return the exit codes of a command for its help; ``more``: the lines of those that only it has."""
    return f"{exits.table(usage, server=server, failed=failed)}{more}  {exits.INTERRUPTED}  interrupted\n"


@dataclass(frozen=True)
class ServerOptions(CredentialOptions):
    """The options of every command that calls a server: which one, and how to reach it."""

    server: str | None
    timeout: float | None


def describe(parser: ArgumentParser, options: type, description: str, epilog: str = "") -> None:
    """Set the texts of a command's help, and the class of its options. By default the epilog has the shared codes."""
    parser.description = description
    parser.epilog = epilog or exit_codes()
    parser.set_defaults(options=options)


def server_defaults() -> dict[str, object]:
    """Return the values of the server's options that stand neither before nor after the command.

    The parsers have no defaults for them: those of a command's parser would overwrite what precedes the command.
    """
    return {
        "server": None,
        "timeout": None,
        "tls": False,
        "ca": None,
        "cert": None,
        "key": None,
        "authority": None,
        "token": None,
        "metadata": [],
        "profile": None,
    }


def add_server(parser: ArgumentParser, *, server: str = SERVER, timeout: str = TIMEOUT) -> None:
    """Add the options of ServerOptions.

    Args:
        server, timeout: the help of these two options.
    """
    group = parser.add_argument_group("server", argument_default=argparse.SUPPRESS)
    group.add_argument("--server", metavar="TARGET", help=server)
    group.add_argument("--timeout", type=time_limit, metavar="S", help=timeout)
    credentials.add_arguments(group)


def add_model(parser: ArgumentParser) -> None:
    """Add --model."""
    parser.add_argument("--model", metavar="NAME", help="model name (TFS_MODEL)")


def add_version(parser: ArgumentParser) -> None:
    """Add --version."""
    parser.add_argument("--version", type=int, metavar="N", help="model version")


def add_label(parser: ArgumentParser) -> None:
    """Add --label."""
    parser.add_argument("--label", metavar="NAME", help="version label, instead of --version")


def add_tolerances(parser: ArgumentParser) -> None:
    """Add --rtol and --atol."""
    parser.add_argument("--rtol", type=float, default=0.0, metavar="R", help="relative tolerance (default: 0)")
    parser.add_argument("--atol", type=float, default=0.0, metavar="A", help="absolute tolerance (default: 0)")


def add_json(parser: ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON")
