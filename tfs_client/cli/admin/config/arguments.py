"""The options of ``tfs-admin config``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfs_client.cli.admin.common_arguments import (
    ServerOptions,
    add_json,
    add_label,
    add_model,
    add_server,
    add_version,
    describe,
    exit_codes,
)
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """Print every option of a client with its value and its source: an argument, a variable, a table of a
file, or the default. It does not connect to the server, and secrets are hidden.

Arguments take precedence over variables, variables over the profile. The variables are TFS_SERVER, TFS_MODEL,
TFS_TIMEOUT, TFS_TOKEN, TFS_CA and TFS_PROFILE. The commands that call a server use these values. PredictClient()
without a target uses them too, but has no default server.

All invalid or contradictory values are listed; the exit code is then 2."""


@dataclass(frozen=True)
class ConfigOptions(ServerOptions):
    """The options of ``tfs-admin config``."""

    command: Literal["config"]
    model: str | None
    version: int | None
    label: str | None
    signature: str | None
    json: bool


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    codes = exit_codes(
        usage="wrong arguments, or values that cannot be used", server=False, failed="the output cannot be written"
    )
    describe(parser, ConfigOptions, DESCRIPTION, codes)
    add_server(parser)
    add_model(parser)
    add_version(parser)
    add_label(parser)
    parser.add_argument("--signature", metavar="NAME", help="signature to run (default: serving_default)")
    add_json(parser)
