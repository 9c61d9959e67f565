"""Predict over REST without the model's signature, for servers that have no metadata.

A request is written from the arrays' own dtypes, for JSON has none. In a reply, numbers and texts say what they are:

- whole numbers are int64 (uint64 when too large), numbers of which one has a point or an exponent float64: both hold
  what stood in the JSON exactly, and ``array.astype("float32")`` gives what a float32 model computed;
- ``true`` and ``false`` are bool, texts and base64 objects bytes in object arrays;
- a list of objects with the same names, or an object of columns, holds several outputs; anything else is a single one
  without a name, which is called ``UNNAMED``.

What could be read in more than one way raises DecodeError: ragged or empty lists, null, numbers among texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfs_client.codec import json_text
from tfs_client.codec.dtypes import BY_NAME, DType
from tfs_client.codec.json_text import Array
from tfs_client.codec.rest_json import read_tensor
from tfs_client.errors import DecodeError, reads
from tfs_client.shown import shown

UNNAMED = "predictions"
BEYOND = float(1 << 63)  # what an int64 cannot hold
WAY_OUT = "pass the model's signature with signatures= so that the client can read the reply"


@reads("the reply of Predict")
def read_reply(body: bytes) -> dict[str, Array]:
    """The outputs of a predict call, by alias; read-only. Raises DecodeError for what could be several things."""
    outputs = _outputs(body, json_text.loads(body))
    if any(array.dtype.kind == "f" and (np.abs(array) >= BEYOND).any() for array in outputs.values()):
        return _outputs(body, json_text.loads(body, exact=True))  # orjson makes floats of integers beyond 64 bits
    return outputs


def _outputs(body: bytes, reply: Any) -> dict[str, Array]:
    row = isinstance(reply, dict) and "predictions" in reply
    if not isinstance(reply, dict) or ("outputs" not in reply and not row):
        raise DecodeError(f"expected an object with 'predictions' or 'outputs', got {json_text.excerpt(body)}")
    values = reply["predictions" if row else "outputs"]
    named = _columns(values) if row else values if _is_named(values) else None
    outputs = {UNNAMED: values} if named is None else named
    if not outputs:
        raise DecodeError(f"expected outputs, got {json_text.excerpt(body)}")
    return {alias: _tensor(value, alias) for alias, value in outputs.items()}


def _is_named(value: Any) -> bool:
    """Whether this is an object of outputs, and not one that stands for bytes."""
    return isinstance(value, dict) and not _is_bytes(value)


def _is_bytes(value: dict[str, Any]) -> bool:
    return list(value) == ["b64"] and isinstance(value["b64"], str)


def _columns(rows: Any) -> dict[str, list[Any]] | None:
    """The outputs of rows that name them; None for rows that do not."""
    if not isinstance(rows, list) or not any(map(_is_named, rows)):
        return None
    names = rows[0].keys() if isinstance(rows[0], dict) else set()
    for row in rows:
        if not _is_named(row) or row.keys() != names:
            raise DecodeError(f"expected the same outputs in every prediction, got {shown(rows[0])}, {shown(row)}")
    return {name: [row[name] for row in rows] for name in names}


def _tensor(value: Any, alias: str) -> Array:
    try:
        return read_tensor(value, (_dtype(value), None), alias)
    except DecodeError as error:
        where = "" if f"output {shown(alias)}" in str(error) else f"output {shown(alias)}: "
        raise DecodeError(f"{where}{error}; {WAY_OUT}") from None


def _dtype(value: Any) -> DType:
    """The dtype of nested lists, from what their elements are in JSON."""
    flat = list(_elements(value))
    kinds = {type(item) for item in flat}
    if not kinds:
        raise DecodeError("expected values, got an empty list, which has no dtype")
    if kinds <= {str, dict}:
        return BY_NAME["string"]
    if kinds == {bool}:
        return BY_NAME["bool"]
    if kinds == {int}:
        return BY_NAME["uint64" if min(flat) >= 0 and max(flat) > np.iinfo(np.int64).max else "int64"]
    if kinds == {int, float} or kinds == {float}:
        for item in flat:
            if type(item) is int and not _is_exact(item):
                raise DecodeError(f"expected numbers that fit one dtype, got floats and the integer {shown(item)}")
        return BY_NAME["double"]
    got = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise DecodeError(f"expected all numbers, all bools or all texts, got {got}")


def _elements(value: Any) -> Iterator[Any]:
    """What nested lists hold, level by level."""
    level = [value]
    while level:
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, list):
                deeper += item
            else:
                yield item
        level = deeper


def _is_exact(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False
