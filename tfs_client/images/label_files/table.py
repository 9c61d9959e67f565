"""CSV: a column of names, and perhaps one of class numbers, separated by commas, semicolons or tabs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfs_client._printable import bounded, listed, shown
from tfs_client.errors import ConfigError
from tfs_client.images.label_files.names import MAX_NAMES, MAX_PARTS, Names, is_number, numbered, too_many

DELIMITERS = ",;\t"

# The headers of columns, in lower case. What is below distinguishes those of both kinds.
_OF_NUMBERS = {"id", "index", "idx", "number", "class_id", "class_index", "class_number", "label_id", "category_id"}
_OF_NAMES = {"name", "class_name", "label_name", "display_name", "category_name"}
_OF_EITHER = {"label", "class", "category"}
_KNOWN = _OF_NUMBERS | _OF_NAMES | _OF_EITHER

_LONGEST_HEADER = 1000  # characters

_Rows = list[list[str]]


def is_header(line: str) -> bool:
    """Return whether a line consists of headers, such as "id,name"."""
    if len(line) > _LONGEST_HEADER:
        return False
    found = ([_header(cell) for cell in line.split(delimiter)] for delimiter in DELIMITERS)
    return any(len(headers) > 1 and all(header in _KNOWN for header in headers) for headers in found)


def read(lines: Sequence[str]) -> tuple[Names, bool]:
    """Return the names, and whether the table has their numbers. Without these, the rows are in order.

    Raises ConfigError if the columns could be read in two ways.
    """
    rows, places = _rows(lines)
    headers = [""] * len(rows[0])
    if _has_header(rows):
        headers = [_header(cell) for cell in rows[0]]
        rows, places = rows[1:], places[1:]
        if not rows:
            raise ConfigError("expected rows below the header, got none")
    are_numbers = [_are_numbers(row[column] for row in rows) for column in range(len(headers))]
    number, name = _columns(headers, are_numbers)
    if number is None:
        return dict(enumerate(row[name].strip() for row in rows)), False
    names = numbered(((row[number], row[name]) for row in rows), places)
    if not headers[number] and max(names) - min(names) + 1 != len(names):
        raise ConfigError(
            f"expected a header, such as id,name, above numbers with gaps, got {len(names)} from {min(names)} to "
            f"{max(names)}"
        )
    return names, True


def _has_header(rows: _Rows) -> bool:
    """Return whether the first row is a header: it has a word above numbers, or else a known header."""
    headers = [_header(cell) for cell in rows[0]]
    above_numbers = [
        header for column, header in enumerate(headers) if rows[1:] and _are_numbers(row[column] for row in rows[1:])
    ]
    if above_numbers:
        return not any(map(is_number, above_numbers))
    return any(header in _KNOWN for header in headers)


def _columns(headers: Sequence[str], are_numbers: Sequence[bool]) -> tuple[int | None, int]:
    """Return the column of the class numbers, None without one, and that of the names."""
    if len(headers) == 1 and headers[0] not in _OF_NUMBERS:
        return None, 0
    every = range(len(headers))
    numbers = [column for column in every if headers[column] in _OF_NUMBERS]
    if not numbers:
        numbers = [column for column in every if are_numbers[column] and headers[column] in {"", *_OF_EITHER}]
    names = [column for column in every if headers[column] in _OF_NAMES | _OF_EITHER and column not in numbers]
    if len(names) > 1:
        names = [column for column in names if headers[column] == "name"] or names
    if not names and len(headers) - len(numbers) == 1:
        names = [column for column in every if column not in numbers]
    unclear = not numbers and any(are_numbers[column] for column in every if column not in names)
    if len(numbers) > 1 or len(names) != 1 or unclear:
        found = f"columns {listed([shown(header) for header in headers])}" if any(headers) else "no header"
        raise ConfigError(
            "expected one column of names with the header 'name', and one of class numbers with the header 'id' unless "
            f"the rows are in order, got {found}: change the header"
        )
    return (numbers[0] if numbers else None), names[0]


def _rows(lines: Sequence[str]) -> tuple[_Rows, list[int]]:
    """Return the rows, and the line of each. The delimiter is the one that gives all rows the same width."""
    delimiters = [mark for mark in DELIMITERS if mark in lines[0]] or [","]
    failure = None
    found = []
    for delimiter in delimiters:
        try:
            found.append(_split(lines, delimiter))
        except ConfigError as error:
            failure = failure or error
    if len(found) > 1:
        found = [(rows, places) for rows, places in found if any(_header(cell) in _KNOWN for cell in rows[0])]
    if len(found) == 1:
        return found[0]
    raise failure or ConfigError(
        f"expected one kind of delimiter, got {' and '.join(map(repr, delimiters))}: put names into double quotes"
    )


def _split(lines: Sequence[str], delimiter: str) -> tuple[_Rows, list[int]]:
    import csv

    rows: _Rows = []
    places: list[int] = []
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                raise ConfigError(f"line {reader.line_num} is empty: expected one class per row")
            if rows and len(row) != len(rows[0]):
                raise ConfigError(
                    f"line {reader.line_num}: expected {len(rows[0])} columns, as in the first row, got {len(row)}; "
                    f"put names that contain {delimiter!r} into double quotes"
                )
            rows.append(row)
            places.append(reader.line_num)
            if len(rows) > MAX_NAMES + 1 or len(rows) * len(row) > MAX_PARTS:
                raise too_many()
    except csv.Error as error:
        raise ConfigError(f"line {reader.line_num}: expected CSV: {bounded(str(error), 200)}") from None
    return rows, places


def _header(cell: str) -> str:
    return cell.strip().strip('"').lower().replace(" ", "_").replace("-", "_")


def _are_numbers(cells: Iterable[str]) -> bool:
    return all(is_number(cell.strip()) for cell in cells)
