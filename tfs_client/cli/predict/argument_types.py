"""Types of tfs-predict's arguments, for argparse: text to a value, or ArgumentTypeError."""

from __future__ import annotations

import argparse
import math
import re
from typing import Literal

MAX_PIXELS = 1 << 28  # of --size; more is a typing error


def filled(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("expected a value, got an empty one")
    return text


def size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if match is None or "0" in (match[1].lstrip("0") or "0", match[2].lstrip("0") or "0"):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT in pixels, such as 224x224, got {text!r}")
    width, height = int(match[1]), int(match[2])
    if width * height > MAX_PIXELS:
        raise argparse.ArgumentTypeError(f"expected at most {MAX_PIXELS} pixels, got {text}")
    return width, height


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def numbers(text: str) -> tuple[float, ...]:
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(f"expected one number, or three, separated by commas, got {text!r}")
    return found


def level(text: str) -> int:
    if not text.isdigit() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 255, got {text!r}")
    return int(text)


def on_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"expected on or off, got {text!r}")
    return text == "on"


def offset(text: str) -> int:
    if not re.fullmatch("[+-]?[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


def in_flight(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not (text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, or auto, got {text!r}")
    return int(text)
