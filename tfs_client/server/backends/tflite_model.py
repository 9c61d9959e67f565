"""A TensorFlow Lite file: its inputs and outputs, and the signatures that TensorFlow Serving derives from it.

Serving reads SignatureDefs only from the metadata ``signature_defs_metadata``. A model without them gets one signature,
``serving_default``, whose aliases are the names of the tensors. Serving ignores signatures that the converter writes
into the flatbuffer itself.
Source: servables/tensorflow/tflite_session.cc; tensorflow/lite/tools/signature/signature_def_util.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from tfs_client._codec import tflite_file
from tfs_client._codec.dtypes import BY_NUMBER, STRING, Array, DType, find
from tfs_client._codec.tflite_file import FileTensor
from tfs_client._printable import shown
from tfs_client.errors import (
    AlreadyExistsError,
    DecodeError,
    InternalError,
    InvalidArgumentError,
)
from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tfs_client.server.backends.flexbuffers import read_strings
from tfs_client.signatures import DEFAULT_SIGNATURE, PREDICT

UNREADABLE = "Cannot build FlatBufferModel from buffer. The file is damaged, or is not a TensorFlow Lite model."

# The types that Serving supports, by their numbers in the schema.
TYPES = dict(enumerate(("float32", None, "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8")))


@dataclass(frozen=True)
class LiteTensor:
    """An input or output of a model.

    Attributes:
        index: its number in the graph.
        sizes: the sizes in the file, where 1 stands for variable sizes.
        signature: the sizes with -1 for variable ones; empty if the file does not say which are variable.
    """

    name: str
    index: int
    row: DType
    sizes: tuple[int, ...]
    signature: tuple[int, ...] = ()

    def info(self) -> TensorInfo:
        """Return the tensor as part of a signature."""
        found = TensorInfo(name=self.name, dtype=self.row.number)  # type: ignore[arg-type]
        found.tensor_shape.SetInParent()
        for size in self.sizes:
            found.tensor_shape.dim.add(size=size)
        return found

    def zeros(self) -> Array:
        """Return the value of an input that a signature omits."""
        return np.full(self.sizes, b"", object) if self.row is STRING else np.zeros(self.sizes, self.row.dtype)


@dataclass(frozen=True)
class LiteModel:
    """The content of a file that matters to callers.

    Attributes:
        inputs, outputs: tensors by name.
        signature_defs: the signatures to serve.
        own_signatures: the names of the signatures in the flatbuffer, which are not served.
        from_metadata: whether the metadata has signatures.
    """

    inputs: Mapping[str, LiteTensor]
    outputs: Mapping[str, LiteTensor]
    signature_defs: Mapping[str, SignatureDef]
    own_signatures: tuple[str, ...]
    from_metadata: bool


def read_model(file: BinaryIO) -> LiteModel:
    """Read a seekable file. Raises CallError with Serving's code and text."""
    try:
        found = tflite_file.read(file)
    except DecodeError as error:
        raise InvalidArgumentError(UNREADABLE) from error
    inputs, outputs = _by_name("Input", found.inputs), _by_name("Output", found.outputs)
    written = {} if found.metadata is None else _written(found.metadata)
    for name, proto in written.items():
        _resolve(name, "input", proto.inputs, inputs)
        _resolve(name, "output", proto.outputs, outputs)
    made = written or {DEFAULT_SIGNATURE: _generated(inputs, outputs)}
    return LiteModel(inputs, outputs, made, found.own_signatures, bool(written))


def _by_name(side: str, tensors: list[FileTensor]) -> dict[str, LiteTensor]:
    found: dict[str, LiteTensor] = {}
    for each in tensors:
        kind = TYPES.get(each.kind)
        if kind is None:  # the interpreter's numbers differ from the schema's
            raise InternalError(f"Unknown TfLite type: {10 if each.kind == 1 else each.kind + 1}")
        if each.name in found:
            raise AlreadyExistsError(f"{side} tensor name: {each.name} has multiple indices")
        found[each.name] = LiteTensor(each.name, each.index, find(kind), each.sizes, each.signature)
    return dict(sorted(found.items(), key=lambda item: item[0].encode()))


def _written(metadata: bytes) -> dict[str, SignatureDef]:
    try:
        found = read_strings(metadata)
    except DecodeError as error:
        raise InvalidArgumentError(
            f"Invalid SignatureDefs found in TfLite model: Error reading signature def map: {error}"
        ) from error
    protos: dict[str, SignatureDef] = {}
    for name, data in found.items():
        try:
            # Serving copies it as a C string, and so cuts it off at a zero byte, which the shape of a scalar has.
            protos[name.decode(errors="replace")] = SignatureDef.FromString(data.partition(b"\0")[0])
        except Exception as error:  # protobuf's DecodeError is another class in each of its implementations
            raise InvalidArgumentError(
                "Invalid SignatureDefs found in TfLite model: Cannot parse signature def found in flatbuffer."
            ) from error
    return protos


def _resolve(signature: str, side: str, infos: Mapping[str, TensorInfo], tensors: Mapping[str, LiteTensor]) -> None:
    """Replace the names of tensors in a signature by those of the graph, which may omit ``:0``. Raises CallError."""
    used: dict[str, str] = {}
    for alias, info in sorted(infos.items()):
        name = info.name if info.name in tensors else _without_output(info.name)
        if name not in tensors:
            raise InternalError(
                f"Unknown tensor '{info.name}'.\n\tSignature {side} {alias} references an unknown tensor"
            )
        tensor, info.name = tensors[name], name
        if info.dtype not in (0, tensor.row.number):
            declared = BY_NUMBER.get(info.dtype, BY_NUMBER[0]).name
            raise InvalidArgumentError(
                f"signature {shown(signature)}: {side} {shown(alias)} is declared as {declared}, "
                f"but its tensor {shown(name)} is {tensor.row.name}"
            )
        info.dtype = tensor.row.number  # type: ignore[assignment]
        if side == "input" and name in used:
            raise InvalidArgumentError(
                f"signature {shown(signature)}: the inputs {shown(used[name])} and {shown(alias)} are the same tensor, "
                f"{shown(name)}"
            )
        used[name] = alias


def _generated(inputs: Mapping[str, LiteTensor], outputs: Mapping[str, LiteTensor]) -> SignatureDef:
    """Return the signature for a model without one. The last of several tensors with the same alias gets it."""
    proto = SignatureDef(method_name=PREDICT)
    for infos, tensors in ((proto.inputs, inputs), (proto.outputs, outputs)):
        for name, tensor in tensors.items():
            infos[_without_output(name)].CopyFrom(tensor.info())
    return proto


def _without_output(name: str) -> str:
    return name.partition(":")[0]
