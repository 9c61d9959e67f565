"""Image files to arrays, as a model's input wants them, and label maps to pictures."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfs_client.codec import extents
from tfs_client.codec.dtypes import find
from tfs_client.errors import EncodeError, ImageError
from tfs_client.shown import shown
from tfs_client.signatures import TensorSpec, shape_text

Array = np.ndarray[Any, Any]

SCALES = ("raw", "unit", "tf", "torch", "caffe")
LAYOUTS = ("nhwc", "nchw")

# Per channel, as the ImageNet models of torchvision and of Caffe were trained; RGB and BGR order.
_TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_TORCH_STD = np.array([0.229, 0.224, 0.225], np.float32)
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68], np.float32)


ORIENTATION = 0x0112  # the EXIF tag; 1 is upright

Path = str | os.PathLike[str]


def read_file(path: Path) -> bytes:
    """The bytes of a file. Raises ImageError, which names it, when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None


def load_image(source: Path | bytes) -> Image.Image:
    """A picture as RGB or, when it has no colour, grey ("L"), upright as its EXIF orientation says.

    Transparent parts show white; 16-bit grey is scaled to 8 bits. JPEG, PNG, WebP and whatever else Pillow reads.

    Args:
        source: a path, or the bytes of a file.

    Raises ImageError for what is no picture, or is cut off.
    """
    name = "the picture" if isinstance(source, bytes) else repr(str(source))
    data = source if isinstance(source, bytes) else read_file(source)
    try:
        with _open(data) as opened:
            return _flattened(_upright(opened))
    except UnidentifiedImageError:
        raise ImageError(f"{name} is no picture that Pillow knows; JPEG, PNG and WebP work") from None
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow's decoders raise almost anything
        raise ImageError(f"{name} cannot be decoded: {error}") from None


def _open(data: bytes) -> Image.Image:
    # Image.open imports the modules of five formats before it looks at the file. Most pictures are JPEGs, and a
    # command that sends one should not wait for the others (benchmarks/cold_start.py).
    if data.startswith(b"\xff\xd8\xff"):
        from PIL.JpegImagePlugin import JpegImageFile

        image = JpegImageFile(io.BytesIO(data))
        limit = Image.MAX_IMAGE_PIXELS
        if limit and image.width * image.height > 2 * limit:  # Image.open's own check
            raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels are more than {2 * limit}")
        return image
    return Image.open(io.BytesIO(data))


def _upright(image: Image.Image) -> Image.Image:
    if image.getexif().get(ORIENTATION, 1) == 1:
        return image
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _flattened(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(float(values.max(initial=0.0)), 1.0)
        return Image.fromarray(np.clip(values * (255.0 / top), 0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")
        ground.alpha_composite(rgba)
        return ground.convert("L" if image.mode == "LA" else "RGB")
    return image.convert("L" if image.mode in ("L", "1") else "RGB")


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
    pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, preparation.channels)
    array = scaled(pixels, preparation.scale)
    if preparation.layout == "nchw":
        array = array.transpose(2, 0, 1)
    array = array.astype(preparation.dtype, order="C")
    if preparation.axes == 2:
        return array.reshape(1, -1)
    if preparation.axes == 3 and preparation.batch:  # a batch of grey pictures without a channel axis
        return array.reshape(1, image.height, image.width)
    return array[np.newaxis] if preparation.batch else array


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


def overlay(image: Image.Image, labels: Array, *, opacity: float = 0.55) -> Image.Image:
    """The picture with a colour on every pixel whose label is not 0.

    Args:
        labels: integers (height, width); stretched to the picture without mixing labels.

    Raises ImageError for labels of another shape, DecodeError for an array that declares a huge shape and holds next
    to nothing.
    """
    if labels.ndim != 2 or not labels.size:
        raise ImageError(f"expected labels of the shape (height, width), got {shown(labels.shape)}")
    extents.check_copy(labels, "the map of labels")
    known, places = np.unique(np.clip(labels, 0, None), return_inverse=True)
    palette = _colours(known)[places.reshape(labels.shape)]
    colours = Image.fromarray(palette).resize(image.size, Image.Resampling.NEAREST)
    strength = Image.fromarray(((labels > 0) * round(255 * opacity)).astype(np.uint8))
    mask = strength.resize(image.size, Image.Resampling.NEAREST)
    return Image.composite(colours, image.convert("RGB"), mask)


def label_colours(count: int) -> Array:
    """A colour for each label, (count, 3) uint8: black for 0, red for 1, then hues a golden angle apart."""
    return _colours(np.arange(count))


def _colours(labels: Array) -> Array:
    """The colour of each label, (count, 3) uint8; labels are sorted and not negative."""
    hues = (labels - 1.0) * 0.618034 % 1.0
    distance = np.abs((hues[:, None] * 6 - np.array([0, 2, 4]) + 3) % 6 - 3)
    colours: Array = (np.clip(2 - distance, 0, 1) * 255).astype(np.uint8)
    colours[labels == 0] = 0
    return colours


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a picture in the format of the file's ending. Raises ImageError when that cannot be done."""
    try:
        image.save(path)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot write {str(path)!r}: {error}") from None
