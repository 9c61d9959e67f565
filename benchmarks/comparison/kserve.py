"""KServe's ModelInferResponse, the reply to tritonclient, written without protobuf; and a check of its request.

The schema is KServe's open inference protocol, version 2. Like Triton, the reply has its values in raw_output_contents.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfs_client._codec import wire

_DATATYPES = {"float32": "FP32", "float16": "FP16", "int64": "INT64", "uint8": "UINT8", "object": "BYTES"}


def response(model: str, name: str, array: np.ndarray[Any, Any]) -> bytes:
    """The bytes of a ModelInferResponse with one output."""
    return (
        wire.delimited(1, model.encode())
        + wire.delimited(2, b"1")
        + wire.delimited(5, _tensor(name, array))
        + wire.delimited(6, _contents(array))
    )


def is_request(message: bytes, model: str, name: str, array: np.ndarray[Any, Any]) -> bool:
    """Whether a ModelInferRequest is for this model, and has this input with these values and no other."""
    return (
        message.startswith(wire.delimited(1, model.encode()))
        and wire.delimited(5, _tensor(name, array)) in message[:200]
        and message.endswith(wire.delimited(7, _contents(array)))
    )


def _tensor(name: str, array: np.ndarray[Any, Any]) -> bytes:
    """Name, datatype and shape."""
    return (
        wire.delimited(1, name.encode())
        + wire.delimited(2, _DATATYPES[array.dtype.name].encode())
        + wire.delimited(3, b"".join(wire.varint(size) for size in array.shape))
    )


def _contents(array: np.ndarray[Any, Any]) -> bytes:
    """The values as the protocol has them: little endian; strings each after its length in four bytes."""
    if array.dtype == object:
        return b"".join(len(value).to_bytes(4, "little") + value for value in array.ravel())
    return array.tobytes()
