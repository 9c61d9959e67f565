"""Segmentation into foreground and background by clustering colours, with the interface of DeepLab.

A reduced copy of the picture is clustered by colour. Clusters that take about as large a share of the border as of the
picture are background. The result is deterministic: the same picture always gives the same map.
"""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import InvalidArgumentError
from tfs_client.server.backends.functions import FunctionSignature
from tfs_client.server.embedded.blocks import block_means
from tfs_client.server.embedded.clusters import clustered
from tfs_client.server.embedded.components import labelled
from tfs_client.server.embedded.lab import lab
from tfs_client.signatures import DEFAULT_SIGNATURE, TensorSpec

BACKGROUND, FOREGROUND = 0, 1

GRID = 128  # blocks of the reduced copy along the longer side, approximately
BORDER_SHARE = 0.5  # least share of the border that a background cluster takes, divided by its share of the picture
SPECK = 0.04  # patches smaller than this part of the largest are noise
MAX_MAP = 1 << 26  # pixels: a request of a few bytes must not allocate all memory


def foreground(picture: Array) -> Array:
    """Return which blocks of a uint8 picture (height, width, 3) are foreground: bool, gridded as by :func:`reduced`."""
    clusters = clustered(lab(reduced(picture)))
    mask = without_specks(smoothed(~background(clusters)))
    return ~without_specks(~mask)


def block(size: int, longer: int) -> int:
    """Return the size of a block of the grid along an axis of ``size`` pixels."""
    return max(1, min(size, longer // GRID))


def reduced(picture: Array) -> Array:
    """Return the mean colours of the picture's blocks; incomplete blocks at the right and the bottom are ignored."""
    height, width = picture.shape[:2]
    down, across = (block(size, max(height, width)) for size in (height, width))
    return block_means(picture, down, across)


def background(clusters: Array) -> Array:
    """Return which pixels belong to clusters that take about as large a share of the border as of the picture."""
    border = np.ones(clusters.shape, bool)
    border[2:-2, 2:-2] = False
    kinds = int(clusters.max()) + 1
    of_all = np.bincount(clusters.reshape(-1), minlength=kinds) / clusters.size
    of_border = np.bincount(clusters[border], minlength=kinds) / border.sum()
    return np.asarray((of_border >= BORDER_SHARE * of_all)[clusters])


def smoothed(mask: Array) -> Array:
    """Return for each pixel the majority of its 3 x 3 neighbourhood."""
    height, width = mask.shape
    padded = np.pad(mask.astype(np.int8), 1, mode="edge")
    votes = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3))
    return np.asarray(votes) > 4


def without_specks(mask: Array) -> Array:
    """Return the mask without patches that are small compared with its largest one."""
    patches = labelled(mask)
    sizes = np.bincount(patches.reshape(-1))
    sizes[0] = 0  # what is outside the mask
    large: Array = sizes >= max(1, SPECK * sizes.max())
    return np.asarray(large[patches])


def resized(grid: Array, picture: tuple[int, int], size: tuple[int, int]) -> Array:
    """Scale the grid of a picture to a map of another size, by the nearest block."""
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
