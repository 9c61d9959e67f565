"""Read Predict replies over REST without the model's signature, for servers without metadata.

A request does not need dtypes, because JSON has none. In a reply, the JSON values determine the dtypes:

- whole numbers are int64 (uint64 if too large), and numbers are float64 if one has a decimal point or an exponent: both
  hold the numbers in the JSON exactly, and ``array.astype("float32")`` gives what a float32 model computed;
- ``true`` and ``false`` are bool, texts and base64 objects are bytes in object arrays;
- a list of objects with the same names, or an object of columns, holds several outputs; anything else is a single
  unnamed output, which gets the name ``UNNAMED``.

Ambiguous values raise DecodeError: ragged or empty lists, null, numbers among texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfs_client._codec import json_text
from tfs_client._codec.dtypes import BY_NAME, Array, DType
from tfs_client._codec.rest_json import read_tensor
from tfs_client._printable import shown
from tfs_client.errors import DecodeError, reads

UNNAMED = "predictions"
BEYOND = float(1 << 63)  # the first value beyond int64
_ADVICE = "pass the model's signature with signatures= so that the client can read the reply"


@reads("the reply of Predict")
def read_reply(body: bytes) -> dict[str, Array]:
    """Read the outputs of a predict call by alias; read-only. Raises DecodeError for ambiguous values."""
    outputs = _outputs(body, json_text.loads(body))
    if any(array.dtype.kind == "f" and (np.abs(array) >= BEYOND).any() for array in outputs.values()):
        return _outputs(body, json_text.loads(body, exact=True))  # orjson turns integers beyond 64 bits into floats
    return outputs


def _outputs(body: bytes, reply: object) -> dict[str, Array]:
    row = isinstance(reply, dict) and "predictions" in reply
    if not isinstance(reply, dict) or ("outputs" not in reply and not row):
        raise DecodeError(f"expected an object with 'predictions' or 'outputs', got {json_text.excerpt(body)}")
    values = reply["predictions" if row else "outputs"]
    named = _columns(values) if row else values if _is_named(values) else None
    outputs = {UNNAMED: values} if named is None else named
    if not outputs:
        raise DecodeError(f"expected outputs, got {json_text.excerpt(body)}")
    return {alias: _tensor(value, alias) for alias, value in outputs.items()}


def _is_named(value: object) -> bool:
    """Return whether this is an object of outputs rather than one with base64."""
    return isinstance(value, dict) and not _is_bytes(value)


def _is_bytes(value: dict[str, object]) -> bool:
    return list(value) == ["b64"] and isinstance(value["b64"], str)


def _columns(rows: object) -> dict[str, list[object]] | None:
    """Return the outputs as columns if the rows name them, else None."""
    if not isinstance(rows, list) or not any(map(_is_named, rows)):
        return None
    names = rows[0].keys() if isinstance(rows[0], dict) else set()
    for row in rows:
        if not _is_named(row) or row.keys() != names:
            raise DecodeError(f"expected the same outputs in every prediction, got {shown(rows[0])}, {shown(row)}")
    return {name: [row[name] for row in rows] for name in names}


def _tensor(value: object, alias: str) -> Array:
    try:
        return read_tensor(value, (_dtype(value), None), alias)
    except DecodeError as error:
        where = "" if f"output {shown(alias)}" in str(error) else f"output {shown(alias)}: "
        raise DecodeError(f"{where}{error}; {_ADVICE}") from None


def _dtype(value: object) -> DType:
    """Return the dtype of nested lists by the JSON types of their elements."""
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


def _elements(value: object) -> Iterator[Any]:
    """Yield the elements of nested lists, level by level."""
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
