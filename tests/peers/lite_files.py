"""TensorFlow Lite files, written op by op: any names, any ops, any metadata."""

from __future__ import annotations

import struct
from importlib import import_module

import numpy as np
import pytest
from hostile.flexbuffer_maps import written

from tfs_client import CallError
from tfs_client._codec.tflite_file import METADATA
from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tfs_client.server.backends import tflite
from tfs_client.server.backends.tflite_examples import SCHEMA

FLOAT, HALF, INT32, INT64, TEXT = 0, 1, 2, 4, 5  # numbers of the schema
ADD, CUSTOM, CUMSUM = 0, 32, 128  # ops
PREDICT = "tensorflow/serving/predict"


def tensor(name, kind=FLOAT, shape=(1,), value=None):
    """A tensor; with a value it is a constant."""
    return name, kind, shape, value


def strings(values):
    """The bytes of a string tensor."""
    places = np.cumsum([4 * (len(values) + 2), *map(len, values)])
    return struct.pack(f"<{len(places) + 1}i", len(values), *places) + b"".join(values)


def lite_file(tensors, ops, inputs, outputs, *, signature_defs=None, metadata=None, own=()):
    """A file with one graph.

    Args:
        ops: for each its number, or its name if it is a custom op, then the numbers of its inputs and outputs.
        signature_defs: the signatures in the metadata, by name.
        metadata: the bytes of the metadata instead.
        own: names of signatures in the flatbuffer itself.
    """
    schema = import_module(SCHEMA)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema.BufferT()], []
    graph.tensors, graph.operators = [], []
    graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    for name, kind, shape, value in tensors:
        made = schema.TensorT()
        made.name, made.type, made.shape = name, kind, np.array(shape, np.int32)
        if value is not None:
            made.buffer = len(model.buffers)
            model.buffers.append(_buffer(schema, strings(value) if kind == TEXT else value.tobytes()))
        graph.tensors.append(made)
    for op, op_inputs, op_outputs in ops:
        graph.operators.append(_operator(schema, len(model.operatorCodes), op, op_inputs, op_outputs))
        model.operatorCodes.append(_code(schema, op))
    if signature_defs is not None:
        metadata = written({name.encode(): proto.SerializeToString() for name, proto in signature_defs.items()})
    if metadata is not None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA.decode(), len(model.buffers)
        model.buffers.append(_buffer(schema, metadata))
        model.metadata = [entry]
    model.signatureDefs = [_own_signature(schema, name) for name in own]
    builder = import_module("flatbuffers").Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _buffer(schema, data):
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    return buffer


def _code(schema, op):
    code = schema.OperatorCodeT()
    code.builtinCode = CUSTOM if isinstance(op, str) else op
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    code.customCode = op if isinstance(op, str) else None
    return code


def _operator(schema, number, op, inputs, outputs):
    operator = schema.OperatorT()
    operator.opcodeIndex = number
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    options = {ADD: "AddOptions", CUMSUM: "CumsumOptions"}.get(op)
    if options:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        operator.builtinOptions = getattr(schema, f"{options}T")()
    return operator


def _own_signature(schema, name):
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex, signature.inputs, signature.outputs = name, 0, [], []
    return signature


def sum_file(a="a", b="b", y="y", *, kind=FLOAT, **more):
    """y = a + b."""
    return lite_file([tensor(a, kind), tensor(b, kind), tensor(y, kind)], [(ADD, [0, 1], [2])], [0, 1], [2], **more)


def signature_def(inputs, outputs, dtype=1, sizes=(-1,), method_name=PREDICT):
    """A SignatureDef; inputs and outputs are names of tensors by alias."""
    proto = SignatureDef(method_name=method_name)
    for infos, names in ((proto.inputs, inputs), (proto.outputs, outputs)):
        for alias, name in names.items():
            infos[alias].name, infos[alias].dtype = name, dtype
            for size in sizes:
                infos[alias].tensor_shape.dim.add(size=size)
    return proto


def load(folder, content, **options):
    """The servable of a file."""
    (folder / tflite.FILE).write_bytes(content)
    return tflite.load(str(folder), **options)


def refused(call, *args):
    """Code and details of the error that a call ends with."""
    with pytest.raises(CallError) as caught:
        call(*args)
    return caught.value.code, caught.value.details
