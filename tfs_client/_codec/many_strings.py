"""Many strings of a TensorProto at once, by protobuf, whose C code is several times faster than a loop.

Importing protobuf takes as long as a loop over tens of thousands of strings. So it is imported for thousands; once it
is imported, for whatever reason, a few dozen are enough.
"""

from __future__ import annotations

import sys

_SCHEMA = "tfs_client.protos.tensorflow.core.framework.tensor_pb2"
FEW, MANY = 64, 4096


def patience() -> int:
    """Return how many strings a loop handles faster."""
    return FEW if _SCHEMA in sys.modules else MANY


def read(data: bytes) -> list[bytes] | None:
    """Return the strings of a message that consists only of ``string_val``; None if it does not."""
    from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

    try:
        message = TensorProto.FromString(data)
    except Exception:  # of several classes in pure-Python protobuf
        return None
    values = list(message.string_val)
    message.ClearField("string_val")
    return None if message.ByteSize() else values  # other fields, known or not


def written(values: list[bytes]) -> bytes | None:
    """Return the strings as ``string_val``; None for more than protobuf can hold."""
    from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

    try:
        message: bytes = TensorProto(string_val=values).SerializeToString()
    except Exception:  # of several classes
        return None
    return message
