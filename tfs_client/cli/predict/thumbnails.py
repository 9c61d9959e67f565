"""Thumbnails: small copies of pictures, as data URIs."""

from __future__ import annotations

import io
from binascii import b2a_base64
from dataclasses import dataclass

from PIL import Image

SIDE = 320  # pixels; the longest side of a thumbnail
LEAST_SIDE = 160  # pixels; smaller pictures are shown enlarged, up to this size
FEW_COLOURS = 2048  # drawings have fewer, and look better as PNG; photos as JPEG
QUALITY = 82

Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of a picture, without its metadata.

    Attributes:
        uri: the file, as a data URI.
        size: width and height of the copy in pixels.
        shown: width and height on the page; a multiple of ``size`` for tiny pictures.
    """

    uri: str
    size: Size
    shown: Size


def thumbnail(image: Image.Image) -> Thumbnail:
    """Return a thumbnail. Raises MemoryError, and whatever Pillow's encoders raise."""
    scale = min(1.0, SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.copy() if size == image.size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if small.mode not in ("RGB", "L"):
        small = small.convert("RGB")
    small.info.clear()  # encoders would copy comments and EXIF data, which may say where a photo was taken
    factor = max(1, LEAST_SIDE // max(size))
    return Thumbnail(_encoded(small), size, (size[0] * factor, size[1] * factor))


def _encoded(image: Image.Image) -> str:
    if image.getcolors(FEW_COLOURS) is not None:
        return png(image)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return _uri("jpeg", buffer)


def png(image: Image.Image) -> str:
    """Return a picture as the data URI of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _uri("png", buffer)


def _uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{b2a_base64(buffer.getbuffer(), newline=False).decode()}"
