"""Read string tensors: object arrays of str, bytes, and elements that represent bytes.

``{"b64": "..."}`` represents bytes as in REST, and a protobuf message, such as a tf.Example, its serialized form.

The encoders for protobuf and JSON both use this module, so they refuse the same elements with the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._codec.encode_errors import at, refused
from tfs_client._codec.protobuf_messages import is_message, message_bytes
from tfs_client.errors import EncodeError

MOST = 0x7FFFFFFF  # bytes of repeated strings; a message cannot hold more
WANTED = "str or bytes in an object array"


def checked(array: Array) -> Array:
    """Return an object array whose elements are str and bytes: the same, or a copy with converted elements.

    Raises EncodeError, which names the first element that is neither, or that UTF-8 cannot encode.
    """
    values = _values(array)
    if _all_plain(values):
        return array
    found = _elements(values, array.shape)
    if all(isinstance(value, (str, bytes)) for value in values):
        return array
    whole = np.empty(len(values), object)
    whole[:] = found
    shaped: Array = whole.reshape(array.shape)
    return shaped


def flat(array: Array) -> list[str | bytes]:
    """Return the elements in C order. Raises EncodeError as ``checked``."""
    values = _values(array)
    return values if _all_plain(values) else _elements(values, array.shape)


def flat_bytes(array: Array) -> list[bytes]:
    """Return the elements in C order, str as UTF-8. Raises EncodeError as ``checked``."""
    values = _values(array)
    kinds = set(map(type, values))
    if kinds <= {bytes}:
        return values
    try:
        if kinds <= {str, bytes}:
            return [value.encode() if type(value) is str else value for value in values]
    except UnicodeEncodeError:
        pass  # reported below, with the element's index
    return [value.encode() if isinstance(value, str) else value for value in _elements(values, array.shape)]


def _values(array: Array) -> list[Any]:
    if 0 in array.strides and (size := expansion.written(array)) > MOST:
        raise EncodeError(f"expected strings of at most {MOST} bytes in all, got {size}")
    values: list[Any] = array.reshape(-1).tolist()
    return values


def represented_bytes(value: Any) -> bytes | None:
    """Return the bytes of a base64 object or a message; None for other values. Raises EncodeError."""
    if is_base64(value):
        return from_base64(value)
    return message_bytes(value) if is_message(type(value)) else None


def is_base64(value: object) -> bool:
    """Return whether a value is ``{"b64": ...}``, which represents bytes."""
    return isinstance(value, Mapping) and len(value) == 1 and "b64" in value


def from_base64(value: Mapping[str, Any], index: tuple[int, ...] = ()) -> bytes:
    """Decode ``{"b64": "..."}``, in the standard alphabet, with or without padding. Raises EncodeError."""
    from base64 import b64decode  # imported here, because few programs need it

    text = value["b64"]
    try:
        raw = text.encode("ascii") if isinstance(text, str) else bytes(memoryview(text))
        return b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (ValueError, TypeError) as error:
        raise EncodeError(f"expected base64 in {{'b64': ...}}{at(index)}, got invalid data: {error}") from error


def _all_plain(values: list[Any]) -> bool:
    """Return whether all are bytes, or str that UTF-8 can encode."""
    kinds = set(map(type, values))
    if not kinds <= {str, bytes}:
        return False
    if str not in kinds:
        return True
    texts = values if len(kinds) == 1 else [value for value in values if type(value) is str]
    if all(map(str.isascii, texts)):
        return True
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _elements(values: list[Any], shape: tuple[int, ...]) -> list[str | bytes]:
    found: list[str | bytes] = []
    for number, value in enumerate(values):
        if isinstance(value, bytes):
            found.append(value)
            continue
        index = tuple(map(int, np.unravel_index(number, shape)))
        if isinstance(value, str):
            found.append(_text(value, index))
        elif is_base64(value):
            found.append(from_base64(value, index))
        elif is_message(type(value)):
            found.append(message_bytes(value))
        else:
            raise refused(value, index, wanted=WANTED)
    return found


def _text(value: str, index: tuple[int, ...]) -> str:
    text = str.__str__(value)  # the text itself, even if a subclass overrides __str__
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(
            f"expected text that UTF-8 can encode, got {text!r}{at(index)}: {error.reason}; "
            "text.encode('utf-8', 'surrogateescape') returns the original bytes"
        ) from None
    return text
