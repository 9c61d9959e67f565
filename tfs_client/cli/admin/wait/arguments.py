"""The options of ``tfs-admin wait``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfs_client.cli.admin.common_arguments import ServerOptions, add_label, add_server, add_version, describe
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """Wait until models are ready, and print the name of each as it becomes ready. The server may still be
starting. Exits with 4 when the server reports that a model, or the requested version, could not be loaded and
no other version is loading."""


@dataclass(frozen=True)
class WaitOptions(ServerOptions):
    """The options of ``tfs-admin wait``."""

    command: Literal["wait"]
    model: Sequence[str] | None
    version: int | None
    label: str | None


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    describe(parser, WaitOptions, DESCRIPTION)
    add_server(parser)
    parser.add_argument(
        "--model", metavar="NAME", action="append", help="model name (TFS_MODEL); repeat to wait for several models"
    )
    add_version(parser)
    add_label(parser)
