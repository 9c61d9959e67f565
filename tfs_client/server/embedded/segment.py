"""Foreground or background, pixel by pixel, by clustering colours: DeepLab's interface, none of its knowledge.

A shrunk copy of the picture is clustered by colour, and the clusters that are at home along the border count as
background. Nothing is random: the same picture gives the same map.
"""

from __future__ import annotations

import numpy as np

from tfs_client.errors import InvalidArgumentError
from tfs_client.server.backends.functions import FunctionSignature
from tfs_client.server.embedded.clusters import clustered
from tfs_client.server.embedded.lab import lab
from tfs_client.server.servable import Array
from tfs_client.signatures import DEFAULT_SIGNATURE, TensorSpec

BACKGROUND, FOREGROUND = 0, 1

GRID = 128  # about as many blocks as the shrunk copy has along the longer side
AT_HOME = 0.5  # a background cluster fills at least this part of what its area would make it fill of the border
SPECK = 0.04  # patches smaller than this part of the largest are noise
MAX_MAP = 1 << 26  # pixels; a few bytes of request must not take all memory


def foreground(picture: Array) -> Array:
    """Which blocks of a uint8 picture (height, width, 3) are foreground: bool, a grid as :func:`shrunk` makes it."""
    clusters = clustered(lab(shrunk(picture)))
    mask = without_specks(smoothed(~at_home(clusters)))
    return ~without_specks(~mask)


def block(size: int, longer: int) -> int:
    """The edge of a block of the grid along an axis of ``size`` pixels."""
    return max(1, min(size, longer // GRID))


def shrunk(picture: Array) -> Array:
    """The mean colours of the picture's blocks; what is left over at the right and the bottom is not seen."""
    height, width = picture.shape[:2]
    down, across = (block(size, max(height, width)) for size in (height, width))
    whole = picture[: height // down * down, : width // across * across]
    blocks = whole.reshape(height // down, down, width // across, across, 3)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32) + 0.5, np.uint8)


def at_home(clusters: Array) -> Array:
    """Which pixels belong to clusters that take about as much of the border as they take of the picture."""
    border = np.ones(clusters.shape, bool)
    border[2:-2, 2:-2] = False
    kinds = int(clusters.max()) + 1
    of_all = np.bincount(clusters.reshape(-1), minlength=kinds) / clusters.size
    of_border = np.bincount(clusters[border], minlength=kinds) / border.sum()
    return np.asarray((of_border >= AT_HOME * of_all)[clusters])


def smoothed(mask: Array) -> Array:
    """Each pixel as most of its 3 x 3 neighbourhood."""
    height, width = mask.shape
    padded = np.pad(mask.astype(np.int8), 1, mode="edge")
    votes = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3))
    return np.asarray(votes) > 4


def without_specks(mask: Array) -> Array:
    """The mask without the patches that are small beside its largest one."""
    patches = labelled(mask)
    sizes = np.bincount(patches.reshape(-1))
    sizes[0] = 0  # what is outside the mask
    large: Array = sizes >= max(1, SPECK * sizes.max())
    return np.asarray(large[patches])


def labelled(mask: Array) -> Array:
    """A number for each connected patch of the mask, 0 outside."""
    labels = np.pad(np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0), 1)
    inner = labels[1:-1, 1:-1]
    while True:
        before: Array = inner.copy()
        # The largest number spreads, in place: first through rows and columns, then on.
        for spread in (labels[:-2, 1:-1], labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:]):
            np.maximum(inner, spread, out=inner, where=mask)
        if np.array_equal(before, inner):
            return before


def resized(grid: Array, picture: tuple[int, int], size: tuple[int, int]) -> Array:
    """The grid of a picture of one size spread over a map of another size, nearest block first."""
    rows, columns = (
        np.minimum(
            np.floor((np.arange(wanted) + 0.5) * (old / wanted)).astype(np.int64) // block(old, max(picture)), cells - 1
        )
        for cells, old, wanted in zip(grid.shape, picture, size, strict=True)
    )
    return np.asarray(grid[rows[:, None], columns])


def signatures() -> dict[str, FunctionSignature]:
    """``serving_default`` takes one picture and the size of the wanted map, and returns the map: 0 and 1."""
    return {
        DEFAULT_SIGNATURE: FunctionSignature(
            _predict,
            {
                "image": TensorSpec("uint8", (1, None, None, 3)),
                "height": TensorSpec("int64", ()),
                "width": TensorSpec("int64", ()),
            },
            {"segmentation_map": TensorSpec("int64", (1, None, None))},
        )
    }


def _predict(image: Array, height: Array, width: Array) -> dict[str, Array]:
    if image.ndim != 4 or image.shape[0] != 1 or image.shape[3] != 3 or not image.size:
        raise InvalidArgumentError(f"image must be one picture of shape (1, ?, ?, 3), got {image.shape}")
    size = _side("height", height), _side("width", width)
    if size[0] * size[1] > MAX_MAP:
        raise InvalidArgumentError(f"a map of {size[0]} x {size[1]} is too large: at most {MAX_MAP} pixels")
    mask = resized(foreground(image[0]), image.shape[1:3], size)
    return {"segmentation_map": np.where(mask, FOREGROUND, BACKGROUND).astype(np.int64)[None]}


def _side(name: str, value: Array) -> int:
    if value.size != 1:
        raise InvalidArgumentError(f"{name} must be a scalar, got shape {value.shape}")
    side = int(value.reshape(()))
    if side < 1:
        raise InvalidArgumentError(f"{name} must be positive, got {side}")
    return side
