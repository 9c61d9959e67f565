"""Label maps of TensorFlow's Object Detection API: StringIntLabelMap as protobuf text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfs_client._codec.text_tokens import Kind, TextFormatError, Tokens
from tfs_client.errors import ConfigError
from tfs_client.images.label_files.names import Names, is_number, numbered

_START = re.compile(r"(?:\s|#[^\n]*\n)*item\s*:?\s*\{")
_HEAD = 1 << 16  # characters with comments; the regular expression engine keeps a state for each
_LONGEST = 1 << 22  # characters; each token takes microseconds
_OPENING, _CLOSING = ("{", "[", "<"), ("}", "]", ">")
_FIELDS = ("id", "name", "display_name")


def is_label_map(text: str) -> bool:
    """Return whether a text begins with an item of a label map."""
    return _START.match(text[:_HEAD]) is not None


def read(text: str) -> Names:
    """Return the names by id: display_name, or name in items without one. Raises ConfigError."""
    if len(text) > _LONGEST:
        raise ConfigError(f"expected a label map of at most {_LONGEST} characters, got {len(text)}")
    try:
        return numbered(_items(Tokens(text.encode(errors="surrogatepass"))))
    except TextFormatError as error:
        raise ConfigError(
            f"expected a label map, such as item {{ id: 1 name: 'cat' }}: line {error.line}: {error.reason}"
        ) from None


def _items(tokens: Tokens) -> Iterator[tuple[int, str]]:
    while tokens.kind is not Kind.END:
        if tokens.text != "item":
            raise tokens.error(f"Expected item, got: {tokens.text}")
        start = tokens.start
        _open(tokens)
        found: dict[str, int | str] = {}
        while tokens.text != "}":
            name, at = tokens.text, tokens.start
            if tokens.kind is not Kind.IDENTIFIER:
                raise tokens.error("Expected a field, or } at the end of the item")
            if name in found:
                raise tokens.error(f"Expected {name} once in an item", at)
            tokens.next()
            if name in _FIELDS:
                if tokens.text != ":":
                    raise tokens.error(f"Expected : after {name}")
                tokens.next()
                found[name] = _number(tokens) if name == "id" else _text(tokens)
            else:
                _skip(tokens)
            if tokens.text in (",", ";"):
                tokens.next()
        tokens.next()
        number, label = found.get("id"), found.get("display_name") or found.get("name")
        if not isinstance(number, int) or not isinstance(label, str):
            raise tokens.error("Expected an item with id, and name or display_name", start)
        yield number, label


def _open(tokens: Tokens) -> None:
    """Advance beyond the name of a message and its bracket."""
    tokens.next()
    if tokens.text == ":":
        tokens.next()
    if tokens.text != "{":
        raise tokens.error("Expected { after item")
    tokens.next()


def _number(tokens: Tokens) -> int:
    text = tokens.text
    if not is_number(text) or (text[0] == "0" and text != "0"):  # protobuf reads 010 as 8
        raise tokens.error(f"Expected the number of a class, got: {text[:80]}")
    tokens.next()
    return int(text)


def _text(tokens: Tokens) -> str:
    from tfs_client._codec.text_values import string_bytes  # imports protobuf, which nothing else here needs

    return string_bytes(tokens).decode(errors="surrogateescape")  # check() refuses these


def _skip(tokens: Tokens) -> None:
    """Advance beyond the value of another field, such as keypoints."""
    depth = 0
    while tokens.kind is not Kind.END:
        if tokens.text in _CLOSING and not depth:
            return
        depth += (tokens.text in _OPENING) - (tokens.text in _CLOSING)
        begins = tokens.text in (":", "-")
        was_text = tokens.kind is Kind.STRING
        tokens.next()
        if not depth and not begins and not (was_text and tokens.kind is Kind.STRING):  # adjacent strings are one
            return
