"""TensorFlow Lite's custom op ParseExample, which TensorFlow Serving has but TensorFlow's interpreter lacks.

The op is removed from the graph: its outputs become inputs, which TensorFlow's op of the same name computes before the
interpreter runs. That requires the tf.Examples to be an input of the model, and names and defaults to be constant.
Other ParseExample ops stay, so that the interpreter refuses the model.
Source: tensorflow/lite/kernels/parse_example/parse_example.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_client._codec.dtypes import Array, find
from tfs_client.errors import CallError, InternalError, InvalidArgumentError
from tfs_client.server.backends.saved_model import Session
from tfs_client.server.backends.tflite_model import TYPES, UNREADABLE
from tfs_client.server.model_failures import message_of

if TYPE_CHECKING:
    from google.protobuf.message import Message

SCHEMA = "tensorflow.lite.python.schema_py_generated"
V1, V2 = b"ParseExample", b"ParseExampleV2"
PARSED = ("float32", "int64", "string")  # the types of features
INVOKE_FAILED = "Failed to invoke TfLite interpreter"


@dataclass(frozen=True)
class ParseExample:
    """One op that has been removed from its graph.

    Attributes:
        serialized: the input with the examples.
        outputs: the tensors that it computes: indices, values and shapes of sparse features, then dense features.
        attributes: the arguments of TensorFlow's op, without the examples.
    """

    serialized: int
    outputs: tuple[int, ...]
    attributes: Mapping[str, object]


class ExampleParser:
    """Computes ParseExample ops, in a session with this ConfigProto.

    Raises InternalError for an op that TensorFlow refuses.
    """

    def __init__(self, tf: ModuleType, ops: Sequence[ParseExample], config: Message) -> None:
        v1 = tf.compat.v1
        self._fetches: dict[int, str] = {}
        try:
            with tf.Graph().as_default():
                inputs = {index: v1.placeholder(tf.string, [None]) for index in {op.serialized for op in ops}}
                for op in ops:
                    found = tf.raw_ops.ParseExampleV2(serialized=inputs[op.serialized], **op.attributes)
                    tensors = (*found.sparse_indices, *found.sparse_values, *found.sparse_shapes, *found.dense_values)
                    self._fetches |= {index: each.name for index, each in zip(op.outputs, tensors, strict=True)}
                meta_graph = v1.train.export_meta_graph()
        except (ValueError, TypeError) as error:
            raise InternalError(f"ParseExample: {message_of(error)}") from error
        self._feeds = {index: each.name for index, each in inputs.items()}
        self._session = Session(tf, meta_graph, config)
        try:
            self._run({index: np.array([], object) for index in self._feeds})
        except CallError as error:
            self.close()
            raise InternalError(f"ParseExample: {error.details}") from error

    def __call__(self, inputs: Mapping[int, Array]) -> dict[int, Array]:
        """Return the outputs of the ops. Raises CallError, with INTERNAL for examples that do not fit."""
        try:
            return self._run(inputs)
        except InvalidArgumentError as error:
            raise InternalError(f"{INVOKE_FAILED}. {error.details}") from error

    def _run(self, inputs: Mapping[int, Array]) -> dict[int, Array]:
        feeds = {name: inputs[index] for index, name in self._feeds.items()}
        found = self._session.run(feeds, tuple(self._fetches.values()))
        return {index: found[name] for index, name in self._fetches.items()}

    def close(self) -> None:
        """Free the memory; no call may be running. Calling it again has no effect."""
        self._session.close()


def extract(content: bytes) -> tuple[bytes, Sequence[ParseExample]]:
    """Return the model without its ParseExample ops, and the ops. Raises InvalidArgumentError for a damaged file."""
    if V1 not in content:
        return content, ()
    schema = import_module(SCHEMA)
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        if any(getattr(buffer, "offset", 0) > 1 for buffer in model.buffers):  # its data lies outside of the flatbuffer
            return content, ()
        ops = _Graph(model).extract()
        return (_packed(model), ops) if ops else (content, ())
    except Exception as error:  # the generated classes raise any error for damaged offsets
        raise InvalidArgumentError(UNREADABLE) from error


def _packed(model: Any) -> bytes:
    builder = import_module("flatbuffers").Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _Graph:
    def __init__(self, model: Any) -> None:
        self._buffers = model.buffers
        self._graph = model.subgraphs[0]
        self._codes = [code.customCode for code in model.operatorCodes]

    def extract(self) -> list[ParseExample]:
        graph, kept = self._graph, []
        taken: list[ParseExample] = []
        for op in graph.operators or ():
            found = self._parse_example(op)
            if found is None:
                kept.append(op)
            else:
                taken.append(found)
        outputs = [index for op in taken for index in op.outputs]
        graph.operators, graph.inputs = kept, np.array([*graph.inputs, *outputs], np.int32)
        return taken

    def _parse_example(self, op: Any) -> ParseExample | None:
        """Return TensorFlow's op of the same name; None for other ops, and if the op cannot run before the others."""
        code = self._codes[op.opcodeIndex]
        if code not in (V1, V2):
            return None
        serialized, _, *rest = map(int, op.inputs)
        outputs = tuple(map(int, op.outputs))
        constants = [value for index in rest if (value := self._constant(index)) is not None]
        if serialized not in self._graph.inputs or self._type(serialized) != "string" or len(constants) < len(rest):
            return None
        split = _split_v1(constants, len(outputs)) if code == V1 else _split_v2(constants, len(outputs))
        if split is None:
            return None
        sparse_keys, dense_keys, defaults = split
        count = len(sparse_keys)
        indices, sparse, sizes = outputs[:count], outputs[count : 2 * count], outputs[2 * count : 3 * count]
        dense = outputs[3 * count :]
        default_types = [self._type(index) for index in rest[len(rest) - len(dense) :]]
        if {*map(self._type, (*indices, *sizes))} - {"int64"} or [*map(self._type, dense)] != default_types:
            return None
        shapes = [self._shape(index)[1:] for index in dense]
        attributes = {
            "names": np.array([], object),
            "sparse_keys": sparse_keys,
            "dense_keys": dense_keys,
            "ragged_keys": np.array([], object),
            "dense_defaults": [_fitting(value, shape) for value, shape in zip(defaults, shapes, strict=True)],
            "num_sparse": count,
            "sparse_types": [*map(self._type, sparse)],
            "ragged_value_types": [],
            "ragged_split_types": [],
            "dense_shapes": shapes,
        }
        return ParseExample(serialized, outputs, attributes)

    def _type(self, index: int) -> str | None:
        return TYPES.get(self._graph.tensors[index].type)

    def _shape(self, index: int) -> tuple[int, ...]:
        shape = self._graph.tensors[index].shape
        return () if shape is None else tuple(map(int, shape))

    def _constant(self, index: int) -> Array | None:
        """Return the value of a constant tensor; None for other tensors."""
        shape, kind = self._shape(index), self._type(index)
        data = self._buffers[self._graph.tensors[index].buffer].data
        if kind not in PARSED or (data is None and 0 not in shape):
            return None
        data = b"" if data is None else bytes(data)
        if kind == "string":
            return np.array(_strings(data), object).reshape(shape)
        return np.frombuffer(data, find(kind).dtype).reshape(shape)


