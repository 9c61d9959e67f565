"""Expressions laid out as black and ruff lay them out, at any line length from 88 characters on."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 88
INDENT = "    "


@dataclass(frozen=True)
class Group:
    """Brackets with items: a call, a tuple or a mapping.

    Attributes:
        head: what precedes the items, with the opening bracket.
        items: texts without line breaks, or groups.
        tail: the closing bracket.
        one_comma: whether a single item is followed by a comma, as in a tuple.
    """

    head: str
    items: Sequence[str | Group]
    tail: str
    one_comma: bool = False

    def inline(self) -> str:
        """Return the group in one line."""
        items = ", ".join(item if isinstance(item, str) else item.inline() for item in self.items)
        return f"{self.head}{items}{',' if self.one_comma and len(self.items) == 1 else ''}{self.tail}"

    def lines(self, indent: str, after: str = "") -> list[str]:
        """Return the group in one line if it fits, else with a line for each item, each followed by a comma.

        The comma keeps formatters from joining the lines where more would fit.
        """
        whole = f"{indent}{self.inline()}{after}"
        if _width(whole) <= WIDTH or not self.items:
            return [whole]
        return self.exploded(indent, after)

    def exploded(self, indent: str, after: str = "") -> list[str]:
        """Return the group with a line for each item."""
        lines = [f"{indent}{self.head}"]
        for item in self.items:
            inner = indent + INDENT
            lines += [f"{inner}{item},"] if isinstance(item, str) else item.lines(inner, ",")
        return [*lines, f"{indent}{self.tail}{after}"]


def _width(text: str) -> int:
    """Return the columns that a line takes, as formatters count them."""
    return len(text) + (0 if text.isascii() else sum(unicodedata.east_asian_width(one) in "WF" for one in text))
