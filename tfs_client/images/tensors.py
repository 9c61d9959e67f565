"""Pictures to arrays, as a model's input wants them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tfs_client.codec.dtypes import find
from tfs_client.errors import EncodeError, ImageError
from tfs_client.images.loading import STRIP, boxes, part
from tfs_client.signatures import TensorSpec, shape_text

Array = np.ndarray[Any, Any]

SCALES = ("raw", "unit", "tf", "torch", "caffe")
LAYOUTS = ("nhwc", "nchw")

# Per channel, as the ImageNet models of torchvision and of Caffe were trained; RGB and BGR order.
_TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_TORCH_STD = np.array([0.229, 0.224, 0.225], np.float32)
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68], np.float32)


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes a tensor.

    Attributes:
        size: width and height in pixels; None keeps the picture's own.
        channels: 1 or 3.
        layout: "nhwc" or "nchw".
        axes: the rank of the tensor: 4 with batch and channels, 3 for a batch of grey pictures or one picture with
            channels, 2 for a batch of flat vectors.
        batch: whether there is a leading axis for the batch.
        scale: "raw" 0..255, "unit" 0..1, "tf" -1..1, "torch" and "caffe" by the channel means of those libraries.
        dtype: the tensor's numpy dtype.
    """

    size: tuple[int, int] | None
    channels: int
    layout: str
    axes: int
    batch: bool
    scale: str
    dtype: np.dtype[Any]


def plan(
    spec: TensorSpec,
    *,
    size: tuple[int, int] | None = None,
    scale: str | None = None,
    layout: str | None = None,
    dtype: Any = None,
) -> Preparation:
    """How a picture fits an input; what is not given comes from the input's dtype and shape.

    Unknown sizes keep the picture's own. Floats default to 0..1, integers to 0..255.

    Raises ImageError for inputs that are no pictures.
    """
    for what, value, known in (("scale", scale, SCALES), ("layout", layout, LAYOUTS)):
        if value is not None and value not in known:
            raise ImageError(f"expected {what} to be one of {', '.join(known)}, got {value!r}")
    wanted = _number_dtype(spec.row if dtype is None else dtype)
    if scale not in (None, "raw") and wanted.kind != "f":
        raise ImageError(
            f"pixels of scale {scale!r} are fractions, which {wanted} cannot hold: send floats, or raw ones"
        )
    shape = (None, None, None, 3) if spec.shape is None else spec.shape
    axes = len(shape)
    if axes == 4:
        batch, rest = True, shape[1:]
    elif axes == 3:
        batch = shape[2] not in (1, 3) and shape[0] not in (1, 3)
        rest = (*shape[1:], 1) if batch else shape
    elif axes == 2 and size is not None:
        batch, rest = True, (size[1], size[0], _flat_channels(spec, size))
    else:
        hint = "; a size makes flat pictures of it" if axes == 2 else ""
        raise ImageError(f"an input of {shape_text(spec.shape)} takes no picture{hint}")
    if layout is None:
        layout = "nchw" if rest[0] in (1, 3) and rest[2] not in (1, 3) else "nhwc"
    height, width, channels = rest if layout == "nhwc" else (rest[1], rest[2], rest[0])
    if channels not in (None, 1, 3):
        raise ImageError(f"an input of {shape_text(spec.shape)} takes no picture of 1 or 3 channels")
    if size is None and height is not None and width is not None:
        size = (width, height)
    default = "unit" if wanted.kind == "f" else "raw"
    return Preparation(size, 3 if channels is None else channels, layout, axes, batch, scale or default, wanted)


def _number_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        row = find(dtype)
    except EncodeError as error:
        raise ImageError(str(error)) from None
    wanted: np.dtype[Any] = np.dtype(row.spec if row.spec is not None else object)
    if wanted.kind not in "uif" or (wanted.kind != "f" and np.iinfo(wanted).max < 255):
        raise ImageError(f"a picture cannot become {row.name}: its numbers are 0 to 255, or fractions")
    return wanted


def _flat_channels(spec: TensorSpec, size: tuple[int, int]) -> int:
    length = spec.shape[1] if spec.shape else None
    for channels in (1, 3):
        if length in (None, size[0] * size[1] * channels):
            return channels
    raise ImageError(f"{size[0]} x {size[1]} pixels do not fit an input of {shape_text(spec.shape)}")


def to_array(image: Image.Image, preparation: Preparation) -> Array:
    """The picture as a tensor."""
    if preparation.channels == 1 or image.mode != "RGB":
        image = image.convert("L" if preparation.channels == 1 else "RGB")
    if preparation.size is not None and image.size != preparation.size:
        image = image.resize(preparation.size, Image.Resampling.BILINEAR)
    pixels = _pixels(image).reshape(image.height, image.width, preparation.channels)
    array = scaled(pixels, preparation.scale)
    if preparation.layout == "nchw":
        array = array.transpose(2, 0, 1)
    array = array.astype(preparation.dtype, order="C")
    if preparation.axes == 2:
        return array.reshape(1, -1)
    if preparation.axes == 3 and preparation.batch:  # a batch of grey pictures without a channel axis
        return array.reshape(1, image.height, image.width)
    return array[np.newaxis] if preparation.batch else array


def _pixels(image: Image.Image) -> Array:
    """The pixels as numbers. Pillow hands them out by way of two copies, which is much for a large picture at once."""
    if image.width * image.height <= STRIP:
        return np.asarray(image, np.uint8)
    pixels = np.empty((image.height, image.width, *((3,) if image.mode == "RGB" else ())), np.uint8)
    for box in boxes(image.size):
        left, top, right, bottom = box
        pixels[top:bottom, left:right] = np.asarray(part(image, box), np.uint8)
    return pixels


def scaled(pixels: Array, scale: str) -> Array:
    """uint8 pixels (height, width, channels) in the value range of a family of models."""
    if scale == "raw":
        return pixels
    values = pixels.astype(np.float32)
    if scale == "unit":
        return values / 255
    if scale == "tf":
        return values / 127.5 - 1
    if scale == "torch":
        return (values / 255 - _TORCH_MEAN) / _TORCH_STD
    return values[..., ::-1] - _CAFFE_MEAN
