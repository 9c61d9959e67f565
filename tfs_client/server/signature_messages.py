"""Signatures as the messages of GetModelMetadata (tensorflow/core/protobuf/meta_graph.proto)."""

from __future__ import annotations

from collections.abc import Mapping

from tfs_client._codec import tensors
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tfs_client.server.servable import Servable
from tfs_client.signatures import Signature, TensorSpec


def signature_def_map(servable: Servable) -> SignatureDefMap:
    """Return all signatures of a servable: its ``signature_defs`` if it has them, else made from ``signatures``."""
    found = SignatureDefMap()
    kept: Mapping[str, bytes] | None = getattr(servable, "signature_defs", None)
    if kept is not None:
        for name, data in kept.items():
            found.signature_def[name].ParseFromString(data)
        return found
    for name, signature in servable.signatures.items():
        proto = found.signature_def[name]
        proto.CopyFrom(signature_def(signature))
        for alias, array in servable.defaults(name).items():
            proto.defaults[alias].CopyFrom(TensorProto.FromString(tensors.write(array, typed=True)))
    return found


def signature_def(signature: Signature) -> SignatureDef:
    """Convert one signature, without its defaults."""
    proto = SignatureDef(method_name=signature.method_name)
    _fill(proto.inputs, signature.inputs)
    _fill(proto.outputs, signature.outputs)
    return proto


def _fill(infos: Mapping[str, TensorInfo], specs: Mapping[str, TensorSpec]) -> None:
    for alias, spec in specs.items():
        info = infos[alias]
        info.name = spec.tensor_name
        info.dtype = spec.row.number  # type: ignore[assignment]
        if spec.shape is None:
            info.tensor_shape.unknown_rank = True
            continue
        info.tensor_shape.SetInParent()
        for size in spec.shape:
            info.tensor_shape.dim.add(size=-1 if size is None else size)
