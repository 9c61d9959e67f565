"""The texts of AssertionErrors: numbered lists, in a message of bounded length."""

from __future__ import annotations

from collections.abc import Sequence

from tfs_client._printable import bounded

LONGEST = 8000  # bytes of a message


def failure(text: str) -> AssertionError:
    """Return the error with a text, of which both ends stay if it is too long."""
    return AssertionError(bounded(text, LONGEST))


def numbered(texts: Sequence[str], most: int) -> str:
    """Return the first ``most`` texts as a numbered list, and how many more there are. Texts may have several lines."""
    lines = []
    for number, text in enumerate(texts[:most], 1):
        first, *rest = text.splitlines() or [""]
        lines += [f"  {number}. {first}", *(f"     {line}" for line in rest)]
    if len(texts) > most:
        lines.append(f"  and {len(texts) - most} more")
    return "\n".join(lines)
