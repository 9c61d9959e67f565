"""Convert arrays of other packages to numpy arrays by the array protocols they offer, without importing a package.

numpy itself reads ``__array__``, ``__array_interface__``, ``__array_struct__`` and buffers. What it would read wrongly
is read here, or refused: masked arrays, whose mask it drops; columns with missing values; bfloat16 tensors; objects
without any protocol, which it puts into an object array.
"""

from __future__ import annotations

import array as array_module
import sys
from typing import Any

import numpy as np

from tfs_client._codec import nullable_columns
from tfs_client._codec.dtypes import BY_NAME, Array
from tfs_client._codec.encode_errors import at, refused
from tfs_client.errors import EncodeError, TFServingError

_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__")
_CPU = frozenset((1, 3, 11, 13))  # DLDeviceType: the CPU, and memory of a GPU driver that the CPU can access


def read(values: Any) -> Any:
    """Return the values as a numpy array, or as Python values if the object contains those.

    Raises EncodeError for an object that is not an array, and any exception of the object's own conversion.
    """
    if isinstance(values, (bytearray, memoryview, array_module.array)):
        return _buffer(values)
    if nullable_columns.is_column(values):
        return nullable_columns.read(values)
    if not any(hasattr(values, protocol) for protocol in _PROTOCOLS):
        if hasattr(values, "__dlpack__"):
            return _from_dlpack(values)
        if _is_sequence(values):
            return list(values)
    narrow = _narrow(values)
    found = unmasked(np.asanyarray(values)) if narrow is None else narrow
    if found.ndim == 0 and found.dtype == object and found[()] is values:  # numpy wrapped the object unread
        raise refused(values)
    return found


def unmasked(array: Array) -> Array:
    """Return a plain array. Raises EncodeError for an array with masked values."""
    if isinstance(array, np.ndarray) and hasattr(array, "mask") and hasattr(array, "filled"):
        mask = np.broadcast_to(array.mask, array.shape)
        if mask.any():
            index = tuple(map(int, np.argwhere(mask)[0]))
            where = f"{int(mask.sum())} of its values masked, the first{at(index)}" if index else "a masked value"
            raise EncodeError(f"expected an array without a mask, got {where}; send array.filled(value)")
        return np.asarray(array.data)
    return np.asarray(array)


def _buffer(values: object) -> Any:
    """Read a Python buffer as numbers of its format. Bytes are uint8; only ``bytes`` is a string."""
    if isinstance(values, array_module.array) and values.typecode in "uw":
        return list(values)
    if isinstance(values, memoryview) and values.format == "c":  # numpy would drop zero bytes
        return np.frombuffer(values.tobytes(), np.uint8).reshape(values.shape)
    return np.asarray(values)


def as_string(values: object) -> bytes | None:
    """Return the bytes of a buffer where a string is wanted; None for other values."""
    if isinstance(values, bytearray):
        return bytes(values)
    if isinstance(values, memoryview) and values.ndim == 1 and values.format in ("B", "b", "c"):
        return values.tobytes()
    return None


def _from_dlpack(values: Any) -> Array:
    device = values.__dlpack_device__()[0] if hasattr(values, "__dlpack_device__") else 1
    if int(device) not in _CPU:
        raise EncodeError(
            f"expected an array in CPU memory, got one on DLPack device type {int(device)}; copy it to the CPU first"
        )
    return np.from_dlpack(values)


def _is_sequence(values: object) -> bool:
    """Return whether an object behaves like a list. Mappings do not, nor do objects with a shape or dtype."""
    kind = type(values)
    if not all(hasattr(kind, name) for name in ("__len__", "__getitem__", "__iter__")):
        return False
    return not any(hasattr(values, name) for name in ("keys", "shape", "dtype", *_PROTOCOLS, "__dlpack__"))


def _narrow(values: Any) -> Array | None:
    """Convert a torch tensor with a dtype of ml_dtypes (bfloat16, float8); return None for other values."""
    name = str(getattr(values, "dtype", ""))
    row = BY_NAME.get(name.removeprefix("torch.")) if name.startswith("torch.") else None
    if row is None or not row.extra:
        return None
    try:
        dtype = row.dtype
    except TFServingError as error:  # ml_dtypes is missing
        raise EncodeError(f"{error}; or send tensor.float()") from None
    same_size = getattr(sys.modules["torch"], {1: "uint8", 2: "int16"}[dtype.itemsize])
    found: Array = np.asarray(values.view(same_size)).view(dtype)
    return found
