"""Replies as JSON text: tensors in row and in columnar form, classes, values and errors, laid out as the model server
does.

Source: util/json_tensor.cc (MakeJsonFromTensors, MakeJsonFromClassificationResult, MakeJsonFromRegressionResult,
MakeJsonFromStatus), over RapidJSON's PrettyWriter. Strings that are not UTF-8 are printed unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from tfs_client._codec.dtypes import STRING, Array, row_of
from tfs_client._printable import LONGEST_TEXT, bounded
from tfs_client.errors import InvalidArgumentError
from tfs_client.server.rest import json_tokens
from tfs_client.server.rest.json_debug import INDENT, quoted, utf8
from tfs_client.server.rest.predict_requests import ROW

BYTES = "_bytes"  # outputs whose names end with it have their strings printed in base64


def predictions(outputs: Mapping[str, Array], form: str) -> bytes:
    """Return the reply to a Predict request, in the form of the request. Raises InvalidArgumentError."""
    if not outputs:
        raise InvalidArgumentError("Cannot convert empty tensor map to JSON")
    return _rows(outputs) if form == ROW else _columns(outputs)


def error(details: str) -> bytes:
    """Return the reply to a call that failed. The middle of a text of more than 4,000 characters is omitted."""
    text = details if len(details) <= LONGEST_TEXT else bounded(details)
    return utf8(f'{{\n{INDENT}"error": {quoted(text)}\n}}')


def classes(rows: Sequence[Sequence[tuple[str, float]]]) -> bytes:
    """Return the reply to a Classify request: the labels and scores of each example."""
    if not rows:
        raise InvalidArgumentError("Cannot convert empty ClassificationResults to JSON")
    scores = iter(json_tokens.floats(score for _, score in chain.from_iterable(rows)))
    shown = ["[" + ", ".join(f"[{quoted(label)}, {next(scores)}]" for label, _ in row) + "]" for row in rows]
    return _whole("results", f"[{', '.join(shown)}\n{INDENT}]")


def values(found: Sequence[float]) -> bytes:
    """Return the reply to a Regress request: the value of each example."""
    if not found:
        raise InvalidArgumentError("Cannot convert empty RegressionResults to JSON")
    return _whole("results", f"[{', '.join(json_tokens.floats(found))}]")


def _rows(outputs: Mapping[str, Array]) -> bytes:
    size = _batch_size(outputs)
    if not size:
        return _whole("predictions", "[]")
    # An object is at level 2 and its values at level 3; values without names are at level 2.
    level = 2 if len(outputs) == 1 else 3
    columns = {name: _instances(name, array, level) for name, array in outputs.items()}
    if len(columns) == 1:
        (column,) = columns.values()
        return _whole("predictions", f"[{', '.join(column)}\n{INDENT}]")
    names = [f"{INDENT * 3}{quoted(name)}: " for name in columns]
    rows = [
        ",\n".join(name + value for name, value in zip(names, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]
    before, after = f"\n{INDENT * 2}{{\n", f"\n{INDENT * 2}}}"
    return _whole("predictions", "[" + ",".join(f"{before}{row}{after}" for row in rows) + f"\n{INDENT}]")


def _batch_size(outputs: Mapping[str, Array]) -> int:
    size = -1
    for name, array in outputs.items():
        if not array.ndim:
            raise InvalidArgumentError(f"Tensor name: {name} has no shape information ")
        if size not in (-1, len(array)):
            raise InvalidArgumentError(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)
    return size


def _instances(name: str, array: Array, level: int) -> list[str]:
    """Return the text of every instance of an output, on one line; ``level`` is that of the instances."""
    shown = _leaves(name, array, level + array.ndim - 1)
    if not shown:
        return [_empty(array.shape[1:])] * len(array)
    for size in reversed(array.shape[1:]):
        shown = _grouped(shown, size, "[", ", ", "]")
    return shown


def _grouped(items: list[str], size: int, before: str, between: str, after: str) -> list[str]:
    """Join every ``size`` items to the text of one array."""
    return [before + between.join(items[at : at + size]) + after for at in range(0, len(items), size)]


def _columns(outputs: Mapping[str, Array]) -> bytes:
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return _whole("outputs", _expanded(name, array, 1))
    shown = [f"{INDENT * 2}{quoted(name)}: {_expanded(name, array, 2)}" for name, array in outputs.items()]
    return _whole("outputs", "{\n" + ",\n".join(shown) + f"\n{INDENT}}}")


def _expanded(name: str, array: Array, level: int) -> str:
    """Return a tensor with one element or bracket on each line; its outermost bracket is at ``level``."""
    if not array.size:
        return _empty(array.shape, level)
    shown = _leaves(name, array, level + array.ndim)
    for depth in range(array.ndim - 1, -1, -1):
        inner, outer = "\n" + INDENT * (level + depth + 1), "\n" + INDENT * (level + depth)
        shown = _grouped(shown, array.shape[depth], "[" + inner, "," + inner, outer + "]")
    return shown[0]


def _empty(shape: Sequence[int], level: int | None = None) -> str:
    """Return an array without elements: the brackets down to the first size of 0, on one line if ``level`` is None."""
    if not shape[0]:
        return "[]"
    if level is None:
        return "[" + ", ".join([_empty(shape[1:])] * shape[0]) + "]"
    inner, outer = "\n" + INDENT * (level + 1), "\n" + INDENT * level
    return "[" + inner + ("," + inner).join([_empty(shape[1:], level + 1)] * shape[0]) + outer + "]"


def _leaves(name: str, array: Array, level: int) -> list[str]:
    """Return the text of every element; ``level`` is that of the elements."""
    if row_of(array.dtype) is STRING and name.endswith(BYTES):
        before, after = f'{{\n{INDENT * (level + 1)}"b64": "', f'"\n{INDENT * level}}}'
        return [f"{before}{text}{after}" for text in json_tokens.encoded(array)]
    return json_tokens.tokens(array)


def _whole(key: str, value: str) -> bytes:
    return utf8(f'{{\n{INDENT}"{key}": {value}\n}}')
