"""JSON values in Python: what the readers of this package make of JSON text.

Integers and doubles stay apart: an ``int`` is a number without point or exponent within [-2**63, 2**64 - 1], every
other number is a ``float``. Text need not be UTF-8: invalid bytes of a string are surrogates, as in file names, and
``bytes_of`` restores them. An object with duplicate names is a ``DuplicateNames``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


class DuplicateNames(dict[str, JsonValue]):
    """An object that has several members of one name. The dict holds the first of each name, ``pairs`` all members."""

    def __init__(self, pairs: list[tuple[str, JsonValue]]) -> None:
        super().__init__(reversed(pairs))
        self.pairs = pairs


def object_of(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """Return the object with these members: a dict, or a ``DuplicateNames``."""
    value = dict(pairs)
    return value if len(value) == len(pairs) else DuplicateNames(pairs)


def members(value: dict[str, JsonValue]) -> Iterable[tuple[str, JsonValue]]:
    """Return all members of an object in their order, those with duplicate names included."""
    return value.pairs if isinstance(value, DuplicateNames) else value.items()


def bytes_of(text: str) -> bytes:
    """Return the bytes that a string stands for."""
    return text.encode("utf-8", "surrogateescape")
