"""Picture formats: which ones are opened, how the first bytes of a file identify its format, and its decoder.

Pillow offers a file to each of its decoders until one accepts it, whatever the file's name. Some of them start programs
(EPS starts Ghostscript) or were not written for files from untrusted sources. So the format is identified here, from
the first bytes, and only decoders of allowed formats get the file.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TypeAlias

from PIL import Image

from tfs_client._printable import shown
from tfs_client.errors import ConfigError, ImageError

# Pillow's registry: for each format its decoder, and a check of a file's first bytes.
Decoder: TypeAlias = Callable[[io.BytesIO, str], Image.Image]
Decoders: TypeAlias = Mapping[str, tuple[Decoder, Callable[[bytes], bool | str] | None]]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""The formats opened by default: common ones, which Pillow decodes inside the process."""

_OTHER_NAMES = {"JPG": "JPEG", "JFIF": "JPEG", "MPO": "JPEG", "TIF": "TIFF", "PGM": "PPM", "PNM": "PPM"}
_OTHER_NAMES |= {"JP2": "JPEG2000", "PS": "EPS"}

_FIRST_BYTES = re.compile(
    rb"(?P<JPEG>\xff\xd8\xff)"
    rb"|(?P<PNG>\x89PNG\r\n\x1a\n)"
    rb"|(?P<WEBP>RIFF....WEBP)"
    rb"|(?P<GIF>GIF8[79]a)"
    rb"|(?P<BMP>BM)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+]|II\0\*|MM\*\0)"
    rb"|(?P<PPM>P(?:[1-6f]\s|0CMYK|yP\s|yRGBA|yCMYK))"
    rb"|(?P<AVIF>....ftyp(?:avi[fs]|m[is]f1(?=.{0,64}avif)))",
    re.DOTALL,
)
_MODULES = {"JPEG": "Jpeg", "PNG": "Png", "WEBP": "WebP", "GIF": "Gif", "BMP": "Bmp", "TIFF": "Tiff", "PPM": "Ppm"}
_MODULES |= {"AVIF": "Avif"}
_UNKNOWN_TO_PILLOW = ((re.compile(rb"%PDF-"), "PDF"), (re.compile(rb"....ftyp(?:hei|hev|m[is]f)", re.DOTALL), "HEIF"))


def checked_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """Return the names of formats as Pillow spells them. Raises ConfigError for a format that Pillow does not read."""
    if isinstance(formats, str) or not isinstance(formats, Iterable):
        raise ConfigError(f"expected formats= as names of formats, such as ('JPEG', 'PNG'), got {shown(formats)}")
    names = []
    for name in formats:
        upper = name.upper() if isinstance(name, str) else name
        upper = _OTHER_NAMES.get(upper, upper) if isinstance(upper, str) else None
        if upper not in FORMATS and upper not in _registered():
            readable = ", ".join(sorted({*FORMATS, *_registered()}))
            raise ConfigError(f"expected a format that Pillow reads, got {shown(name)}; it reads {readable}")
        names.append(upper)
    if not names:
        raise ConfigError("expected at least one format in formats=, got none")
    return tuple(dict.fromkeys(names))


def _registered() -> Decoders:
    """Return all formats of Pillow with their decoders. This imports every decoder, but runs none."""
    Image.init()
    return Image.OPEN


def open_as(data: bytes, formats: tuple[str, ...], max_pixels: int | None) -> Image.Image:
    """Open a picture with a decoder of one of these formats: its header is read, its pixels are not.

    Raises ImageError for a file in another format or with more pixels. For damaged files decoders raise other errors.
    """
    found = _FIRST_BYTES.match(data)
    if found is not None and (name := str(found.lastgroup)) in formats:
        if (declared := _declared_size(data, name)) is not None:
            check_size(declared, max_pixels)
        image = _opened(data, name)
        check_size(image.size, max_pixels)
        return image
    for name in formats:
        if name not in FORMATS and (opened := _opened_by(name, data)) is not None:
            check_size(opened.size, max_pixels)
            return opened
    raise ImageError(_refusal(_name_of(data), formats))


def check_size(size: tuple[int, int], max_pixels: int | None) -> None:
    """Raise ImageError for a picture of more pixels, or of none."""
    width, height = size
    if width * height == 0:
        raise ImageError(f"has {width} x {height} pixels, expected at least one")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"has {width} x {height} = {width * height} pixels, expected at most {max_pixels}; for files that you "
            f"trust, raise the limit with max_pixels= (--max-pixels {width * height})"
        )


def _opened(data: bytes, name: str) -> Image.Image:
    # Image.open would import the modules of five formats before it looks at the file, for which a command that sends
    # one picture should not wait (benchmarks/cold_start.py). It would also check the size against a limit that the
    # surrounding program may have changed.
    try:
        module = import_module(f"PIL.{_MODULES[name]}ImagePlugin")
    except ImportError:  # a Pillow older than this format; another package may have registered a decoder
        module = None
    if name == "JPEG" and module is not None:  # the decoder that Pillow registers may open further pictures in the file
        image: Image.Image = module.JpegImageFile(io.BytesIO(data))
        return image
    opened = _opened_by(name, data) if name in Image.OPEN else None
    if opened is None:
        raise ImageError(f"is in the format {name}, which this build of Pillow does not support")
    return opened


def _opened_by(name: str, data: bytes) -> Image.Image | None:
    """Open a file with the decoder of a format; None if the decoder does not accept it."""
    decoder, accepts = Image.OPEN[name] if name in Image.OPEN else _registered()[name]
    if accepts is not None:
        accepted = accepts(data[:16])
        if not accepted or isinstance(accepted, str):  # a text is the reason for a refusal
            return None
    try:
        return decoder(io.BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, struct.error):
        if name in FORMATS:
            raise
        return None


def _name_of(data: bytes) -> str:
    """Identify the format by a file's first bytes; "" for an unknown one. No decoder sees the file."""
    if found := _FIRST_BYTES.match(data):
        return str(found.lastgroup)
    for first, name in _UNKNOWN_TO_PILLOW:
        if first.match(data):
            return name
    for name, (_, accepts) in _registered().items():
        try:
            if accepts is not None and accepts(data[:16]):
                return name
        except Exception:  # the file is shorter than the bytes that the check reads
            continue
    return ""


def _refusal(found: str, formats: tuple[str, ...]) -> str:
    expected = ", ".join(formats)
    if not found:
        return f"is not a picture in an allowed format; expected one of {expected}"
    if found not in FORMATS and found not in Image.OPEN:
        return f"is in the format {found}, which Pillow does not read; expected one of {expected}"
    return (
        f"is in the format {found}, expected one of {expected}; for files that you trust, allow more with formats= "
        f"(--formats +{found.lower()})"
    )


def _declared_size(data: bytes, name: str) -> tuple[int, int] | None:
    """Read width and height from the header of formats whose decoder allocates pixels on opening; None for others."""
    if name == "GIF":
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if name != "WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
