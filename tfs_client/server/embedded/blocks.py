"""Reduced copies of pictures."""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array


def block_means(picture: Array, down: int, across: int) -> Array:
    """Return the mean colours of a picture's blocks: uint8 (rows, columns, 3).

    Incomplete blocks at the right and the bottom are ignored.

    Args:
        picture: uint8 (height, width, 3).
        down, across: the size of a block in pixels; at most that of the picture.
    """
    height, width = picture.shape[:2]
    whole = picture[: height // down * down, : width // across * across]
    blocks = whole.reshape(height // down, down, width // across, across, 3)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32) + 0.5, np.uint8)
