"""Read signatures as JSON: the reply of /metadata, or what ``tfs-admin signatures --json`` prints.

The latter is small and easy to review, so that it can be committed as the contract of a model::

    {"model": "m", "version": 3, "signatures": {"serving_default": {"method": "tensorflow/serving/predict",
        "inputs": {"x": {"dtype": "float32", "shape": [null, 2], "tensor": "x:0", "optional": false}},
        "outputs": {"y": {"dtype": "float32", "shape": null, "tensor": "y:0"}}}}}
"""

from __future__ import annotations

from typing import Any

from tfs_client._codec import rest_messages
from tfs_client._codec.dtypes import ROWS
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.signature_defs import SignatureInfo, TensorInfo
from tfs_client._printable import shown
from tfs_client.errors import DecodeError, reads

_ROWS = {row.readable: row for row in ROWS}
_SIGNATURE, _TENSOR = {"method", "inputs", "outputs"}, {"dtype", "shape", "tensor", "optional"}


@reads("the JSON of signatures")
def read(reply: object, excerpt: str) -> tuple[ModelSpec, dict[str, SignatureInfo]]:
    """Read the model, and its signatures by name, from parsed JSON of either kind; ``excerpt`` quotes it in errors.

    Raises DecodeError.
    """
    if not isinstance(reply, dict) or "signatures" not in reply or "metadata" in reply:
        return rest_messages.metadata_of(reply, excerpt)
    name, version = reply.get("model"), reply.get("version")
    if name is not None and not isinstance(name, str):
        raise DecodeError(f"expected model as a text, got {shown(name)}")
    if version is not None and not _is_size(version):
        raise DecodeError(f"expected version as a number, got {shown(version)}")
    signatures = _object(reply["signatures"], "signatures")
    found = {each: _signature(value, f"signature {shown(each)}") for each, value in signatures.items()}
    return ModelSpec(name or "", version), found


def with_default_values(reply: object, found: dict[str, SignatureInfo]) -> dict[str, SignatureInfo]:
    """Add the defaults of inputs, which the JSON of /metadata has as TensorProtos, to what ``read`` has found in it.

    Reading them takes protobuf, and clients do not need them. Raises DecodeError for a default that is not a tensor.
    """
    if not any(info[3] for info in found.values()) or not isinstance(reply, dict) or "metadata" not in reply:
        return found
    protos = rest_messages.signatures_member(reply)
    return {
        name: (*info[:3], {alias: _tensor_proto(protos[name]["defaults"][alias], alias) for alias in info[3]})
        for name, info in found.items()
    }


def _tensor_proto(value: Any, alias: str) -> bytes:
    from google.protobuf import json_format

    from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

    try:
        found: bytes = json_format.ParseDict(value, TensorProto()).SerializeToString()
    except Exception as error:  # ParseError, and others for values of wrong types
        raise DecodeError(f"expected the default of input {shown(alias)} as a TensorProto: {error}") from error
    return found


def _signature(value: object, what: str) -> SignatureInfo:
    signature = _object(value, what, _SIGNATURE)
    method = signature.get("method", "")
    if not isinstance(method, str):
        raise DecodeError(f"{what}: expected method as a text, got {shown(method)}")
    inputs = _object(signature.get("inputs", {}), f"{what}, inputs")
    outputs = _object(signature.get("outputs", {}), f"{what}, outputs")
    defaults = dict.fromkeys((alias for alias, tensor in inputs.items() if _is_optional(tensor, what, alias)), b"")
    return (
        {alias: _tensor(tensor, f"{what}, input {shown(alias)}") for alias, tensor in inputs.items()},
        {alias: _tensor(tensor, f"{what}, output {shown(alias)}") for alias, tensor in outputs.items()},
        method,
        defaults,
    )


def _is_optional(tensor: Any, what: str, alias: str) -> bool:
    optional = tensor.get("optional", False) if isinstance(tensor, dict) else False
    if not isinstance(optional, bool):
        raise DecodeError(f"{what}, input {shown(alias)}: expected optional as true or false, got {shown(optional)}")
    return optional


def _tensor(value: object, what: str) -> TensorInfo:
    tensor = _object(value, what, _TENSOR)
    dtype, name = tensor.get("dtype"), tensor.get("tensor", "")
    row = _ROWS.get(dtype) if isinstance(dtype, str) else None
    if row is None:
        raise DecodeError(f"{what}: expected a dtype such as 'float32' or 'string', got {shown(dtype)}")
    if not isinstance(name, str):
        raise DecodeError(f"{what}: expected tensor as a text, got {shown(name)}")
    if "shape" not in tensor:
        raise DecodeError(f"{what}: expected a shape, or null for an unknown rank, got none")
    return row, _shape(tensor["shape"], what), name


def _shape(shape: Any, what: str) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    if not isinstance(shape, list) or not all(size is None or _is_size(size) for size in shape):
        raise DecodeError(f"{what}: expected a shape as a list of sizes, null for unknown ones, got {shown(shape)}")
    return tuple(shape)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _object(value: object, what: str, members: set[str] | None = None) -> dict[str, Any]:
    """Return a JSON object. Raises DecodeError for other values, and for members that it cannot have."""
    if not isinstance(value, dict):
        raise DecodeError(f"expected {what} as a JSON object, got {shown(value)}")
    unknown = set() if members is None else value.keys() - members
    if members is not None and unknown:
        names = ", ".join(sorted(members))
        raise DecodeError(f"{what}: expected {names}, got {shown(sorted(unknown)[0])}")
    return value
