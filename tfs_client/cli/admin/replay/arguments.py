"""The options of ``tfs-admin replay``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfs_client.cli.admin.common_arguments import (
    ServerOptions,
    add_json,
    add_server,
    add_tolerances,
    describe,
    exit_codes,
)
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """Send the requests of a recording to a server, and compare its replies with the recorded ones.

Outputs, classes, values and signatures are compared, and the codes and texts of failed calls. Each difference
is a line with the call, the output, the index, both values and their distance. Calls keep their order in the
output. Calls of GetModelStatus are left out, because the states of versions depend on the moment.

--baseline compares two servers, or two versions of a model, instead: every request is sent to both, and the
recorded replies are not used. A warmup file without replies can be replayed in this way.

Calls that run at the same time wait for each other, which the recorded latencies may not show: --concurrency 1
makes the latencies comparable."""

EPILOG = """examples:
  tfs-admin replay calls.tfrecord --against tfs:8500 --rtol 1e-4
  tfs-admin replay calls.tfrecord --against tfs:8500 --model resnet=resnet_int8 --atol 0.01 --json
  tfs-admin replay calls.tfrecord --against new:8500 --baseline old:8500
  tfs-admin replay calls.tfrecord --against tfs:8500 --version 4 --baseline tfs:8500 --baseline-version 3

"""

TIMEOUT = "seconds for each call (default: 30; inf: no limit)"
CONCURRENCY = 8


@dataclass(frozen=True)
class ReplayOptions(ServerOptions):
    """The options of ``tfs-admin replay``."""

    command: Literal["replay"]
    file: str
    baseline: str | None
    model: Sequence[str] | None
    version: int | None
    baseline_version: int | None
    rtol: float
    atol: float
    concurrency: int
    json: bool


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    codes = exit_codes("  9    replies differ\n", usage="wrong arguments, or a recording that cannot be replayed")
    describe(parser, ReplayOptions, DESCRIPTION, EPILOG + codes)
    add_server(parser, server="the same as --against", timeout=TIMEOUT)
    parser.add_argument("file", metavar="FILE", help="a recording, or a warmup file")
    parser.add_argument(
        "--against",
        dest="server",
        metavar="TARGET",
        default=argparse.SUPPRESS,
        help="the server to send the calls to: host:port of its gRPC port, or http://host:port (required)",
    )
    parser.add_argument(
        "--baseline", metavar="TARGET", help="a server whose replies are expected, instead of the recorded ones"
    )
    parser.add_argument(
        "--model",
        metavar="NAME[=OTHER]",
        action="append",
        help="replay the calls of this model only, under another name if one is given; repeat for more",
    )
    parser.add_argument("--version", type=int, metavar="N", help="call this version instead of the recorded ones")
    parser.add_argument("--baseline-version", type=int, metavar="N", help="the same for --baseline")
    add_tolerances(parser)
    parser.add_argument(
        "--concurrency",
        type=int,
        default=CONCURRENCY,
        metavar="N",
        help="calls that run at the same time (default: %(default)s); 1 to compare latencies with recorded ones",
    )
    add_json(parser)
