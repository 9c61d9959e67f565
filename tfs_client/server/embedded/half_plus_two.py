"""y = x / 2 + 2, the first model in TensorFlow Serving's documentation."""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.server.backends.functions import FunctionSignature
from tfs_client.server.embedded.example_features import float_feature
from tfs_client.signatures import CLASSIFY, DEFAULT_SIGNATURE, REGRESS, TensorSpec


def half_plus_two(x: Array) -> Array:
    """Return x / 2 + 2 as float32, in the shape of x."""
    return np.asarray(x * np.float32(0.5) + np.float32(2), np.float32)


def signatures() -> dict[str, FunctionSignature]:
    """``serving_default`` takes x of any shape; the other two take Examples with the float feature "x"."""
    column = TensorSpec("float32", (None, 1))
    serialized = {"inputs": TensorSpec("string", (None,))}
    return {
        DEFAULT_SIGNATURE: FunctionSignature(
            _predict, {"x": TensorSpec("float32", None)}, {"y": TensorSpec("float32", None)}
        ),
        "regress_x_to_y": FunctionSignature(_regress, serialized, {"outputs": column}, REGRESS),
        "classify_x_to_y": FunctionSignature(_classify, serialized, {"scores": column}, CLASSIFY),
    }


def _predict(x: Array) -> dict[str, Array]:
    return {"y": half_plus_two(x)}


def _regress(inputs: Array) -> dict[str, Array]:
    return {"outputs": half_plus_two(float_feature(inputs, "x", 1))}


def _classify(inputs: Array) -> dict[str, Array]:
    return {"scores": half_plus_two(float_feature(inputs, "x", 1))}
