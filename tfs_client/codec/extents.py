"""Extents: how much an array becomes once its values are written out, against the memory that holds them.

A tensor that declares a huge shape and carries one value, or none, takes a few bytes in a message, and so does the
broadcast view that it becomes. A copy of that view, nested lists or JSON would take as much as the shape says. So code
that makes one checks here first. Arrays whose values came in the message are never refused: copies grow with it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfs_client.errors import DecodeError
from tfs_client.shown import shown

Array = np.ndarray[Any, Any]

GROWTH = 8  # bytes written for each byte held
MOST_BYTES = 1 << 24  # of values that no message brought
MOST_VALUES = 1 << 22  # of those, where each becomes an object of Python
MOST_LISTS = 1 << 20  # beyond a few for each value: many axes of one make many lists of one
LISTS_FOR_EACH = 4
MOST_ROW = 1 << 31  # bytes; a tensor without values must leave room for a row that a message can bring

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_EDGES = 1024  # values that numpy looks at for a summary
_SUMMARY = 100  # characters


def is_overstated(array: Array) -> bool:
    """Whether a copy would take far more memory than the array holds: over 8 times as much, and over 16 MiB."""
    if not array.size or 0 not in array.strides:
        return False
    return written(array) > GROWTH * _held(array) + MOST_BYTES


def is_deep(array: Array) -> bool:
    """Whether nested lists of it would be far more lists than it has values."""
    return _lists(array) > LISTS_FOR_EACH * array.size + MOST_LISTS


def check_copy(array: Array, what: str) -> None:
    """Raise DecodeError for an array that is too large to copy for what it holds.

    Args:
        what: the tensor, e.g. "output 'y'".
    """
    if is_overstated(array):
        raise DecodeError(refusal(array, what))


def check_lists(array: Array, what: str) -> None:
    """Raise DecodeError for an array of which nested lists, or text, would be too large for what it holds."""
    many = 0 in array.strides and array.size > MOST_VALUES and array.size > GROWTH * _held(array) // array.itemsize
    if many or is_deep(array) or is_overstated(array):
        raise DecodeError(refusal(array, what))


def is_runnable(array: Array) -> bool:
    """Whether a model can be given the array: what it holds, or would hold with one row, fits into a message."""
    if array.size:
        return not is_overstated(array)
    row = math.prod(max(size, 1) for size in array.shape)
    return _lists(array) <= MOST_LISTS and row * array.itemsize <= MOST_ROW


def refusal(array: Array, what: str) -> str:
    """Why an array is not written out, and what to do."""
    dtype = "string" if array.dtype.kind == "O" else array.dtype.name
    declared = f"{what} declares {dtype} {shown(array.shape)}"
    if not array.size or is_deep(array):
        return (
            f"{declared}, which makes {_lists(array)} lists for {array.size} values: expected at most {MOST_LISTS}, or "
            f"{LISTS_FOR_EACH} for each value; leave the tensor out, or reshape it to fewer axes"
        )
    return (
        f"{declared}, {_size(written(array))}, and holds {_size(_held(array))}: expected at most {_size(MOST_BYTES)} "
        f"and {MOST_VALUES} values beyond those that the message carries; leave the tensor out, or have it sent in full"
    )


def collapsed(array: Array, other: Array) -> tuple[Array, Array]:
    """Two arrays of one shape without the axes along which both repeat themselves; comparing these compares those."""
    both = zip(array.shape, array.strides, other.strides, strict=True)
    index = tuple(slice(0, 1) if size and not step and not step_ else slice(None) for size, step, step_ in both)
    return array[index], other[index]


def packed(array: Array) -> Array | tuple[Array, tuple[int, ...]]:
    """What stands for the array in a pickle: a view that repeats its values is those values and its shape."""
    if array.size and 0 in array.strides:
        return collapsed(array, array)[0].copy(), array.shape
    return array


def unpacked(found: Array | tuple[Array, tuple[int, ...]]) -> Array:
    """The array that ``packed`` stands for."""
    return np.broadcast_to(*found) if isinstance(found, tuple) else found


def summary(array: Array) -> str:
    """The first and last values in a line of at most 100 characters, however many there are and however many axes."""
    outer, brackets = array, ""
    while outer.ndim > 1 and math.prod(min(size, 5) for size in outer.shape) > _EDGES:
        outer, brackets = outer[0], brackets + "["
    text = brackets + np.array2string(outer, threshold=12, edgeitems=2, precision=4).replace("\n", " ")
    return text if len(text) <= _SUMMARY and not brackets else text[: _SUMMARY - 3] + "..."


def _held(array: Array) -> int:
    """The bytes of the values that are there."""
    there = math.prod(size for size, step in zip(array.shape, array.strides, strict=True) if step)
    return int(there) * _width(array)


def written(array: Array) -> int:
    """The bytes of all the values that the array declares."""
    return int(array.size) * _width(array)


def _width(array: Array) -> int:
    """The bytes of an element; of strings that are repeated, those of the first of them too."""
    width = int(array.itemsize)
    if array.dtype.kind != "O" or not array.size:
        return width
    first = array[(0,) * array.ndim]
    return width + (len(first) if isinstance(first, (bytes, str)) else 0)


def _lists(array: Array) -> int:
    """How many lists nested lists of it have, the outermost one aside."""
    count, groups = 0, 1
    for size in array.shape[:-1]:
        groups *= size
        count += groups
    return count


def _size(count: int) -> str:
    unit = min((max(count, 1).bit_length() - 1) // 10, len(_UNITS) - 1)
    number = count / (1 << 10 * unit)
    return f"{number:.0f} {_UNITS[unit]}" if number == int(number) else f"{number:.1f} {_UNITS[unit]}"
