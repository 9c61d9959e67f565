"""Fast reading of JSON text by the model server's rules.

The rules are those of util/json_tensor.cc (ParseJson) with RapidJSON: strict JSON, plus NaN and infinities; whatever
follows the root value is ignored; text need not be UTF-8. ``json_types`` describes the values.

There are three readers: orjson if it is installed, the json module for most of what orjson refuses, and ``json_exact``,
which alone knows every rule and every error text. The result must not depend on which one reads a text, so the first
two pass on whatever they might read differently. They hold the interpreter lock while they read, so they read only
short texts in one go. ``json_exact`` reads long texts, and gives them its lists piece by piece.
"""

from __future__ import annotations

import json
import re
from itertools import chain

from tfs_client.server.rest.json_exact import Malformed, read_exactly
from tfs_client.server.rest.json_types import JsonValue, object_of

try:
    import orjson
except ImportError:  # it comes with the extra "fast"
    orjson = None  # type: ignore[assignment]

__all__ = ["Malformed", "read"]

BOM = b"\xef\xbb\xbf"

_MEMBER = re.compile(rb'"[ \t\r\n]*:')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BLANK = re.compile(r"[ \t\r\n]*")

MAX_WHOLE = 4 << 20  # bytes of a text that is read in one go
MAX_RETRIED = 1 << 20  # bytes of a text that the json module reads in one go after orjson has refused it

# Large numbers may exceed 64 bits, or doubles: 19 digits, or an exponent of three. The search translates the text: 0
# stands for any digit, e for e and E, + for itself, and a space for everything else.
_DIGITS = bytes(
    ord("0" if chr(byte) in "0123456789" else "e" if chr(byte) in "eE" else "+" if chr(byte) == "+" else " ")
    for byte in range(256)
)
_LARGE = (b"0" * 19, b"e000", b"e+000")


def read(data: bytes) -> JsonValue:
    """Read the root value. Raises Malformed with the reason and the offset, CallError when the call has ended."""
    if len(data) > MAX_WHOLE:
        return read_exactly(data, _read_list)
    text = data[len(BOM) :] if data.startswith(BOM) else data
    try:
        return _read_quickly(text)[0]
    except (ValueError, RecursionError):
        return read_exactly(data, _read_list)


def _read_list(text: bytes) -> list[JsonValue] | None:
    """Read a text that is a list and nothing else; None if it is not, or if only the exact reader can decide."""
    try:
        value, whole = _read_quickly(text)
    except (ValueError, RecursionError):
        return None
    return value if whole and isinstance(value, list) else None


def _read_quickly(text: bytes) -> tuple[JsonValue, bool]:
    """Read the root value. Returns it, and whether nothing follows it.

    Raises ValueError or RecursionError for a text that the exact reader must read.
    """
    try:
        if orjson is not None:
            value: JsonValue = orjson.loads(text)
            # orjson keeps the last of several members with one name. All names differ if the objects have as many
            # members as the text has names before colons.
            if _count_members(value) == len(_MEMBER.findall(text)):
                return value, True
    except ValueError:
        pass
    if orjson is not None and len(text) > MAX_RETRIED:
        raise ValueError("the exact reader lets other calls run in between")
    if _SURROGATE.search(text):
        raise ValueError("only the exact reader pairs surrogates as the model server does")
    value, whole = _read_with_json(text)
    if not isinstance(value, (dict, list)):  # the json module reads "1." as 1, followed by something else
        raise ValueError("only the exact reader knows where numbers end")
    return value, whole


def _read_with_json(data: bytes) -> tuple[JsonValue, bool]:
    text = data.decode("utf-8", "surrogateescape")
    decoder = _CAREFUL if has_large_numbers(data) else _PLAIN
    start = _BLANK.match(text).end()  # type: ignore[union-attr]
    value, end = decoder.raw_decode(text, start)
    return value, end == len(text)


def has_large_numbers(text: bytes) -> bool:
    """Return whether a text may have a number beyond 64 bits, or beyond doubles."""
    digits = text.translate(_DIGITS)
    return any(large in digits for large in _LARGE)


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


_PLAIN = json.JSONDecoder(object_pairs_hook=object_of)
_CAREFUL = json.JSONDecoder(object_pairs_hook=object_of, parse_int=_integer, parse_float=_double)


def _count_members(value: JsonValue) -> int:
    """Count the members of all objects in a tree, level by level.

    Only the types of numbers are looked at, all at once: most texts are long lists of them.
    """
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
