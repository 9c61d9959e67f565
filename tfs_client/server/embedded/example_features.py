"""Reading of features from serialized ``tf.Example`` messages, which classify and regress signatures take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import InvalidArgumentError

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow.core.example.example_pb2 import Example


def float_feature(serialized: Array, name: str, size: int) -> Array:
    """Return the float feature ``name`` of every example, as float32 of shape (examples, ``size``).

    Args:
        serialized: a vector of serialized Examples, bytes each.

    Raises InvalidArgumentError, with the position of the example, if one cannot be parsed, lacks the feature, or has it
    with another type or number of values.
    """
    if serialized.ndim != 1:
        raise InvalidArgumentError(f"inputs must be a vector of serialized Examples, not of shape {serialized.shape}")
    rows = np.empty((len(serialized), size), np.float32)
    for position, data in enumerate(serialized):
        rows[position] = _values(data, position, name, size)
    return rows


def _values(data: bytes, position: int, name: str, size: int) -> Sequence[float]:
    where = f"Example {position}: Feature: {name} (data type: float)"
    features = _parsed(data, position).features.feature
    # A feature without a kind counts as absent, as in TensorFlow.
    kind = features[name].WhichOneof("kind") if name in features else None
    if kind is None:
        raise InvalidArgumentError(f"{where} is required but could not be found.")
    if kind != "float_list":
        raise InvalidArgumentError(f"{where} has the wrong type: expected float_list, got {kind}.")
    values = features[name].float_list.value
    if len(values) != size:
        raise InvalidArgumentError(f"{where} has the wrong length: expected {size} values, got {len(values)}.")
    return values


def _parsed(data: bytes, position: int) -> Example:
    # protobuf is slow to import, and most requests are Predict, which never needs it.
    from tfs_client.protos.tensorflow.core.example.example_pb2 import Example

    try:
        return Example.FromString(data)
    except Exception:
        raise InvalidArgumentError(
            f"Example {position}: expected a serialized Example, got {len(data)} bytes that cannot be parsed."
        ) from None
