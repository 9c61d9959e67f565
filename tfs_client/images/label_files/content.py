"""The content of a file of class names: its encoding, and its format.

A file that can be read in two ways is refused: in one of them, the names would belong to the wrong classes.
"""

from __future__ import annotations

import codecs
import re

from tfs_client.errors import ConfigError
from tfs_client.images.label_files import json_names, lines, names, table
from tfs_client.images.label_files.names import Names

_EXPECTED = "expected class names as text with one per line, CSV, JSON or a label map (.pbtxt)"
_TABLES = (".csv", ".tsv")
_OTHERS = (".htm", ".html", ".xml", ".yaml", ".yml")  # as text, they would have names such as "names:"
_MARKUP = re.compile(r"<(?:!doctype|html|\?xml)", re.IGNORECASE)
_C1 = re.compile("[\x80-\x9f]")


def parse(data: bytes, suffix: str) -> tuple[Names, bool]:
    """Return names by number, and whether the numbers are from the file; those of a list start at 0.

    Args:
        data: the content.
        suffix: the end of the file's path, such as ".csv". It decides where the content does not.

    Raises ConfigError with a text that continues after the file's name.
    """
    text = _decoded(data)
    found, are_numbered = _parsed(text, text.lstrip()[:1], suffix.lower())
    names.check(found)
    return found, are_numbered


def _parsed(text: str, first: str, suffix: str) -> tuple[Names, bool]:
    if not first:
        raise ConfigError(f"{_EXPECTED}, got an empty file")
    if suffix in _OTHERS or _MARKUP.match(text.lstrip()):
        raise ConfigError(f"{_EXPECTED}, got {'HTML or XML' if first == '<' else suffix}")
    if suffix in _TABLES:
        if first in "[{":
            raise ConfigError(f"expected a table, as the suffix is {suffix}, got JSON")
        return table.read(lines.split(text))
    if suffix == ".json" or first in "[{":
        return json_names.read(text)
    if first in "i#" or suffix == ".pbtxt":
        from tfs_client.images.label_files import label_map

        if suffix == ".pbtxt" or label_map.is_label_map(text):
            return label_map.read(text), True
    found = lines.split(text)
    return table.read(found) if table.is_header(found[0]) else lines.read(found)


def _decoded(data: bytes) -> str:
    """Return the text, from UTF-16 with its mark, from UTF-8, or else from Latin-1."""
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        if marked:
            raise ConfigError(f"expected UTF-16, as the file begins with its mark: {error.reason}") from None
        text = data.decode("latin-1")
        if control := _C1.search(text):
            line = data.count(b"\n", 0, control.start()) + 1
            raise ConfigError(
                f"expected text in UTF-8, UTF-16 or Latin-1, got the byte 0x{ord(control[0]):02x} in line {line} and "
                f"invalid UTF-8 ({error.reason}): save the file as UTF-8"
            ) from None
    if "\0" in text:
        raise ConfigError("expected text, got zero bytes")
    return text
