"""Checks of arguments, which may have any type. Each raises an ImageError that names the argument."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tfs_client._printable import shown
from tfs_client.errors import ImageError
from tfs_client.images.geometry import Size

if TYPE_CHECKING:
    from typing import TypeGuard

MOST_SIDE = (1 << 31) - 1  # pixels; Pillow counts in 32 bits


def check_choice(name: str, value: object, known: Collection[str]) -> None:
    """Raise ImageError unless a value is one of the known words."""
    if not (isinstance(value, str) and value in known):
        raise ImageError(f"expected {name} to be one of {', '.join(known)}, got {shown(value)}")


def check_flag(name: str, value: object) -> None:
    """Raise ImageError unless a value is True or False: any other text, such as "off", would count as True."""
    if not isinstance(value, bool | np.bool_):
        raise ImageError(f"expected {name} as True or False, got {shown(value)}")


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, of Python or numpy; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a number, in Python or numpy. NaN and infinity are."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def checked_size(size: object) -> Size:
    """Return a width and height. Raises ImageError unless they are whole numbers that Pillow can count to."""
    if not (isinstance(size, Sequence) and len(size) == 2 and all(is_whole(side) and side > 0 for side in size)):
        raise ImageError(f"expected size as (width, height) in pixels, such as (224, 224), got {shown(size)}")
    width, height = map(int, size)
    if max(width, height) > MOST_SIDE:
        raise ImageError(f"expected width and height of at most {MOST_SIDE} pixels, got {shown((width, height))}")
    return width, height


def check_level(name: str, value: object) -> None:
    """Raise ImageError unless a value is one of a pixel."""
    if not (is_whole(value) and 0 <= value <= 255):
        raise ImageError(f"expected {name} as a whole number from 0 to 255, got {shown(value)}")


def check_loaded(image: object) -> None:
    """Raise ImageError unless this is a picture as ``load_image`` returns it."""
    if not isinstance(image, Image.Image):
        raise ImageError(f"expected a picture that load_image has loaded, got {type(image).__name__}: load it first")
    if image.mode not in ("RGB", "L"):
        raise ImageError(f"expected a picture in mode RGB or L, got {shown(image.mode)}: load_image converts it")
