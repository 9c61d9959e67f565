"""The options of ``tfs-admin signatures``."""

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
)
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """List the inputs and outputs of each signature of a model, one per line.

The model is a served one, or with PATH an exported one: then neither a server nor the model's runtime is needed. PATH
is the folder of a SavedModel, of an ONNX or TensorFlow Lite model, or of numbered versions of it (the highest is used);
or a file: saved_model.pb, *.onnx, *.tflite, or signatures as JSON.

The output of --json can be committed as the contract of a model: signatures= of the clients, FakeServer and
tfs-serve --fake read it."""


@dataclass(frozen=True)
class SignaturesOptions(ServerOptions):
    """The options of ``tfs-admin signatures``."""

    command: Literal["signatures"]
    model: str | None
    version: int | None
    label: str | None
    json: bool
    path: str | None


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    describe(parser, SignaturesOptions, DESCRIPTION)
    parser.add_argument("path", metavar="PATH", nargs="?", help="read an exported model, instead of asking a server")
    add_server(parser)
    add_model(parser)
    add_version(parser)
    add_label(parser)
    add_json(parser)
