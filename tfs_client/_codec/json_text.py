"""Read and write JSON as TensorFlow Serving does: with NaN and infinities, and with exact 64-bit integers.

orjson is used if it is installed; the standard library does what orjson does not support (non-finite numbers, strings
that are not UTF-8) and everything else, with the same results.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import DecodeError, reads

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment, unused-ignore]


QUOTED = 60  # characters of a text that an error quotes


def dumps(value: object) -> bytes:
    """Write Python values as JSON; floats keep their decimal point, so that they are read as floats."""
    return json.dumps(value, separators=(",", ":")).encode()


def numbers(array: Array) -> bytes:
    """Write numbers or bools of any shape as nested lists.

    float32 values are written so that reading them as double and rounding gives the same value again.
    """
    if orjson is not None and (array.dtype.kind != "f" or bool(np.isfinite(array).all())):
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return orjson.dumps(native if array.ndim else native.reshape(1)[0], option=orjson.OPT_SERIALIZE_NUMPY)
    return dumps(array.tolist())


@reads("the JSON")
def loads(data: bytes, *, exact: bool = False) -> Any:
    """Read JSON as Python values. Bytes in strings that are not UTF-8 become surrogate escapes.

    Args:
        exact: read integers beyond 64 bits exactly; orjson would turn them into floats, so it is not used.

    Raises DecodeError, also for a number too large for a float, which must not become infinity, and for an escape of
    half a surrogate pair.
    """
    if orjson is not None and not exact:
        try:
            return orjson.loads(data)
        except ValueError:  # perhaps a NaN; the standard library reads it, or reports the error
            pass
    try:
        if not _BEGINNING.match(data):
            json.loads(data[:QUOTED].decode("utf-8", "surrogateescape"))  # fails, without a look at all the data
        text = data.decode("utf-8", "surrogateescape")
        if _has_half(text):
            raise ValueError("unpaired surrogate in an escape sequence")
        return json.loads(text, parse_float=_finite if _may_be_huge(data) else None)
    except RecursionError:
        raise DecodeError(f"expected JSON, got lists nested too deeply for a tensor: {excerpt(data)}") from None
    except ValueError as error:
        raise DecodeError(f"expected JSON, got {excerpt(data)}: {error}") from None


RUN = 150  # digits; a number with twice as many may be too large for a float

_EXPONENT = re.compile(rb"[eE]\+?[0-9]{3}")
_DIGITS = re.compile(rb"[0-9]{%d}" % RUN)
_BEGINNING = re.compile(rb"[ \t\n\r]*[\[{\"tfnNI0-9-]")  # of JSON, as the standard library reads it
_LOW = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_PAIRS = rf"[89abAB][0-9a-fA-F]{{2}}{_LOW}(?:\\u[dD][89abAB][0-9a-fA-F]{{2}}{_LOW})*"
_SURROGATES = re.compile(rf"\\u[dD](?:(?P<pairs>{_PAIRS})|[89a-fA-F])")  # what may be escapes of them


def _has_half(text: str) -> bool:
    """Return whether the text has an escape of half a surrogate pair. A fast search: garbage may be long."""
    for found in _SURROGATES.finditer(text):
        backslashes = at = found.start()
        while backslashes and text[backslashes - 1] == "\\":
            backslashes -= 1
        is_escape = (at - backslashes) % 2 == 0  # else the backslash is an escaped one, and only a second half follows
        if is_escape != bool(found["pairs"]):
            return True
    return False


def _may_be_huge(data: bytes) -> bool:
    """Return whether a number may be too large for a float. A fast check, because a hook for each number is slow."""
    # A run of 2 * RUN digits contains RUN digits from a multiple of RUN on, where this looks.
    return bool(_EXPONENT.search(data)) or any(_DIGITS.match(data, at) for at in range(0, len(data), RUN))


def _finite(text: str) -> float:
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError(f"the number {shown(text)} is too large for a float")
    return value


def utf8(text: str) -> bytes:
    """Return the bytes of a string as they were in the JSON."""
    return text.encode("utf-8", "surrogateescape")


def excerpt(data: bytes) -> str:
    """Return the beginning of a body, for error texts."""
    if not data:
        return "nothing"
    text = repr(data[:QUOTED].decode(errors="replace"))
    return text if len(data) <= QUOTED else f"{text}... ({len(data)} bytes)"
