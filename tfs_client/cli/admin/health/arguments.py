"""The options of ``tfs-admin health``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfs_client.cli.admin.common_arguments import ServerOptions, add_json, add_server, describe, exit_codes
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """Query gRPC's health service. TensorFlow Serving offers it with --enable_grpc_healthcheck_service; its
services are named ModelService and PredictionService."""


@dataclass(frozen=True)
class HealthOptions(ServerOptions):
    """The options of ``tfs-admin health``."""

    command: Literal["health"]
    service: str
    json: bool


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    describe(parser, HealthOptions, DESCRIPTION, exit_codes("  6    not SERVING\n"))
    add_server(parser)
    parser.add_argument(
        "service", metavar="SERVICE", nargs="?", default="", help="service name (default: the server as a whole)"
    )
    add_json(parser)
