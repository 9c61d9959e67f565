"""Digit recognition: a perceptron with two hidden layers over 8 x 8 pixels, trained by ``scripts/train_digits.py``."""

from __future__ import annotations

import threading
from functools import lru_cache
from importlib.resources import files

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import InvalidArgumentError
from tfs_client.server.backends.functions import FunctionSignature
from tfs_client.server.embedded.example_features import float_feature
from tfs_client.signatures import CLASSIFY, DEFAULT_SIGNATURE, TensorSpec

SIDE = 8
PIXELS = SIDE * SIDE
LABELS = np.array([b"%d" % digit for digit in range(10)], object)
WEIGHTS = "digits.npz"

Layer = tuple[Array, Array]

_loading = threading.Lock()


def probabilities(images: Array) -> Array:
    """Return how likely each image shows each digit: float32 (N, 10), rows summing to 1.

    Args:
        images: (N, ...) with 64 brightness values per image, row by row, on any scale; see :func:`as_ink`.
    """
    hidden = as_ink(images.reshape(len(images), PIXELS))
    *inner, (kernel, bias) = weights()
    for weight, shift in inner:
        hidden = np.maximum(hidden @ weight + shift, 0)
    logits = hidden @ kernel + bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def as_ink(images: Array) -> Array:
    """Scale each row to 0 (paper) .. 1 (ink), for dark ink as well as for bright ink.

    Strokes cover less than half of a picture, so the rarer brightness is the ink. A uniform image becomes all paper.
    """
    low, high = images.min(axis=1, keepdims=True), images.max(axis=1, keepdims=True)
    ink = (images - low) / np.where(high > low, high - low, 1)
    return np.asarray(np.where(ink.mean(axis=1, keepdims=True) > 0.5, 1 - ink, ink), np.float32)


def weights() -> tuple[Layer, ...]:
    """Return the trained layers, which are read once, even if several threads call this concurrently."""
    with _loading:
        return _weights()


@lru_cache(maxsize=1)
def _weights() -> tuple[Layer, ...]:
    with (files(__package__) / WEIGHTS).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        layers = range(len(arrays.files) // 2)
        return tuple((arrays[f"kernel{i}"].astype(np.float32), arrays[f"bias{i}"]) for i in layers)


def signatures() -> dict[str, FunctionSignature]:
    """``serving_default`` takes images, ``classify`` takes Examples with the float feature "image" of 64 values.

    Loads the weights, so that missing ones fail here and not in the first call.
    """
    weights()
    return {
        DEFAULT_SIGNATURE: FunctionSignature(
            _predict,
            {"image": TensorSpec("float32", (None, SIDE, SIDE, 1))},
            {"probabilities": TensorSpec("float32", (None, 10)), "digit": TensorSpec("int64", (None,))},
        ),
        "classify": FunctionSignature(
            _classify,
            {"inputs": TensorSpec("string", (None,))},
            {"classes": TensorSpec("string", (None, 10)), "scores": TensorSpec("float32", (None, 10))},
            CLASSIFY,
        ),
    }


def _predict(image: Array) -> dict[str, Array]:
    if image.shape[1:] != (SIDE, SIDE, 1):
        raise InvalidArgumentError(f"image must have shape (?, {SIDE}, {SIDE}, 1), got {image.shape}")
    scores = probabilities(image)
    return {"probabilities": scores, "digit": scores.argmax(axis=1).astype(np.int64)}


def _classify(inputs: Array) -> dict[str, Array]:
    scores = probabilities(float_feature(inputs, "image", PIXELS))
    best_first = np.argsort(-scores, axis=1, kind="stable")
    return {"classes": LABELS[best_first], "scores": np.take_along_axis(scores, best_first, axis=1)}
