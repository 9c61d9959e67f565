"""The directory of a SavedModel: its file, the MetaGraphDef with the given tags, and its assets and init op.

Source: tensorflow/cc/saved_model/reader.cc and loader_util.cc.
"""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfs_client._codec import regular_files
from tfs_client._printable import bounded
from tfs_client.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnimplementedError,
)

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef

log: logging.Logger = logging.getLogger("tfs_client.server")

BINARY, TEXT, SESSION_BUNDLE = "saved_model.pb", "saved_model.pbtxt", "export.meta"
MAX_BYTES = (1 << 31) - 1  # of a message of protobuf
INIT_OP = "__saved_model_init_op"


def model_file(path: str) -> str:
    """Return the file of the model. Raises CallError if the directory has none."""
    for name in (BINARY, TEXT):
        if os.path.isfile(file := os.path.join(path, name)):
            return file
    if os.path.exists(os.path.join(path, SESSION_BUNDLE)):
        raise UnimplementedError("Session Bundle is deprecated and removed.")
    raise NotFoundError(
        f"Specified file path does not appear to contain a SavedModel bundle (should have a file called `{BINARY}`)\n"
        f"Specified file path: {path}"
    )


def meta_graph(file: str, tags: frozenset[str]) -> Any:
    """Return the first MetaGraphDef in a file with exactly these tags, as TensorFlow's message. Raises CallError."""
    for found in _saved_model(file).meta_graphs:
        if tags == set(found.meta_info_def.tags):
            return found
    raise NotFoundError(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. "
        "To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )


def _saved_model(file: str) -> Any:
    from tfs_client._codec import text_messages

    saved_model = import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel()
    try:
        data = regular_files.read(file, MAX_BYTES)
    except InvalidArgumentError as error:
        raise DataLossError(error.details) from error
    kind = "text" if file.endswith(TEXT) else "binary"
    try:
        if kind == "text":
            text_messages.fill(saved_model, data)
        else:
            saved_model.ParseFromString(data)
    except Exception as error:  # DecodeError, TextFormatError
        if kind == "text":
            log.error("Error parsing text-format tensorflow.SavedModel: %s", bounded(str(error)))
        raise DataLossError(f"Can't parse {file} as {kind} proto") from error
    return saved_model


def assets(meta_graph: Any, path: str) -> dict[str, str]:
    """Return the paths of the model's asset files, by the name of the tensor that takes each path."""
    return {each.tensor_info.name: os.path.join(path, "assets", each.filename) for each in _asset_files(meta_graph)}


def _asset_files(meta_graph: Any) -> list[AssetFileDef]:
    """Return the asset files: TensorFlow 2 lists them in a field, TensorFlow 1 in a collection."""
    if meta_graph.asset_file_def:
        return list(meta_graph.asset_file_def)
    asset_file_def = import_module("tensorflow.core.protobuf.meta_graph_pb2").AssetFileDef
    packed = meta_graph.collection_def["saved_model_assets"].any_list.value
    return [asset_file_def.FromString(each.value) for each in packed]


def init_op(meta_graph: Any, path: str) -> str:
    """Return the op to run before the first call: from the init signature, or else from a collection; "" for none."""
    if INIT_OP in meta_graph.signature_def:
        outputs = meta_graph.signature_def[INIT_OP].outputs
        if INIT_OP not in outputs:
            raise FailedPreconditionError(f"Could not find output {INIT_OP}")
        return str(outputs[INIT_OP].name)
    for key in ("saved_model_main_op", "legacy_init_op"):
        if key in meta_graph.collection_def:
            ops = meta_graph.collection_def[key].node_list.value
            if len(ops) != 1:
                raise FailedPreconditionError(f"Expected exactly one main op in : {path}")
            return str(ops[0])
    return ""
