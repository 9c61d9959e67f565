"""The options of ``tfs-admin typed-client``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfs_client.cli.admin.common_arguments import (
    ServerOptions,
    add_label,
    add_server,
    add_version,
    describe,
    exit_codes,
)
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """Write a Python module with a typed client of a model: a method for each signature, a dataclass for
its outputs, for PredictClient and for AsyncPredictClient.

The signatures come from a server, or from a path: a SavedModel's directory, saved_model.pb, an ONNX or TensorFlow
Lite model, or JSON, as "tfs-admin signatures --json" prints it or as GET /v1/models/NAME/metadata returns it. A name
with "/", or that ends in .json, .pb, .onnx or .tflite, is a path; write ./NAME for a local path.

The module contains the signatures. With --check, nothing is written: they are compared with those of the server or
the path. Every difference is printed, and the exit code is 9 if there are any. The module itself can check them when
a program starts: its classes have a method check()."""

EPILOG = """examples:
  tfs-admin typed-client resnet --server tfs:8500 -o resnet_client.py
  tfs-admin typed-client resnet --server tfs:8500 -o resnet_client.py --check
  tfs-admin typed-client /models/resnet -o resnet_client.py --name ResNet
  tfs-admin typed-client ./signatures.json --model resnet -o resnet_client.py

"""


@dataclass(frozen=True)
class TypedClientOptions(ServerOptions):
    """The options of ``tfs-admin typed-client``."""

    command: Literal["typed-client"]
    source: str
    output: str
    name: str | None
    model: str | None
    version: int | None
    label: str | None
    check: bool


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    describe(parser, TypedClientOptions, DESCRIPTION, EPILOG + exit_codes("  9    --check: the module differs\n"))
    add_server(parser)
    parser.add_argument("source", metavar="MODEL|PATH", help="a model of the server, or a path with signatures")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the module to write, or to check")
    parser.add_argument(
        "--name", metavar="CLASS", help="name of the class (default: that in FILE, else from the model)"
    )
    parser.add_argument("--model", metavar="NAME", help="name of the model at PATH (default: that of its folder)")
    add_version(parser)
    add_label(parser)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 9 if the module has other signatures"
    )
