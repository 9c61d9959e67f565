"""Types of tfs-bench's arguments, for argparse: text to a value, or ArgumentTypeError."""

from __future__ import annotations

import argparse
import re

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"(\d{1,12}(?:\.\d{1,12})?)"


def seconds(text: str) -> float:
    """Return a duration in seconds: ``10``, ``10s``, ``500ms``, ``2m``."""
    match = re.fullmatch(f"{_NUMBER}(us|ms|s|m|h)?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a duration such as 10s, 500ms or 2m, got {text!r}")
    return float(match[1]) * _UNITS[match[2] or "s"]


def duration(text: str) -> float:
    """Return a duration above 0 in seconds."""
    found = seconds(text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a duration above 0, got {text!r}")
    return found


def latency(text: str) -> float:
    """Return a latency in seconds. It needs a unit: people think of latencies in milliseconds."""
    match = re.fullmatch(f"{_NUMBER}(us|ms|s)", text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"expected a latency above 0 with its unit, such as 50ms, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def rates(text: str) -> tuple[float, ...]:
    """Return requests per second, separated by commas."""
    return tuple(map(_rate, text.split(",")))


def ramp(text: str) -> tuple[float, float]:
    """Return the rates at both ends of a ramp: ``FROM:TO``."""
    begin, colon, end = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"expected FROM:TO in requests per second, such as 10:500, got {text!r}")
    return _rate(begin), _rate(end)


def counts(text: str) -> tuple[int, ...]:
    """Return whole numbers above 0, separated by commas."""
    parts = text.split(",")
    if not all(re.fullmatch("[0-9]{1,9}", part) and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole numbers above 0, such as 1,4,16, got {text!r}")
    return tuple(map(int, parts))


def percentile(text: str) -> float:
    """Return a percentile as a share: 0.99 for ``99``."""
    match = re.fullmatch(f"p?{_NUMBER}", text)
    if match is None or not 1 <= float(match[1]) < 100:
        raise argparse.ArgumentTypeError(f"expected a percentile from 1 to 99.999, such as 99, got {text!r}")
    return float(match[1]) / 100


def factor(text: str) -> float:
    """Return a number above 0."""
    match = re.fullmatch(_NUMBER, text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"expected a number above 0, such as 2 or 0.5, got {text!r}")
    return float(match[1])


def percent(text: str) -> float:
    """Return a percentage as a share: 0.05 for ``5`` or ``5%``."""
    match = re.fullmatch(f"{_NUMBER}%?", text)
    if match is None or float(match[1]) > 1000:
        raise argparse.ArgumentTypeError(f"expected a percentage from 0 to 1000, such as 5, got {text!r}")
    return float(match[1]) / 100


def precision(text: str) -> float:
    """Return a percentage between 0 and 100 as a share."""
    match = re.fullmatch(f"{_NUMBER}%?", text)
    if match is None or not 0 < float(match[1]) < 100:
        raise argparse.ArgumentTypeError(f"expected a percentage above 0 and below 100, such as 5, got {text!r}")
    return float(match[1]) / 100


def shape(text: str) -> tuple[str, tuple[int | None, ...]]:
    """Return the alias of an input and its shape: ``NAME=?,128``, in which ``?`` is the number of rows."""
    alias, equals, sizes = text.rpartition("=")
    parts = sizes.split(",") if sizes else []
    if not alias or not equals or not all(part == "?" or re.fullmatch("[0-9]{1,10}", part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected NAME=SIZES, such as tokens=?,128, where ? is the number of rows, got {text!r}"
        )
    if "?" in parts[1:]:
        raise argparse.ArgumentTypeError(f"expected ? for the first size only, the number of rows, got {text!r}")
    return alias, tuple(None if part == "?" else int(part) for part in parts)


def _rate(text: str) -> float:
    match = re.fullmatch(_NUMBER, text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"expected requests per second above 0, such as 100 or 2.5, got {text!r}")
    return float(match[1])
