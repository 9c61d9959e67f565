"""Pictures from files and from memory: upright, as RGB or grey, in bounded memory.

A picture takes at most 8 bytes a pixel while it is decoded and 4 afterwards. JPEG and WebP decoders use up to as much
again. ``max_pixels`` is checked before any of this is allocated.

So that the bound holds, a whole picture exists at most twice: as decoded, and as the result. Every step between the two
(a colour behind transparent parts, the range of 16-bit and float pixels) needs several copies of its input, some in
64-bit floats; it runs strip by strip, and the copies have the size of a strip.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TypeAlias

import numpy as np
from PIL import Image

from tfs_client._codec.dtypes import Array
from tfs_client._printable import bounded, shown
from tfs_client.errors import ConfigError, ImageError
from tfs_client.images.formats import FORMATS, check_size, checked_formats, open_as

MAX_PIXELS = 120_000_000
"""The largest number of pixels decoded by default: photos of 100-megapixel cameras have fewer."""

ALPHAS = ("white", "black", "drop")
"""What becomes of transparency; see ``load_image``."""

ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
LARGE = 1 << 24  # pixels; larger pictures take so much memory that they should be decoded one at a time
STRIP = 1 << 20  # pixels processed at a time

_UPRIGHT: Mapping[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # the transposition that turns a picture upright, by its orientation

_WITH_ALPHA = ("RGBA", "RGBa", "LA", "PA")

Path = str | os.PathLike[str]
Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | Array | IO[bytes]
"""What pictures are loaded from; see ``load_image``."""
Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Limits:
    """Limits on the pictures that are decoded.

    Attributes:
        formats: names of formats, as Pillow spells them.
        max_pixels: the largest number of pixels; None for no limit.

    Raises ConfigError for formats that Pillow does not read, and unless ``max_pixels`` is a whole number above 0.
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
    """Read the bytes of a file. Raises ImageError, which names the file, if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        if _is_url(str(path)):
            raise ImageError(f"{str(path)!r} is a URL, expected a file: download it first") from None
        raise ImageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except (ValueError, MemoryError) as error:  # a name with a NUL byte; a file larger than the memory
        raise ImageError(f"cannot read {str(path)!r}: {error or 'it does not fit into memory'}") from error


def _is_url(path: str) -> bool:
    """Whether a path looks like a URL; normalized paths have a single slash."""
    scheme, found, _ = path.partition(":/")
    return bool(found) and scheme.isalnum() and len(scheme) > 1  # a single letter is a drive of Windows


def load_image(
    source: Source,
    *,
    formats: Iterable[str] = FORMATS,
    max_pixels: int | None = MAX_PIXELS,
    exif: bool = True,
    alpha: str = "white",
) -> Image.Image:
    """Load a picture as RGB or, if it has no colour, as grey ("L"), turned upright according to its EXIF orientation.

    16-bit grey is scaled to 8 bits; in grey pictures of floats the largest value (at least 1) becomes white. Of an
    animation the first frame is loaded. The result shares no memory with the source.

    Args:
        source: a path; the bytes of a file; a binary file object, which is read to its end; a PIL image; or an array of
            uint8, of shape (height, width) or (height, width, 1) for grey, (height, width, 3) for RGB, or
            (height, width, 4) for RGB with alpha.
        formats: the formats to decode, by Pillow's names. The content of a file determines its format, not its name.
            ``(*FORMATS, "JPEG2000")`` allows one more. Some of Pillow's decoders start programs (EPS starts
            Ghostscript), so allow further formats only for files that you trust. PIL images and arrays have no format.
        max_pixels: the largest number of pixels, checked before memory is allocated for them; None for no limit.
        exif: False leaves the picture as it is stored. Recent versions of Pillow turn TIFF files in any case.
        alpha: the colour behind transparent parts, "white" or "black"; "drop" ignores transparency and shows the
            colours that the file has there, as Pillow's ``convert("RGB")`` does.

    Raises ImageError for a file that cannot be read, is not a picture in these formats, is too large, or is truncated
    (unless the program has set Pillow's ``ImageFile.LOAD_TRUNCATED_IMAGES``), for an array of another dtype or shape,
    and when memory runs out; ConfigError for formats that Pillow does not read, for an unknown ``alpha``, and for
    ``exif`` that is not a bool.
    """
    return load_within(limits_of(formats, max_pixels), source, exif=exif, alpha=alpha)


def limits_of(formats: Iterable[str], max_pixels: int | None) -> Limits:
    """Return the limits that two arguments of a public function set. Raises ConfigError."""
    return Limits(FORMATS if formats is FORMATS else checked_formats(formats), max_pixels)


def load_within(
    limits: Limits,
    source: Source,
    *,
    exif: bool = True,
    alpha: str = "white",
    before_large: Callable[[int], object] | None = None,
) -> Image.Image:
    """Load a picture as ``load_image`` does. ``before_large`` is that of ``decode``. Raises as ``load_image`` does."""
    found = contents(source)
    try:
        if isinstance(found, bytes):
            return decode(found, limits, exif=exif, alpha=alpha, before_large=before_large)
        return _converted(found, limits, exif=exif, alpha=alpha)
    except ImageError as error:
        raise ImageError(f"{name_of(source)} {error}") from error.__cause__


def contents(source: Source) -> bytes | Image.Image | Array:
    """Return the bytes of a file, or the pixels that are in memory. Raises ImageError if they cannot be read."""
    if isinstance(source, str | os.PathLike):
        return read_file(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, Image.Image | np.ndarray):
        return source
    if not callable(getattr(source, "read", None)):
        hint = "; convert it with numpy.asarray" if hasattr(source, "__array__") else ""
        raise ImageError(
            "expected a picture as a path, the bytes of a file, a binary file object, a PIL image or a uint8 array, "
            f"got {type(source).__name__}{hint}"
        )
    try:
        data = source.read()
    except (OSError, ValueError, MemoryError) as error:  # ValueError: the file is closed, or its text is not UTF-8
        raise ImageError(f"cannot read {name_of(source)}: {error or 'it does not fit into memory'}") from error
    if not isinstance(data, bytes):
        raise ImageError(f"expected a file opened in binary mode, got {type(data).__name__} from {name_of(source)}")
    return data


def name_of(source: object) -> str:
    """Return how error texts name a picture."""
    name = source
    if not isinstance(source, str | os.PathLike):  # file objects may have a name, Pillow's pictures a filename
        name = getattr(source, "name", None) or getattr(source, "filename", None) or None
    return repr(str(name)) if isinstance(name, str | os.PathLike) else "the picture"


def decode(
    data: bytes,
    limits: Limits,
    *,
    exif: bool = True,
    alpha: str = "white",
    before_large: Callable[[int], object] | None = None,
) -> Image.Image:
    """Decode the bytes of a file as ``load_image`` does.

    Args:
        data: the bytes of the file.
        limits: the formats to decode, and the largest number of pixels.
        exif: as in ``load_image``, and as a ``Preparation`` has it.
        alpha: likewise.
        before_large: called with the number of pixels before a large picture is decoded. It may block until the
            picture's turn comes, and raise ImageError.

    Raises ImageError. Its text is a predicate: the caller puts the name of the picture before it. ConfigError as
    ``load_image`` does.
    """
    _check_options(exif, alpha)
    with _typed_errors():
        with open_as(data, limits.formats, limits.max_pixels) as opened:
            pixels = opened.width * opened.height
            if before_large is not None and pixels > LARGE:
                before_large(pixels)
            # Not in Pillow's draft mode, which decodes JPEGs at a half, quarter or eighth of their size: it averages
            # before values are clipped to 0..255. On text, resized pixels differ by 3 of 255 or more, however
            # small the result (benchmarks/draft_mode.py).
            opened.load()
            flat = _flattened(opened, alpha)
            orientation = _orientation(opened) if exif else 1
        del opened  # free the decoder's own copy before a rotation makes another one
        return flat.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else flat


def _converted(pixels: Image.Image | Array, limits: Limits, *, exif: bool, alpha: str) -> Image.Image:
    """Convert pixels in memory. Raises as ``decode`` does."""
    _check_options(exif, alpha)
    with _typed_errors():
        image = pixels if isinstance(pixels, Image.Image) else _from_array(pixels, limits)
        check_size(image.size, limits.max_pixels)
        image.load()
        flat = _flattened(image, alpha)
        orientation = _orientation(image) if exif and image is pixels else 1
        if orientation in _UPRIGHT:
            return flat.transpose(_UPRIGHT[orientation])
        return flat.copy() if flat.im is image.im else flat


def _check_options(exif: object, alpha: object) -> None:
    if not isinstance(exif, bool | np.bool_):  # "off" would count as True
        raise ConfigError(f"expected exif as True or False, got {shown(exif)}")
    if not isinstance(alpha, str) or alpha not in ALPHAS:
        raise ConfigError(f"expected alpha to be one of {', '.join(ALPHAS)}, got {shown(alpha)}")


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Raise every error as an ImageError: Pillow's decoders raise almost anything for a damaged file."""
    try:
        yield
    except (ImageError, ConfigError):
        raise
    except MemoryError as error:
        raise ImageError("cannot be decoded: not enough memory for its pixels") from error
    except Exception as error:
        raise ImageError(f"cannot be decoded: {bounded(str(error), 500) or type(error).__name__}") from error


def _from_array(array: Array, limits: Limits) -> Image.Image:
    if array.dtype != np.uint8:
        hint = "; scale floats to 0..255 and round them first" if array.dtype.kind == "f" else ""
        raise ImageError(f"cannot be converted: expected an array of uint8, got {array.dtype}{hint}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            "cannot be converted: expected an array of shape (height, width), or (height, width, channels) with "
            f"1, 3 or 4 channels, got {shown(array.shape)}"
        )
    height, width, *_ = array.shape
    check_size((width, height), limits.max_pixels)
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def _orientation(image: Image.Image) -> object:
    return image.getexif().get(ORIENTATION, 1)


def _flattened(image: Image.Image, alpha: str) -> Image.Image:
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image._new(image.im)  # shares the pixels
    top = _white_level(image)
    if image.width * image.height <= STRIP:
        return _flattened_part(image, top, alpha)
    whole = None
    for box in boxes(image.size):
        flat = _flattened_part(part(image, box), top, alpha)
        whole = whole or Image.new(flat.mode, image.size)
        whole.paste(flat, box)
    assert whole is not None
    return whole


def boxes(size: tuple[int, int]) -> Iterator[Box]:
    """Divide a picture into parts of at most STRIP pixels."""
    width = min(size[0], STRIP)
    height = max(1, STRIP // width)
    for top in range(0, size[1], height):
        for left in range(0, size[0], width):
            yield left, top, min(left + width, size[0]), min(top + height, size[1])


def part(image: Image.Image, box: Box) -> Image.Image:
    """Cut out a part; the whole picture is returned as it is.

    ``Image.crop`` would check its size against a limit that the surrounding program may have set.
    """
    return image if box == (0, 0, *image.size) else image._new(image.im.crop(box))


def _white_level(image: Image.Image) -> float:
    """Return the value that becomes white: 65535, or in a picture of floats its largest value, at least 1."""
    if not image.mode.startswith("F"):
        return 65535.0
    found = 1.0
    for box in boxes(image.size):
        values = np.asarray(part(image, box), np.float64)
        found = max(found, float(values.max(initial=0.0, where=np.isfinite(values))))
    return found


def _flattened_part(image: Image.Image, top: float, alpha: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float64)
        if image.mode.startswith("F"):
            values = np.nan_to_num(values, nan=0.0, posinf=top, neginf=0.0)
        return Image.fromarray(np.clip(values * (255.0 / top), 0, 255).astype(np.uint8))
    if image.mode == "La":  # Pillow converts premultiplied grey to nothing else
        image = image.convert("LA")
    grey = image.mode in ("L", "LA", "1")
    if alpha == "drop":
        image = image._new(image.im)
        image.info.pop("transparency", None)  # Pillow would warn of transparency that it drops
    elif image.mode in _WITH_ALPHA or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, alpha)
        ground.alpha_composite(rgba)
        image = ground
    return image.convert("L" if grey else "RGB")
