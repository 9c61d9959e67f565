"""JSON text to Python values, by the model server's rules and fast.

The rules are those of util/json_tensor.cc (ParseJson) with RapidJSON: strict JSON, plus NaN and infinities; whatever
follows the root value is ignored; text need not be UTF-8. Integers and doubles stay apart: an ``int`` is a number
without point or exponent within [-2**63, 2**64 - 1], every other number is a ``float``.

Strings are ``str`` whose bytes are had with ``bytes_of``: bytes that are no UTF-8 are surrogates, as in file names.
An object that names a member twice is a ``Repeated``.

Three readers do it: orjson if there is one, the json module for most of what orjson refuses, and ``json_exact``, which
alone knows every rule and every error text. The first two hold the interpreter lock while they read, so they read only
short texts as a whole. ``json_exact`` reads long ones, and leaves lists to them piece by piece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any

from tfs_client.server.rest.json_exact import Malformed, Repeated, read_exactly

try:
    import orjson
except ImportError:  # the extra "fast"
    orjson = None  # type: ignore[assignment]

__all__ = ["Malformed", "Repeated", "bytes_of", "members", "read"]

BOM = b"\xef\xbb\xbf"

_MEMBER = re.compile(rb'"[ \t\r\n]*:')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BLANK = re.compile(r"[ \t\r\n]*")

WHOLE = 4 << 20  # bytes of a text that is read at once
AGAIN = 1 << 20  # bytes of a text that the json module reads at once after orjson refused it

# Large numbers may leave the range of 64 bits, or of doubles: 19 digits, or an exponent of three. They are looked for
# in a text where 0 stands for any digit, e for both exponents' letters, + for itself, and a space for the rest.
_DIGITS = bytes(
    ord("0" if chr(byte) in "0123456789" else "e" if chr(byte) in "eE" else "+" if chr(byte) == "+" else " ")
    for byte in range(256)
)
_LARGE = (b"0" * 19, b"e000", b"e+000")


def read(data: bytes) -> Any:
    """The root value. Raises Malformed with the reason and the offset, and CallError once nobody waits any more."""
    if len(data) > WHOLE:
        return read_exactly(data, _read_list)
    text = data[len(BOM) :] if data.startswith(BOM) else data
    try:
        return _read_quickly(text)[0]
    except (ValueError, RecursionError):
        return read_exactly(data, _read_list)


def _read_list(text: bytes) -> list[Any] | None:
    """The list that this text is, the whole of it; None if it is not, or only the exact reader can tell."""
    try:
        value, whole = _read_quickly(text)
    except (ValueError, RecursionError):
        return None
    return value if whole and type(value) is list else None


def _read_quickly(text: bytes) -> tuple[Any, bool]:
    """The root value, and whether nothing follows it. Raises ValueError or RecursionError for the exact reader."""
    try:
        if orjson is not None:
            value = orjson.loads(text)
            # Of members that repeat orjson keeps the last. There are none if the keys are as many as the colons.
            if _count_members(value) == len(_MEMBER.findall(text)):
                return value, True
    except ValueError:
        pass
    if orjson is not None and len(text) > AGAIN:
        raise ValueError("the exact reader goes on with other calls in between")
    if _SURROGATE.search(text):
        raise ValueError("only the exact reader pairs surrogates as the model server does")
    value, whole = _read_with_json(text)
    if not isinstance(value, (dict, list)):  # "1." is 1 and something behind it to the json module
        raise ValueError("only the exact reader knows where numbers end")
    return value, whole


def members(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """The members of an object in their order, also those that repeat a name."""
    return value.pairs if isinstance(value, Repeated) else value.items()


def bytes_of(text: str) -> bytes:
    """The bytes that a string stands for."""
    return text.encode("utf-8", "surrogateescape")


def _read_with_json(data: bytes) -> tuple[Any, bool]:
    text = data.decode("utf-8", "surrogateescape")
    decoder = _CAREFUL if has_large_numbers(data) else _PLAIN
    start = _BLANK.match(text).end()  # type: ignore[union-attr]
    value, end = decoder.raw_decode(text, start)
    return value, end == len(text)


def has_large_numbers(text: bytes) -> bool:
    """Whether something in a text may be a number beyond 64 bits, or beyond doubles."""
    digits = text.translate(_DIGITS)
    return any(large in digits for large in _LARGE)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else Repeated(pairs)


def _integer(text: str) -> int | float:
    if len(text) > 20:
        return _double(text)
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 64 else float(text)


def _double(text: str) -> float:
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError("only the exact reader knows whether this number is too big")
    return value


_PLAIN = json.JSONDecoder(object_pairs_hook=_object)
_CAREFUL = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_double)


def _count_members(value: Any) -> int:
    """How many members all objects of a tree have. Looks at numbers only as types, in bulk."""
    count, values = 0, [value]
    while values:
        objects = [item for item in values if type(item) is dict]
        count += sum(map(len, objects))
        inner = chain(
            chain.from_iterable(map(dict.values, objects)),
            chain.from_iterable(item for item in values if type(item) is list),
        )
        values = list(inner)
        kinds = set(map(type, values))
        if not kinds & {dict, list}:
            break
        if kinds - {dict, list}:
            values = [item for item in values if type(item) in (dict, list)]
    return count
