"""Numbers and strings of tensors as JSON tokens, the way the model server prints them.

Source: util/json_tensor.cc (WriteDecimal): six significant digits where they read back as the same value, else as many
as the type needs, 9 or 17; then ``.0`` unless the text has a point or an exponent already.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tfs_client.codec import wire
from tfs_client.codec.dtypes import row_of
from tfs_client.errors import InvalidArgumentError
from tfs_client.server.rest.json_debug import quoted
from tfs_client.server.servable import Array

FEW = 64  # values of which a second look at each takes less time than finding out which need one
DIGITS = {"float": 9, "double": 17}  # with which every value of the type reads back as itself


def tokens(array: Array) -> list[str]:
    """Every element as JSON text, in order. Raises InvalidArgumentError for dtypes that have none."""
    row = row_of(array.dtype)
    write = _WRITERS.get(row.name)
    if write is None:
        raise InvalidArgumentError(f"Failed to write JSON value for tensor type: {row.name}")
    return write(array.reshape(-1))


def decimals(array: Array) -> list[str]:
    """A vector of floats or doubles. Only what is whole or short is looked at one by one."""
    shown = _printed(array, DIGITS[row_of(array.dtype).name])
    candidates = np.flatnonzero(_may_be_short(array)) if len(array) > FEW else np.arange(len(array))
    if not candidates.size:
        return shown
    some = array[candidates]
    shorter = _printed(some, 6)
    with np.errstate(over="ignore", invalid="ignore"):
        same = np.fromstring(" ".join(shorter), np.float64, sep=" ").astype(array.dtype) == some
    for index, text, good in zip(candidates.tolist(), shorter, same.tolist(), strict=True):
        shown[index] = _pointed(text if good else shown[index])
    return shown


def _may_be_short(array: Array) -> Array:
    """Which values are whole, or may do with six digits: a few too many, but not one too few, found at no great cost.

    A float next to a number of six digits is within 2**-24 of it, which is 0.06 when six digits stand before the point.
    Very small and very large values may be less exact, and count as short.
    """
    with np.errstate(all="ignore"):
        size = np.abs(array.astype(np.float64))
        scaled = size / 10.0 ** (np.floor(np.log10(size)) - 5)
        long = (np.abs(scaled - np.rint(scaled)) > 0.1) & (size > 1e-30) & (size < 1e30)
        short: Array = ~long | (np.trunc(size) == size)
    return short


def _pointed(text: str) -> str:
    return text if "e" in text or "." in text else _WORDS.get(text) or text + ".0"


_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _printed(array: Array, digits: int) -> list[str]:
    """All at once: one format for the whole list is several times as fast as one for each."""
    return (f"%.{digits}g " * len(array) % tuple(array.tolist())).split()


def _integers(array: Array) -> list[str]:
    return list(map(str, array.tolist()))


def _booleans(array: Array) -> list[str]:
    return ["true" if value else "false" for value in array.tolist()]


def _strings(array: Array) -> list[str]:
    return [quoted(raw(value).decode("utf-8", "surrogateescape")) for value in array.tolist()]


def encoded(array: Array) -> list[str]:
    """The elements of a string tensor in base64."""
    return [base64.b64encode(raw(value)).decode() for value in array.reshape(-1).tolist()]


def raw(value: Any) -> bytes:
    """The bytes of a string, which a function may have given as text. Raises EncodeError for text that has none."""
    return value if isinstance(value, bytes) else wire.utf8(str(value), "text")


Writer = Callable[[Array], list[str]]
_WRITERS: dict[str, Writer] = {
    "float": decimals,
    "double": decimals,
    "bool": _booleans,
    "string": _strings,
    **dict.fromkeys(("int32", "int16", "int8", "uint8", "int64", "uint32", "uint64"), _integers),
}


def floats(values: Iterable[float]) -> list[str]:
    """Values of a message's float field."""
    return decimals(np.fromiter(values, np.float32))
