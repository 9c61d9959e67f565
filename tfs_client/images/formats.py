"""Picture formats: which ones are opened, how a file shows which one it has, and the decoder that goes with it.

Pillow offers a file to every decoder that it has until one of them takes it, whatever the file is called. Some of them
start programs (EPS starts Ghostscript) or were written for files that nobody else made. So a format is read from the
first bytes here, and only decoders of formats that were allowed are given the file.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from PIL import Image

from tfs_client.errors import ConfigError, ImageError
from tfs_client.shown import shown

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""The formats that are opened by default: common ones, which Pillow decodes inside the process."""

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
    """Names of formats as Pillow spells them. Raises ConfigError for one that it does not have."""
    if isinstance(formats, str) or not isinstance(formats, Iterable):
        raise ConfigError(f"expected formats= as names of formats, such as ('JPEG', 'PNG'), got {shown(formats)}")
    names = []
    for name in formats:
        upper = name.upper() if isinstance(name, str) else name
        upper = _OTHER_NAMES.get(upper, upper) if isinstance(upper, str) else None
        if upper not in FORMATS and upper not in _registered():
            readable = ", ".join(sorted({*FORMATS, *_registered()}))
            raise ConfigError(f"expected formats that Pillow reads, got {shown(name)}; it reads {readable}")
        names.append(upper)
    if not names:
        raise ConfigError("expected at least one format in formats=, got none")
    return tuple(dict.fromkeys(names))


def _registered() -> dict[str, Any]:
    """All formats of Pillow, with their decoders; this imports every one of them, and runs none."""
    Image.init()
    return Image.OPEN


def open_as(data: bytes, formats: tuple[str, ...], max_pixels: int | None) -> Image.Image:
    """A picture whose header is read and whose pixels are not, by a decoder of one of these formats.

    Raises ImageError for a file in another format or with more pixels; whatever the decoders raise for a damaged one.
    """
    found = _FIRST_BYTES.match(data)
    if found is not None and (name := str(found.lastgroup)) in formats:
        _check_size(_declared_size(data, name), max_pixels)
        image = _opened(data, name)
        _check_size(image.size, max_pixels)
        return image
    for name in formats:
        if name not in FORMATS and (opened := _taken(data, name)) is not None:
            _check_size(opened.size, max_pixels)
            return opened
    raise ImageError(_refusal(_name_of(data), formats))


def _check_size(size: tuple[int, int], max_pixels: int | None) -> None:
    width, height = size
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"has {width} x {height} = {width * height} pixels, expected at most {max_pixels}; for files that you "
            f"trust, max_pixels= allows more (--max-pixels {width * height})"
        )


def _opened(data: bytes, name: str) -> Image.Image:
    # Image.open would import the modules of five formats before it looks at the file. A command that sends one picture
    # should not wait for the others (benchmarks/cold_start.py). Nor is its check of the size ours, which depends on
    # what the program around us has set.
    try:
        module = import_module(f"PIL.{_MODULES[name]}ImagePlugin")
    except ImportError:  # a Pillow before this format; perhaps another package has registered it
        module = None
    if name == "JPEG" and module is not None:  # not what Pillow registers, which may go on to further pictures inside
        image: Image.Image = module.JpegImageFile(io.BytesIO(data))
        return image
    opened = _taken(data, name) if name in Image.OPEN else None
    if opened is None:
        raise ImageError(f"is in the format {name}, which this build of Pillow does not support")
    return opened


def _taken(data: bytes, name: str) -> Image.Image | None:
    """The picture, when the decoder of a format takes the file."""
    decoder, accepts = Image.OPEN[name] if name in Image.OPEN else _registered()[name]
    if accepts is not None:
        accepted = accepts(data[:16])
        if not accepted or isinstance(accepted, str):  # a text says why it cannot
            return None
    try:
        return decoder(io.BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, struct.error):
        if name in FORMATS:
            raise
        return None


def _name_of(data: bytes) -> str:
    """The format that a file's first bytes show; empty for none that is known. No decoder sees the file."""
    if found := _FIRST_BYTES.match(data):
        return str(found.lastgroup)
    for first, name in _UNKNOWN_TO_PILLOW:
        if first.match(data):
            return name
    for name, (_, accepts) in _registered().items():
        try:
            if accepts is not None and accepts(data[:16]):
                return name
        except Exception:  # of fewer bytes than it looks at
            continue
    return ""


def _refusal(found: str, formats: tuple[str, ...]) -> str:
    expected = ", ".join(formats)
    if not found:
        return f"is not a picture that Pillow knows; expected one of {expected}"
    if found not in FORMATS and found not in Image.OPEN:
        return f"is in the format {found}, which Pillow does not read; expected one of {expected}"
    return (
        f"is in the format {found}, expected one of {expected}; for files that you trust, formats= allows others "
        f"(--formats +{found.lower()})"
    )


def _declared_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height in the header, where the decoder takes memory for pixels when it opens a file; else 0."""
    if name == "GIF":
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if name != "WEBP":
        return 0, 0
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
