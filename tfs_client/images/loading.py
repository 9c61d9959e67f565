"""Picture files to pictures: upright, as RGB or grey, in bounded memory.

A picture takes at most 8 bytes a pixel while it is decoded and 4 afterwards: all work on its pixels, such as putting
white behind transparent parts, is done strip by strip. JPEG and WebP decoders take up to as much again for themselves.
``max_pixels`` is checked before any of it is taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tfs_client.errors import ConfigError, ImageError
from tfs_client.images.formats import FORMATS, checked_formats, open_as
from tfs_client.shown import bounded, shown

MAX_PIXELS = 120_000_000
"""The most pixels that are decoded by default: photos of 100-megapixel cameras have fewer."""

ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
LARGE = 1 << 24  # pixels; larger pictures take so much memory that they should be decoded one at a time
STRIP = 1 << 20  # pixels that are processed together

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # what turns a picture of another orientation upright

Path = str | os.PathLike[str]
Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Limits:
    """Which pictures are decoded.

    Attributes:
        formats: names of formats, as Pillow spells them.
        max_pixels: the most pixels; None for no limit.

    Raises ConfigError for formats that Pillow does not have, and for limits that are not whole numbers above 0.
    """

    formats: tuple[str, ...] = FORMATS
    max_pixels: int | None = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.formats is not FORMATS:
            object.__setattr__(self, "formats", checked_formats(self.formats))
        limit = self.max_pixels
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise ConfigError(
                f"expected max_pixels as a whole number above 0, or None for no limit, got {shown(limit)}"
            )


def read_file(path: Path) -> bytes:
    """The bytes of a file. Raises ImageError, which names it, when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except (ValueError, MemoryError) as error:  # a name with a zero byte; a file larger than the memory
        raise ImageError(f"cannot read {str(path)!r}: {error or 'it does not fit into memory'}") from error


def load_image(
    source: Path | bytes, *, formats: Iterable[str] = FORMATS, max_pixels: int | None = MAX_PIXELS
) -> Image.Image:
    """A picture as RGB or, when it has no colour, grey ("L"), upright as its EXIF orientation says.

    Transparent parts show white; 16-bit grey is scaled to 8 bits; of an animation the first frame is taken.

    Args:
        source: a path, or the bytes of a file.
        formats: the formats to decode, by Pillow's names; the content of a file decides, not its name.
            ``(*FORMATS, "JPEG2000")`` allows one more. Some of Pillow's decoders start programs (EPS starts
            Ghostscript), so allow others for files that you trust only.
        max_pixels: the most pixels, checked before memory is allocated for them; None for no limit.

    Raises ImageError for a file that is not a picture in these formats, is too large, or is cut off (unless the program
    has set Pillow's ``ImageFile.LOAD_TRUNCATED_IMAGES``), and when memory runs out; ConfigError for formats that Pillow
    does not have.
    """
    limits = Limits(FORMATS if formats is FORMATS else checked_formats(formats), max_pixels)
    name = "the picture" if isinstance(source, bytes) else repr(str(source))
    data = source if isinstance(source, bytes) else read_file(source)
    try:
        return decode(data, limits)
    except ImageError as error:
        raise ImageError(f"{name} {error}") from error.__cause__


def decode(data: bytes, limits: Limits, *, before_large: Callable[[int], object] | None = None) -> Image.Image:
    """The picture in the bytes of a file, as ``load_image`` gives it.

    Args:
        before_large: called with the number of pixels before those of a large picture are decoded. It may wait for the
            picture's turn, and raise ImageError.

    Raises ImageError, whose text goes on after the name of the picture.
    """
    try:
        image, orientation = _flat(data, limits, before_large)
        return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("cannot be decoded: there is not enough memory for its pixels") from error
    except Exception as error:  # a broken file makes Pillow's decoders raise almost anything
        raise ImageError(f"cannot be decoded: {bounded(str(error), 500) or type(error).__name__}") from error


def _flat(data: bytes, limits: Limits, before_large: Callable[[int], object] | None) -> tuple[Image.Image, Any]:
    """The picture as RGB or grey, not rotated yet, and its orientation. Frees the decoder's own copy."""
    with open_as(data, limits.formats, limits.max_pixels) as opened:
        pixels = opened.width * opened.height
        if before_large is not None and pixels > LARGE:
            before_large(pixels)
        opened.load()
        return _flattened(opened), opened.getexif().get(ORIENTATION, 1)


def _flattened(image: Image.Image) -> Image.Image:
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image._new(image.im)  # the pixels themselves, not a copy
    top = _brightest(image)
    if image.width * image.height <= STRIP:
        return _flattened_part(image, top)
    whole = None
    for box in boxes(image.size):
        flat = _flattened_part(part(image, box), top)
        whole = whole or Image.new(flat.mode, image.size)
        whole.paste(flat, box)
    assert whole is not None
    return whole


def boxes(size: tuple[int, int]) -> Iterator[Box]:
    """Parts of a picture, each of at most as many pixels as a strip has."""
    width = min(size[0], STRIP)
    height = max(1, STRIP // width)
    for top in range(0, size[1], height):
        for left in range(0, size[0], width):
            yield left, top, min(left + width, size[0]), min(top + height, size[1])


def part(image: Image.Image, box: Box) -> Image.Image:
    """A part of a decoded picture. ``crop`` would compare its size with a limit that the program around us may set."""
    return image._new(image.im.crop(box))


def _brightest(image: Image.Image) -> float:
    """What becomes white in a picture of 16 bits, or of fractions."""
    if not image.mode.startswith("F"):
        return 65535.0
    found = 1.0
    for box in boxes(image.size):
        values = np.asarray(part(image, box), np.float64)
        found = max(found, float(values.max(initial=0.0, where=np.isfinite(values))))
    return found


def _flattened_part(image: Image.Image, top: float) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float64)
        if image.mode.startswith("F"):
            values = np.nan_to_num(values, nan=0.0, posinf=top, neginf=0.0)
        return Image.fromarray(np.clip(values * (255.0 / top), 0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")
        ground.alpha_composite(rgba)
        return ground.convert("L" if image.mode == "LA" else "RGB")
    return image.convert("L" if image.mode in ("L", "1") else "RGB")
