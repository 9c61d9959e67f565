"""Names by number, as all formats of files give them, and their limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfs_client._printable import shown
from tfs_client.errors import ConfigError

MAX_NAMES = 1 << 18
MAX_NUMBER = 10**9 - 1
MAX_PARTS = 8 * MAX_NAMES  # lists, objects, members and cells, which take memory before the names can be counted

Names = dict[int, str]


def is_number(text: str) -> bool:
    """Return whether a text is a whole number from 0 to ``MAX_NUMBER``."""
    return len(text) <= 9 and text.isascii() and text.isdigit()


def numbered(pairs: Iterable[tuple[object, object]], lines: Sequence[int] = ()) -> Names:
    """Return names by number. Raises ConfigError for pairs that are not a number and a name, and for repeated numbers.

    Args:
        pairs: numbers, as int or text, and names.
        lines: the line of each pair, for error texts.
    """
    names: Names = {}
    for row, (number, name) in enumerate(pairs):
        where = f"line {lines[row]}: " if lines else ""
        if isinstance(number, str) and is_number(number.strip()):
            number = int(number)
        if type(number) is not int or not 0 <= number <= MAX_NUMBER:
            raise ConfigError(f"{where}expected the number of a class, from 0 to {MAX_NUMBER}, got {shown(number)}")
        if not isinstance(name, str):
            raise ConfigError(f"{where}expected the name of class {number}, got {shown(name)}")
        if number in names:
            raise ConfigError(
                f"{where}expected each number once, got {number} for {shown(names[number])} and {shown(name)}"
            )
        names[number] = name.strip()
        if len(names) > MAX_NAMES:
            raise too_many()
    return names


def check(names: Names) -> None:
    """Raise ConfigError for names that are empty or not Unicode, and for none or too many."""
    if not names:
        raise ConfigError("expected class names, got none")
    if len(names) > MAX_NAMES:
        raise too_many()
    for number, name in names.items():
        if not name:
            raise ConfigError(f"expected a name for number {number}, got an empty one")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"expected Unicode text, got half of a surrogate pair in {shown(name)}") from None


def too_many() -> ConfigError:
    """Return the error for files with too many names."""
    return ConfigError(f"expected at most {MAX_NAMES} names, got more")
