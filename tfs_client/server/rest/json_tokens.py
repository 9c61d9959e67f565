"""Elements of tensors as JSON tokens, formatted as the model server does.

Source: util/json_tensor.cc (WriteDecimal): six significant digits if they read back as the same value, else as many as
the type needs, 9 or 17; then ``.0`` unless the text already has a point or an exponent.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable

import numpy as np

from tfs_client._codec import wire
from tfs_client._codec.dtypes import Array, row_of
from tfs_client.errors import InvalidArgumentError
from tfs_client.server.rest.json_debug import quoted

FEW = 64  # up to this many values it is quicker to try six digits for all than to select candidates
DIGITS = {"float": 9, "double": 17}  # significant digits that identify every value of the type


def tokens(array: Array) -> list[str]:
    """Return every element as JSON text, in order. Raises InvalidArgumentError for unsupported dtypes."""
    row = row_of(array.dtype)
    write = _WRITERS.get(row.name)
    if write is None:
        raise InvalidArgumentError(f"Failed to write JSON value for tensor type: {row.name}")
    return write(array.reshape(-1))


def decimals(array: Array) -> list[str]:
    """Format a vector of floats or doubles.

    All values are formatted with all digits, in bulk. Only the candidates for a shorter form, few among computed
    values, are formatted once more with six digits, and each is compared with its value.
    """
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
    """Select the values that are whole, or that six digits may represent.

    It is cheap, and may select too many values but never misses one. The float nearest to a number of six digits is
    within a relative 2**-24 of it, which is 0.06 when all six digits are before the point. Very small and very large
    values may be less exact, and are selected.
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
    """Format all values with one format string, which is several times as fast as one for each."""
    return (f"%.{digits}g " * len(array) % tuple(array.tolist())).split()


def _integers(array: Array) -> list[str]:
    return list(map(str, array.tolist()))


def _booleans(array: Array) -> list[str]:
    return ["true" if value else "false" for value in array.tolist()]


def _strings(array: Array) -> list[str]:
    return [quoted(raw(value).decode("utf-8", "surrogateescape")) for value in array.tolist()]


def encoded(array: Array) -> list[str]:
    """Return the elements of a string tensor in base64."""
    return [base64.b64encode(raw(value)).decode() for value in array.reshape(-1).tolist()]


def raw(value: object) -> bytes:
    """Return the bytes of a string, which a function may return as text. Raises EncodeError if UTF-8 has none."""
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
    """Format the values of a message's float field."""
    return decimals(np.fromiter(values, np.float32))
