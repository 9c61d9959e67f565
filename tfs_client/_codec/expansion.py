"""Limits on the expansion of broadcast arrays into copies, lists or text.

A tensor that declares a huge shape and has one value, or none, takes a few bytes in a message, and becomes a broadcast
view that takes no more. But a copy of that view, nested lists or JSON take as much memory as the shape says. So code
that makes one checks the array here first. Arrays whose values are all in the message are never refused, because copies
of them grow only with the message.
"""

from __future__ import annotations

import math

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import DecodeError

GROWTH = 8  # bytes after expansion for each byte held
MOST_BYTES = 1 << 24  # of values beyond those in the message
MOST_VALUES = 1 << 22  # the same, where each becomes a Python object
MOST_LISTS = 1 << 20  # beyond a few for each value: many axes of size 1 make many lists of one element
LISTS_FOR_EACH = 4
MOST_ROW = 1 << 31  # bytes; one row of a tensor without values must fit in a message

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_EDGES = 1024  # values that numpy reads for a summary
_SUMMARY = 100  # characters


def is_overstated(array: Array) -> bool:
    """Return whether a copy takes far more memory than the array: over 8 times as much plus 16 MiB."""
    if not array.size or 0 not in array.strides:
        return False
    return written(array) > GROWTH * _held(array) + MOST_BYTES


def is_deep(array: Array) -> bool:
    """Return whether nested lists of it would be far more lists than it has values."""
    return _lists(array) > LISTS_FOR_EACH * array.size + MOST_LISTS


def check_copy(array: Array, what: str) -> None:
    """Raise DecodeError for an array whose copy would be too large for the values it holds.

    Args:
        what: the tensor, e.g. "output 'y'".
    """
    if is_overstated(array):
        raise DecodeError(refusal(array, what))


def check_lists(array: Array, what: str) -> None:
    """Raise DecodeError for an array whose nested lists, or text, would be too large for the values it holds."""
    many = 0 in array.strides and array.size > MOST_VALUES and array.size > GROWTH * _held(array) // array.itemsize
    if many or is_deep(array) or is_overstated(array):
        raise DecodeError(refusal(array, what))


def is_runnable(array: Array) -> bool:
    """Return whether the array can be passed to a model: its values, or one row if it is empty, fit in a message."""
    if array.size:
        return not is_overstated(array)
    row = math.prod(max(size, 1) for size in array.shape)
    return _lists(array) <= MOST_LISTS and row * array.itemsize <= MOST_ROW


def refusal(array: Array, what: str) -> str:
    """Explain why an array is not expanded, and what to do."""
    dtype = "string" if array.dtype.kind == "O" else array.dtype.name
    declared = f"{what} declares {dtype} {shown(array.shape)}"
    if not array.size or is_deep(array):
        return (
            f"{declared}, which makes {_lists(array)} lists for {array.size} values: expected at most {MOST_LISTS}, or "
            f"{LISTS_FOR_EACH} for each value; leave the tensor out, or reshape it to fewer axes"
        )
    return (
        f"{declared}, {_size(written(array))}, and holds {_size(_held(array))}: expected at most {_size(MOST_BYTES)} "
        f"and {MOST_VALUES} values beyond those that the message carries; leave the tensor out, or send all its values"
    )


def collapsed(array: Array, other: Array) -> tuple[Array, Array]:
    """Return two arrays of one shape without the axes along which both are broadcast, to compare them faster."""
    both = zip(array.shape, array.strides, other.strides, strict=True)
    index = [slice(0, 1) if size and not step and not step_ else slice(None) for size, step, step_ in both]
    place = (*index, ...)  # the dots keep arrays of rank 0
    return array[place], other[place]


def is_same(array: Array, other: object) -> bool:
    """Return whether two outputs have the same shape and values."""
    text = array.dtype.kind == "O"
    if isinstance(other, np.ndarray) and (other.shape != array.shape or (other.dtype.kind in "OSU") != text):
        return False  # before a conversion, which may take much memory
    try:
        values = np.asarray(other, object if text else None)
    except ValueError:  # ragged
        return False
    if values.dtype.kind in "mM":  # outputs are never dates, and numpy warns about comparing them with numbers
        return False
    if values.shape != array.shape or (values.dtype.kind in "OSU") != (array.dtype.kind in "OSU"):
        return False
    array, values = collapsed(array, values)
    equal = array == values
    return bool(np.all(equal | ((array != array) & (values != values)))) if array.size else True


def packed(array: Array) -> Array | tuple[Array, tuple[int, ...]]:
    """Return the array in a form for pickling: a broadcast view as its values and its shape."""
    if array.size and 0 in array.strides:
        return collapsed(array, array)[0].copy(), array.shape
    return array


def unpacked(found: Array | tuple[Array, tuple[int, ...]]) -> Array:
    """Return the array from its ``packed`` form."""
    return np.broadcast_to(*found) if isinstance(found, tuple) else found


def summary(array: Array) -> str:
    """Return the first and last values in a line of at most 100 characters, for any number of values and axes."""
    outer, brackets = array, ""
    while outer.ndim > 1 and math.prod(min(size, 5) for size in outer.shape) > _EDGES:
        outer, brackets = outer[0], brackets + "["
    text = np.array2string(outer, threshold=12, edgeitems=2, precision=4, formatter={"object": _start})
    text = brackets + text.replace("\n", " ")
    return text if len(text) <= _SUMMARY and not brackets else text[: _SUMMARY - 3] + "..."


def _start(element: object) -> str:
    """Return the repr of a string, of a long one only what a summary may show: the whole takes four times its size."""
    return repr(element[:_SUMMARY]) if isinstance(element, (bytes, str)) else shown(element)


def _held(array: Array) -> int:
    """Return the bytes of the values in memory, without repetitions."""
    there = math.prod(size for size, step in zip(array.shape, array.strides, strict=True) if step)
    return int(there) * _width(array)


def written(array: Array) -> int:
    """Return the bytes of all values of the array's shape."""
    return int(array.size) * _width(array)


def _width(array: Array) -> int:
    """Return the bytes of an element; for strings, including the length of the first one."""
    width = int(array.itemsize)
    if array.dtype.kind != "O" or not array.size:
        return width
    first = array[(0,) * array.ndim]
    return width + (len(first) if isinstance(first, (bytes, str)) else 0)


def _lists(array: Array) -> int:
    """Return the number of lists in its nested lists, except the outermost."""
    count, groups = 0, 1
    for size in array.shape[:-1]:
        groups *= size
        count += groups
    return count


def _size(count: int) -> str:
    unit = min((max(count, 1).bit_length() - 1) // 10, len(_UNITS) - 1)
    number = count / (1 << 10 * unit)
    return f"{number:.0f} {_UNITS[unit]}" if number == int(number) else f"{number:.1f} {_UNITS[unit]}"
