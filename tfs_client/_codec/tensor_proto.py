"""make_tensor_proto and make_ndarray, named as in TensorFlow, for code that handles TensorProto messages itself."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from tfs_client._codec import expansion, tensors
from tfs_client._codec.dtypes import Array, row_of
from tfs_client._codec.values import as_array
from tfs_client._printable import shown
from tfs_client.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto


def make_tensor_proto(values: Any, dtype: Any = None, shape: Any = None) -> TensorProto:
    """Create a TensorProto message of this package's schema; pass it to other libraries as bytes.

    Args:
        values: anything that ``predict`` accepts as an input: arrays keep their dtype, Python numbers become int32
            (int64 or uint64 if too large) or float32, text becomes UTF-8 bytes. A TensorProto is returned unchanged.
        dtype: the wanted dtype: a numpy dtype, a name, a number of the DataType enum, or TensorFlow's DType. Arrays are
            cast to it; Python values must fit it.
        shape: the wanted shape. If it needs more values, the last value is repeated.

    Raises EncodeError for values that no tensor can hold, or more values than the shape has elements.
    """
    from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

    if isinstance(values, TensorProto):
        return values
    array = as_array(values, dtype)
    if shape is None:
        # Like TensorFlow: content for arrays, a typed field for a single value.
        return TensorProto.FromString(tensors.write(array, typed=array.size <= 1))
    try:
        shape = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise EncodeError(f"expected a shape as a tuple of sizes, got {shown(shape)}") from None
    if any(size < 0 for size in shape):
        raise EncodeError(f"expected a shape without negative sizes, got {shape}")
    count = math.prod(shape)
    if array.size > count or (not array.size and count):
        raise EncodeError(f"expected up to {count} values for shape {shape}, got {array.size}")
    if array.size == count:
        return TensorProto.FromString(tensors.write(array.reshape(shape), typed=count <= 1))
    row = row_of(array.dtype)
    return TensorProto.FromString(b"".join((tensors.head(row, shape), *tensors.values_field(array.reshape(-1), row))))


def make_ndarray(proto: Any) -> Array:
    """Return the array of a TensorProto message, ours or TensorFlow's.

    Strings become an object array of bytes. The array is a writable copy.

    Raises DecodeError if dtype, shape and values of the message contradict each other, or if repeated values would take
    more than 8 times the message and more than 16 MiB.
    """
    try:
        data = proto.SerializeToString()
    except AttributeError:
        raise DecodeError(f"expected a TensorProto message, got {type(proto).__name__}") from None
    array = tensors.read(data, budget=max(tensors.MAX_GROWTH * len(data), expansion.MOST_BYTES))
    expansion.check_copy(array, "the tensor")
    own: Array = array.copy()
    return own
