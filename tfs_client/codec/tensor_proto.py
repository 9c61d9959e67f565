"""make_tensor_proto and make_ndarray: TensorFlow's names, for code that handles TensorProto messages itself."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_client.codec import extents, tensors
from tfs_client.codec.dtypes import row_of
from tfs_client.codec.values import as_array
from tfs_client.errors import DecodeError, EncodeError
from tfs_client.shown import shown

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto


def make_tensor_proto(values: Any, dtype: Any = None, shape: Any = None) -> TensorProto:
    """A TensorProto message of this package's own schema; pass its bytes to another library's.

    Args:
        values: anything ``predict`` takes as an input: arrays keep their dtype, Python numbers become int32 (int64 or
            uint64 when too big) or float32, text becomes UTF-8 bytes. A TensorProto is returned as it is.
        dtype: the wanted dtype: numpy's, a name, a number of the DataType enum, or TensorFlow's own object. Arrays are
            cast to it; Python values must fit it.
        shape: the wanted shape. With fewer values than it needs the last one stands for the rest.

    Raises EncodeError for values no tensor can hold, or more of them than the shape has room for.
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
    room = math.prod(shape)
    if array.size > room or (not array.size and room):
        raise EncodeError(f"expected up to {room} values for shape {shape}, got {array.size}")
    if array.size == room:
        return TensorProto.FromString(tensors.write(array.reshape(shape), typed=room <= 1))
    row = row_of(array.dtype)
    return TensorProto.FromString(b"".join((tensors.head(row, shape), *tensors.values_field(array.reshape(-1), row))))


def make_ndarray(proto: Any) -> np.ndarray[Any, Any]:
    """The array that a TensorProto message holds; TensorFlow's own messages are taken too.

    Strings come as an object array of bytes. The array is the caller's own and can be written to.

    Raises DecodeError when dtype, shape and values of the message contradict each other, and for values that are to be
    repeated until they take more than 8 times the message, and more than 16 MiB.
    """
    try:
        data = proto.SerializeToString()
    except AttributeError:
        raise DecodeError(f"expected a TensorProto message, got {type(proto).__name__}") from None
    array = tensors.read(data, budget=max(tensors.MAX_GROWTH * len(data), extents.MOST_BYTES))
    extents.check_copy(array, "the tensor")
    own: np.ndarray[Any, Any] = array.copy()
    return own
