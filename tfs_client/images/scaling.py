"""Scaling: the values that a model expects for pixels of 0 to 255."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import ImageError

if TYPE_CHECKING:
    from tfs_client.images.preparation import Preparation

# Means and deviations per channel with which the ImageNet models of torchvision (RGB) and Caffe (BGR) were trained.
_TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_TORCH_STD = np.array([0.229, 0.224, 0.225], np.float32)
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68], np.float32)


def scaled(pixels: Array, preparation: Preparation) -> Array:
    """Convert pixels (height, width, channels) of 0..255 to the values that a model expects, in its channel order.

    The operations and their order are those of ``preprocess_input`` in Keras, in float32. The result has one channel
    if pixels and preparation allow to repeat it.
    """
    scale, bgr = preparation.scale, preparation.bgr or preparation.scale == "caffe"
    if scale == "raw" and preparation.mean is None and preparation.std is None:
        return pixels[..., ::-1] if bgr else pixels
    values: Array = pixels.astype(np.float32)
    if scale in ("unit", "torch"):
        values /= 255
    elif scale == "tf":
        values /= 127.5
        values -= 1
    if scale == "torch":
        values = values - _TORCH_MEAN
        values /= _TORCH_STD
    if bgr:
        values = values[..., ::-1]
    if scale == "caffe":
        values = values - _CAFFE_MEAN
    if preparation.mean is not None:
        values = values - np.array(preparation.mean, np.float32)
    if preparation.std is not None:
        values = values / np.array(preparation.std, np.float32)
    return values


def check_scaling(preparation: Preparation) -> None:
    """Raise ImageError for a scale, a mean or a std that the dtype, the channels or each other contradict."""
    scale, dtype = preparation.scale, preparation.dtype
    if scale != "raw" and dtype.kind != "f":
        raise ImageError(
            f"pixels of scale {scale!r} are fractions, which {dtype} cannot hold: use scale 'raw', or a "
            "float dtype where the input takes one"
        )
    if preparation.channels == 1 and scale in ("torch", "caffe"):
        raise ImageError(f"scale {scale!r} has values for three channels, got 1 channel: use 'raw', 'unit' or 'tf'")
    if preparation.channels == 1 and preparation.bgr:
        raise ImageError("bgr needs three channels, the input has one: leave it out")
    given = [name for name in ("mean", "std") if getattr(preparation, name) is not None]
    for name in given:
        if scale in ("torch", "caffe"):
            raise ImageError(f"scale {scale!r} already includes a {name}: use scale 'raw', 'unit' or 'tf' with {name}")
        if dtype.kind != "f":
            raise ImageError(f"{name} makes fractions of pixels, which an input of integers cannot hold")
    if given:
        _check_range(preparation, " and ".join(given))


def _check_range(preparation: Preparation, given: str) -> None:
    """Raise ImageError if black or white becomes NaN or infinity, or if both become the same number."""
    ends = np.array([[[0] * preparation.channels], [[255] * preparation.channels]], np.uint8)
    with np.errstate(all="ignore"):
        values = scaled(ends, preparation).astype(preparation.dtype)
    if not np.isfinite(values).all():
        raise ImageError(
            f"with this {given}, pixels have values that {preparation.dtype} cannot hold: use other numbers"
        )
    if (values[0] == values[1]).any():
        raise ImageError(
            f"with this {given}, black and white have the same value in {preparation.dtype}: use other numbers"
        )
