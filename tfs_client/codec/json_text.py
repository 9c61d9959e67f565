"""JSON as TensorFlow Serving reads and writes it: with NaN and infinities, and 64-bit integers that are exact.

orjson does it where it is installed; what it does not know (non-finite numbers, strings that are no UTF-8) and all else
is done by the standard library, with the same results.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from tfs_client.errors import DecodeError, reads
from tfs_client.shown import shown

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment, unused-ignore]

Array = np.ndarray[Any, Any]

SHOWN = 60  # characters of a text that an error quotes


def dumps(value: Any) -> bytes:
    """Python values as JSON; floats keep their point, so that they are read as floats."""
    return json.dumps(value, separators=(",", ":")).encode()


def numbers(array: Array) -> bytes:
    """Numbers or bools of any shape as nested lists.

    float32 values are written so that reading them as double and rounding gives the same value again.
    """
    if orjson is not None and (array.dtype.kind != "f" or bool(np.isfinite(array).all())):
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return orjson.dumps(native if array.ndim else native.reshape(1)[0], option=orjson.OPT_SERIALIZE_NUMPY)
    return dumps(array.tolist())


@reads("the JSON")
def loads(data: bytes, *, exact: bool = False) -> Any:
    """JSON as Python values. Bytes in strings that are no UTF-8 become surrogate escapes.

    Args:
        exact: read integers beyond 64 bits as they are; orjson makes floats of them, and is not asked.

    Raises DecodeError, also for a number too large for a float, which must not become infinity, and for an escape that
    stands for half a character.
    """
    if orjson is not None and not exact:
        try:
            return orjson.loads(data)
        except ValueError:  # perhaps for a NaN; the standard library reads it, or says what is wrong
            pass
    try:
        text = data.decode("utf-8", "surrogateescape")
        if "\\u" in text and _HALF.search(text):
            raise ValueError("an escape stands for half a surrogate pair")
        return json.loads(text, parse_float=_finite if _may_be_huge(data) else None)
    except RecursionError:
        raise DecodeError(f"expected JSON, got lists nested deeper than any tensor: {excerpt(data)}") from None
    except ValueError as error:
        raise DecodeError(f"expected JSON, got {excerpt(data)}: {error}") from None


RUN = 150  # digits; a number of twice as many may be too large for a float

_EXPONENT = re.compile(rb"[eE]\+?[0-9]{3}")
_DIGITS = re.compile(rb"[0-9]{%d}" % RUN)
_HALF = re.compile(  # an escaped surrogate without its other half; an even number of backslashes before it is text
    r"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F])"
)


def _may_be_huge(data: bytes) -> bool:
    """Whether a number may be too large for a float, by a fast check: the hook for each number is slow."""
    # Twice as many digits as RUN cover one of the stretches that are looked at here.
    return bool(_EXPONENT.search(data)) or any(_DIGITS.match(data, at) for at in range(0, len(data), RUN))


def _finite(text: str) -> float:
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError(f"the number {shown(text)} is too large for a float")
    return value


def utf8(text: str) -> bytes:
    """A string's bytes as they stood in the JSON."""
    return text.encode("utf-8", "surrogateescape")


def excerpt(data: bytes) -> str:
    """The beginning of a body, for error texts."""
    if not data:
        return "nothing"
    text = repr(data[:SHOWN].decode(errors="replace"))
    return text if len(data) <= SHOWN else f"{text}... ({len(data)} bytes)"
