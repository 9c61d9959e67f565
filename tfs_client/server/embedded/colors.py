"""The shares of everyday colours in a picture."""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import InvalidArgumentError
from tfs_client.server.backends.functions import FunctionSignature
from tfs_client.server.embedded.lab import lab
from tfs_client.signatures import DEFAULT_SIGNATURE, TensorSpec

TABLE = {
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "white": (255, 255, 255),
    "red": (220, 20, 30),
    "orange": (245, 140, 20),
    "yellow": (250, 225, 40),
    "green": (40, 150, 50),
    "turquoise": (60, 200, 190),
    "sky blue": (135, 200, 235),
    "blue": (30, 70, 200),
    "purple": (125, 40, 150),
    "pink": (250, 150, 185),
    "brown": (125, 75, 35),
    "beige": (225, 200, 160),
}
NAMES = np.array([name.encode() for name in TABLE], object)
POINTS = lab(np.array(list(TABLE.values()), np.uint8))

# A regular sample of about this many pixels along each side: more take longer, and hardly change the shares.
SAMPLE_SIDE = 96


def shares(picture: Array) -> Array:
    """Return the share of each colour of TABLE in a uint8 picture (height, width, 3): float32, summing to 1."""
    down, across = (max(1, size // SAMPLE_SIDE) for size in picture.shape[:2])
    pixels = lab(picture[::down, ::across].reshape(-1, 3))
    # Squared distance, without a term that is the same for all colours.
    distance = (POINTS**2).sum(axis=1) - 2 * pixels @ POINTS.T
    counts = np.bincount(distance.argmin(axis=1), minlength=len(POINTS))
    return np.asarray(counts / counts.sum(), np.float32)


def signatures() -> dict[str, FunctionSignature]:
    """``serving_default`` takes pictures and returns colour names and their shares, largest first."""
    return {
        DEFAULT_SIGNATURE: FunctionSignature(
            _predict,
            {"image": TensorSpec("uint8", (None, None, None, 3))},
            {"classes": TensorSpec("string", (None, len(NAMES))), "scores": TensorSpec("float32", (None, len(NAMES)))},
        )
    }


def _predict(image: Array) -> dict[str, Array]:
    if image.ndim != 4 or image.shape[3] != 3:
        raise InvalidArgumentError(f"image must have shape (?, ?, ?, 3), got {image.shape}")
    if not (image.shape[1] and image.shape[2]):
        raise InvalidArgumentError(f"image has no pixels: {image.shape}")
    scores = np.array([shares(picture) for picture in image], np.float32).reshape(len(image), len(NAMES))
    best_first = np.argsort(-scores, axis=1, kind="stable")
    return {"classes": NAMES[best_first], "scores": np.take_along_axis(scores, best_first, axis=1)}