def _strings(data: bytes) -> list[bytes]:
    """Read the strings of a tensor: their number, the start of each and the end of the last one, and their bytes."""
    (count,) = struct.unpack_from("<i", data) if data else (0,)
    places = struct.unpack_from(f"<{count + 1}i", data, 4) if data else ()
    return [data[places[each] : places[each + 1]] for each in range(count)]


Split = tuple[Array, Array, list[Array]]


def _split_v1(constants: list[Array], outputs: int) -> Split | None:
    """Return sparse keys, dense keys and dense defaults: the keys are tensors of one string each."""
    sparse, odd = divmod(2 * outputs - len(constants), 5)  # constants: s + 2 d; outputs: 3 s + d
    dense, odd_too = divmod(len(constants) - sparse, 2)
    if odd or odd_too or sparse < 0 or dense < 0:
        return None
    keys = [key for value in constants[: sparse + dense] for key in value.flat]
    if len(keys) != sparse + dense:
        return None
    return np.array(keys[:sparse], object), np.array(keys[sparse:], object), constants[sparse + dense :]


def _split_v2(constants: list[Array], outputs: int) -> Split | None:
    sparse, dense, ragged, *defaults = constants
    if ragged.size or outputs != 3 * sparse.size + dense.size or len(defaults) != dense.size:
        return None
    return sparse, dense, defaults


def _fitting(value: Array, shape: tuple[int, ...]) -> Array:
    """Return a default in the shape of its feature, which TensorFlow Lite's op does not require."""
    return value.reshape(shape) if value.size == np.prod(shape, dtype=int) else value
