"""Pictures to arrays, as a preparation says."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tfs_client._codec.dtypes import Array
from tfs_client.errors import ImageError
from tfs_client.images.argument_checks import check_loaded
from tfs_client.images.geometry import Size
from tfs_client.images.loading import STRIP
from tfs_client.images.preparation import Preparation
from tfs_client.images.resizing import placed
from tfs_client.images.scaling import scaled
from tfs_client.signatures import shape_text


def to_array(image: Image.Image, preparation: Preparation) -> Array:
    """Convert a loaded picture to a tensor, with a batch of one if the preparation has a batch axis.

    ``load_image`` decides about orientation and transparency, which this function therefore does not change. Values
    are computed in float32. Integer dtypes get whole pixels; values between them, which "tf-bilinear" computes, are
    rounded to the nearest.

    Raises ImageError for pictures in other modes than RGB and grey ("L"), which ``load_image`` converts, and when
    memory runs out.
    """
    check_loaded(image)
    if not isinstance(preparation, Preparation):
        raise ImageError(f"expected a Preparation, got {type(preparation).__name__}: plan makes one")
    shape = shape_of_one(preparation, preparation.size or image.size)
    try:
        one = np.empty(shape, preparation.dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more than any memory holds
        raise ImageError(f"not enough memory for a tensor of {preparation.dtype} {shape_text(shape)}") from error
    write_array(image, preparation, one)
    return one[np.newaxis] if preparation.batch else one


def shape_of_one(preparation: Preparation, size: Size) -> tuple[int, ...]:
    """Return the shape of the part of a tensor that shows one picture of this width and height."""
    width, height = size
    if preparation.axes == 2:
        return (height * width * preparation.channels,)
    if preparation.axes == 3 and preparation.batch:  # grey pictures without a channel axis
        return (height, width)
    if preparation.layout == "nchw":
        return (preparation.channels, height, width)
    return (height, width, preparation.channels)


def write_array(image: Image.Image, preparation: Preparation, out: Array) -> None:
    """Write a loaded picture, RGB or grey, into its part of a tensor; see ``to_array``.

    Args:
        out: an array of the shape ``shape_of_one`` and of any numeric dtype that holds the values.
    """
    if preparation.channels == 1 and image.mode != "L":
        image = image.convert("L")
    geometry = preparation.geometry(image.size)
    pixels = placed(image, geometry, preparation.resize, preparation.pad_value)
    width, height = geometry.target
    if preparation.layout == "nchw":
        places = out.reshape(preparation.channels, height, width).transpose(1, 2, 0)
    else:
        places = out.reshape(height, width, preparation.channels)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):  # values of a large picture take four times the memory of its pixels, and more
        values = scaled(pixels[top : top + rows], preparation)
        if out.dtype.kind != "f" and values.dtype.kind == "f":
            values = np.rint(values)
        places[top : top + rows] = values
