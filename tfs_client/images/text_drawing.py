"""Text on pictures, at any size, in the font that comes with Pillow, in one of the system or one of the user's.

Pillow's scalable font needs Pillow 10.1 with FreeType. Without it, its small bitmap font is enlarged. Both have hardly
more than ASCII, so other names are drawn in a font of the system that has their characters.
"""

from __future__ import annotations

import os
from functools import cache, lru_cache
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from tfs_client._printable import printable, shown
from tfs_client.errors import ImageError

# Fonts with many characters, by the names of their files; Pillow looks for them where the system keeps fonts.
_OF_SYSTEMS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf")
_MISSING = "\U0010ffff"  # a character that fonts lack: what they draw for it, they draw for all that they lack
_HIGH_AND_LOW = "|Ajgy"  # letters as high and as low as any, so that all lines have the same height
_LONGEST = 120  # characters of a text that are looked at
_SMALLEST = 6  # pixels
_LETTERS = 0.72  # the size of a font as a part of the height of its lines

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


def line(
    text: str, height: int, width: int, font: str | os.PathLike[str] | None = None, *, tail: str = ""
) -> Image.Image | None:
    """Return a text as grey levels, 255 for letters.

    For characters that no font has their numbers are drawn, such as "u+732b". A text that is too long is cut, with dots
    behind it.

    Args:
        height: of the line, in pixels.
        width: the most that it may be wide.
        font: the path of a TrueType or OpenType font; None for Pillow's and those of the system.
        tail: ASCII behind the text, which is never cut.

    Returns None if not even one character fits. Raises ImageError for a font that cannot be read.
    """
    text = printable(text).replace("\n", " ").replace("\t", " ")
    chosen = _font_for(text[:_LONGEST], max(_SMALLEST, round(height * _LETTERS)), font)
    characters = [_drawable(chosen, character) for character in text[:_LONGEST]]
    whole = _painted(chosen, "".join(characters) + tail, height)
    if len(text) <= _LONGEST and whole.width <= width:
        return whole
    fitting, beyond = 0, len(characters) + 1  # numbers of characters
    while beyond - fitting > 1:
        middle = (fitting + beyond) // 2
        fits = _painted(chosen, _cut(characters, middle) + tail, height).width <= width
        fitting, beyond = (middle, beyond) if fits else (fitting, middle)
    return _painted(chosen, _cut(characters, fitting) + tail, height) if fitting else None


def _cut(characters: list[str], count: int) -> str:
    return "".join(characters[:count]).rstrip() + ".."


def _painted(font: Font, text: str, height: int) -> Image.Image:
    _, top, _, bottom = font.getbbox(_HIGH_AND_LOW)
    left, _, right, _ = font.getbbox(text)
    start = min(left, 0)
    drawn = Image.new("L", (max(1, int(right - start + 0.5)), max(1, int(bottom - top))))
    ImageDraw.Draw(drawn).text((-start, -top), text, fill=255, font=font)
    if isinstance(font, ImageFont.FreeTypeFont):
        return drawn
    scale = height * _LETTERS / drawn.height
    size = (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale)))
    return drawn.resize(size, Image.Resampling.BICUBIC)


def _font_for(text: str, size: int, path: str | os.PathLike[str] | None) -> Font:
    """Return the font that has the most characters of a text; Pillow's own if it has as many as any."""
    if path is not None:
        try:
            return ImageFont.truetype(os.fspath(path), size)
        except (OSError, ImportError, ValueError) as error:
            raise ImageError(f"cannot read the font {shown(os.fspath(path))}: {error}") from error
    best = _pillows(size)
    unusual = {character for character in text if not character.isascii()}
    fewest = sum(not _has(best, character) for character in unusual)
    for name in _OF_SYSTEMS:
        if not fewest:
            break
        font = _of_the_system(name, size)
        missing = fewest if font is None else sum(not _has(font, character) for character in unusual)
        if font is not None and missing < fewest:
            best, fewest = font, missing
    return best


@lru_cache(maxsize=32)
def _pillows(size: int) -> Font:
    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError, OSError):  # before Pillow 10.1, or without FreeType
        return ImageFont.load_default()


@cache
def _path_of(name: str) -> str | None:
    """Return the path of a font of the system. Pillow searches all its folders for one that is missing."""
    try:
        found = ImageFont.truetype(name, _SMALLEST).path
    except (OSError, ImportError):
        return None
    return found if isinstance(found, str) else None


@lru_cache(maxsize=32)
def _of_the_system(name: str, size: int) -> Font | None:
    path = _path_of(name)
    return None if path is None else ImageFont.truetype(path, size)


def _has(font: Font, character: str) -> bool:
    try:
        return bytes(font.getmask(character)) != bytes(font.getmask(_MISSING))
    except UnicodeError:  # the bitmap font has Latin-1 only
        return ord(character) < 256


def _drawable(font: Font, character: str) -> str:
    if character.isascii() or character.isspace() or _has(font, character):
        return character
    return f"u+{ord(character):04x}"
