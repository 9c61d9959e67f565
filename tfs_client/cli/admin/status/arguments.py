"""The options of ``tfs-admin status``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfs_client.cli.admin.common_arguments import (
    ServerOptions,
    add_json,
    add_model,
    add_server,
    add_version,
    describe,
    exit_codes,
)
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """List the versions of a model that the server knows, highest first. Exits with 0 if one is AVAILABLE.

Without --model and TFS_MODEL, lists all models of the server, and exits with 0 if each has an AVAILABLE
version. TensorFlow Serving does not list its models: use --model NAME or --config FILE."""


@dataclass(frozen=True)
class StatusOptions(ServerOptions):
    """The options of ``tfs-admin status``."""

    command: Literal["status"]
    model: str | None
    all: bool
    config: str | None
    version: int | None
    json: bool


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    describe(parser, StatusOptions, DESCRIPTION, exit_codes("  6    a model has no AVAILABLE version\n"))
    add_server(parser)
    add_model(parser)
    parser.add_argument("--all", action="store_true", help="all models of a tfs-serve, even if TFS_MODEL is set")
    parser.add_argument("--config", metavar="FILE", help="all models of a model config file")
    add_version(parser)
    add_json(parser)
