"""Differences: two mappings of arrays, compared with a tolerance and described by alias and index."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import STRING, Array, row_of
from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError, DecodeError
from tfs_client.signatures import shape_text

MOST_SHOWN = 5  # elements of one array


@dataclass(frozen=True)
class Element:
    """One element that differs: its index, and its value in both arrays."""

    index: tuple[int, ...]
    expected: object
    got: object


@dataclass(frozen=True)
class Difference:
    """How one array differs from the expected one.

    Attributes:
        alias: the name of the input or output.
        reason: what differs, in words; "" if only values do.
        elements: the first elements that differ, in C order.
        differing: the number of elements that differ.
        size: the number of elements.
        largest: the greatest absolute difference of numbers; None if the values are not numbers, or not finite.
        worst: the element with the greatest difference; with NaN or infinity on one side if there is such an element.
    """

    alias: str
    reason: str = ""
    elements: tuple[Element, ...] = ()
    differing: int = 0
    size: int = 0
    largest: float | None = None
    worst: Element | None = None

    def __str__(self) -> str:
        if self.reason:
            return f"{self.alias!r}: {self.reason}"
        lines = [f"{self.alias!r}: {self.differing} of {self.size} values differ"]
        if self.size == 1:
            lines[0] = f"{self.alias!r}: the value differs"
        elif self.largest is not None and self.worst is not None:
            lines[0] += f", by at most {self.largest:.4g} at {_place(self.worst.index)}"
        shown_elements = list(self.elements)
        if self.worst is not None and self.worst.index not in [each.index for each in shown_elements]:
            shown_elements.append(self.worst)
        for each in shown_elements:
            lines.append(f"  {_place(each.index)}: expected {shown(each.expected)}, got {shown(each.got)}")
        if self.differing > len(shown_elements):
            lines.append(f"  and {self.differing - len(shown_elements)} more")
        return "\n".join(lines)


def check_tolerances(rtol: float, atol: float, names: tuple[str, str] = ("rtol=", "atol=")) -> None:
    """Raise ConfigError for a tolerance that is not a number of at least 0. ``names`` are for its text."""
    for name, value in zip(names, (rtol, atol), strict=True):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < math.inf:
            raise ConfigError(f"expected {name} as a number of at least 0, got {shown(value)}")


def differences(
    expected: Mapping[str, Array],
    got: Mapping[str, Array],
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    aliases: Iterable[str] | None = None,
) -> list[Difference]:
    """Compare arrays by alias. Floats and complex numbers may differ by ``atol + rtol * abs(expected)``.

    NaN equals NaN. Dtypes and shapes must be equal.

    Args:
        expected, got: arrays by alias.
        rtol, atol: the tolerance.
        aliases: compare these only; None: all of both.

    Raises DecodeError for an array that declares far more values than it holds.
    """
    found = []
    for alias in sorted({*expected, *got} if aliases is None else {*aliases}):
        if alias not in got:
            found.append(Difference(alias, f"is missing; got {listed(sorted(got))}"))
        elif alias not in expected:
            found.append(Difference(alias, f"was not expected; expected {listed(sorted(expected))}"))
        elif (difference := compare(alias, expected[alias], got[alias], rtol=rtol, atol=atol)) is not None:
            found.append(difference)
    return found


def compare(alias: str, expected: Array, got: Array, *, rtol: float = 0.0, atol: float = 0.0) -> Difference | None:
    """Compare two arrays; None if they are equal within the tolerance. Raises DecodeError, as ``differences`` does."""
    if not _alike(expected, got):
        return Difference(alias, f"expected {_kind(expected)}, got {_kind(got)}")
    few_expected, few_got = _few(alias, expected, got)
    unequal = _unequal(few_expected, few_got, rtol, atol)
    count = int(np.count_nonzero(unequal))
    if not count:
        return None
    first = np.flatnonzero(unequal)[:MOST_SHOWN]
    elements = tuple(_element(few_expected, few_got, int(place)) for place in first)
    largest, worst = _worst(few_expected, few_got, unequal)
    repeated = expected.size // few_expected.size
    return Difference(alias, "", elements, count * repeated, expected.size, largest, worst)


def equal(expected: Mapping[str, Array], got: Mapping[str, Array], *, rtol: float = 0.0, atol: float = 0.0) -> bool:
    """Return whether ``differences`` finds none, without describing them. Raises DecodeError as it does."""
    return expected.keys() == got.keys() and all(
        _alike(array, got[alias]) and not _unequal(*_few(alias, array, got[alias]), rtol, atol).any()
        for alias, array in expected.items()
    )


def _alike(expected: Array, got: Array) -> bool:
    return row_of(expected.dtype) is row_of(got.dtype) and expected.shape == got.shape


def _few(alias: str, expected: Array, got: Array) -> tuple[Array, Array]:
    """Return what to compare. Axes along which both repeat their values need one comparison, not one for each."""
    few_expected, few_got = expansion.collapsed(expected, got)
    if expansion.is_overstated(few_expected) and expansion.is_overstated(few_got):
        raise DecodeError(expansion.refusal(expected, repr(alias)))
    return comparable(few_expected), comparable(few_got)


def comparable(array: Array) -> Array:
    """Return the values so that numpy compares them: strings as bytes, quantized integers without their field."""
    if array.dtype.names is not None:
        return np.asarray(array[array.dtype.names[0]])
    if row_of(array.dtype) is not STRING:
        return array
    values = np.empty(array.shape, object)
    values.reshape(-1)[:] = [value if isinstance(value, bytes) else str(value).encode() for value in array.flat]
    return values


def _unequal(expected: Array, got: Array, rtol: float, atol: float) -> Array:
    if not is_inexact(expected):
        return np.asarray(expected != got, bool)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.isclose(wide(got), wide(expected), rtol=rtol, atol=atol, equal_nan=True)
    return np.asarray(~near, bool)


def _worst(expected: Array, got: Array, unequal: Array) -> tuple[float | None, Element | None]:
    """Return the greatest difference among the unequal elements, and its element."""
    if expected.dtype.kind in "Ob":
        return None, None
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.where(unequal, _gaps(expected, got), 0)
    strange = ~np.isfinite(gaps)
    ranks = strange if strange.any() else gaps
    place = int(np.argmax(ranks))
    return (None if strange.any() else float(gaps.flat[place])), _element(expected, got, place)


def _gaps(expected: Array, got: Array) -> Array:
    if expected.dtype.kind in "iu":  # exact for large integers too: as unsigned integers they wrap around
        high, low = np.maximum(expected, got), np.minimum(expected, got)
        return np.asarray(high.astype(np.uint64) - low.astype(np.uint64))
    return np.asarray(np.abs(wide(got) - wide(expected)))


def is_inexact(array: Array) -> bool:
    """Return whether the tolerance applies to the values."""
    return array.dtype.kind in "fc" or "float" in row_of(array.dtype).name


def wide(array: Array) -> Array:
    """Return numbers in the widest dtype of their kind, in which they are compared."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _kind(array: Array) -> str:
    return f"{row_of(array.dtype).readable} {shape_text(array.shape)}"


def _element(expected: Array, got: Array, place: int) -> Element:
    """Return the element at a place in C order."""
    index = tuple(map(int, np.unravel_index(place, expected.shape))) if expected.ndim else ()
    return Element(index, _value(expected[index]), _value(got[index]))


def _value(value: Any) -> object:
    if isinstance(value, (np.float32, np.float16)):
        return float(str(value))  # 0.1, not 0.10000000149011612
    if not isinstance(value, np.generic):
        return value
    number = value.item()
    if isinstance(number, np.generic):  # ml_dtypes' own scalars
        return int(number) if "int" in row_of(number.dtype).name else float(number)
    return number


def _place(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else "the value"
