"""Write GetModelMetadata replies without protobuf (tensorflow_serving/apis/get_model_metadata.proto)."""

from __future__ import annotations

from collections.abc import Mapping

from tfs_client._codec import model_spec, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.signature_defs import FIELD, TYPE_URL, SignatureInfo, TensorInfo


def write_response(spec: ModelSpec, signatures: Mapping[str, SignatureInfo]) -> bytes:
    """Write the reply that ``signature_defs.read_response`` reads. Inputs with defaults get empty ones."""
    entries = b"".join(wire.delimited(1, _entry(name, _signature(info))) for name, info in signatures.items())
    message = wire.delimited(1, TYPE_URL.encode()) + wire.delimited(2, entries)
    return wire.delimited(1, model_spec.write(spec)) + wire.delimited(2, _entry(FIELD, message))


def _entry(key: str, value: bytes) -> bytes:
    return wire.delimited(1, wire.utf8(key, "a name")) + wire.delimited(2, value)


def _signature(info: SignatureInfo) -> bytes:
    inputs, outputs, method, defaulted = info
    found = b"".join(wire.delimited(1, _entry(alias, _tensor_info(each))) for alias, each in inputs.items())
    found += b"".join(wire.delimited(2, _entry(alias, _tensor_info(each))) for alias, each in outputs.items())
    found += wire.delimited(3, wire.utf8(method, "a method name"))
    return found + b"".join(wire.delimited(4, _entry(alias, b"")) for alias in sorted(defaulted))


def _tensor_info(info: TensorInfo) -> bytes:
    row, shape, name = info
    found = wire.delimited(1, wire.utf8(name, "a tensor name")) if name else b""
    found += wire.varint(wire.tag(2, wire.VARINT)) + wire.varint(row.number)
    if shape is None:
        return found + wire.delimited(3, wire.varint(wire.tag(3, wire.VARINT)) + b"\x01")
    sizes = (-1 if size is None else size for size in shape)
    dims = (wire.varint(wire.tag(1, wire.VARINT)) + wire.signed_varint(size) for size in sizes)
    return found + wire.delimited(3, b"".join(wire.delimited(2, dim) for dim in dims))
