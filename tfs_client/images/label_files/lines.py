"""Text with one name per line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tfs_client.errors import ConfigError
from tfs_client.images.label_files.names import MAX_NAMES, Names, too_many

# A number, a separator and a name. After ":" and "," a digit would rather be part of a ratio, a time or a fraction.
_NUMBERED = re.compile(r"([0-9]{1,9})(?:([:,])[ \t]*(?![0-9])|([.)])[ \t]+|[ ]*(\t)[ \t]*|[ ]+)(\S.*)", re.DOTALL)


def split(text: str) -> list[str]:
    r"""Return the lines without empty ones at the end. Lines end in \n, \r\n or \r; ``str.splitlines`` knows more."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
    if text.count("\n") >= 2 * MAX_NAMES:  # a quoted name in a table may have several lines
        raise too_many()
    return text.split("\n")


def read(lines: Sequence[str]) -> tuple[Names, bool]:
    """Return the names, and whether the lines are numbered: all of them, from 0 or 1, without gaps.

    Raises ConfigError for empty lines, and for other numbers: with a tab, comma, colon or the like they are not names.
    """
    found = [line.strip() for line in lines]
    if "" in found:
        raise ConfigError(f"line {found.index('') + 1} is empty: expected one name per line")
    names = dict(enumerate(found))
    matches = [match for line in found if (match := _NUMBERED.fullmatch(line))]
    separators = {match[2] or match[3] or match[4] or " " for match in matches}
    # "1 euro", "2 euro": these numbers are part of the names.
    distinct = len({match[5] for match in matches}) == len(found)
    if len(found) == 1 or not distinct or len(separators) != 1:
        return names, False
    numbers = [int(match[1]) for match in matches]
    first = min(numbers)
    if first in (0, 1) and sorted(numbers) == list(range(first, first + len(numbers))):
        return dict(zip(numbers, (match[5] for match in matches), strict=True)), True
    if separators == {" "}:  # "911 Carrera", "718 Boxster"
        return names, False
    raise ConfigError(
        f"expected lines that are numbered from 0 or 1 without gaps, or not at all, got {len(numbers)} lines with "
        f"numbers from {first} to {max(numbers)}: write them as CSV with the header id,name, or as JSON"
    )
