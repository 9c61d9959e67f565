"""What JSON texts mean, by Python's own json and plain loops over values: the reference for REST."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import numpy as np

from .engine import NotJudged


class Rejected(Exception):
    """Not such a text, or not such a tensor."""


def parsed(data: bytes, hook: Any = None) -> Any:
    """The value of a text; of members that repeat a name the last counts."""
    try:
        return json.loads(data.decode("utf-8", "surrogateescape"), object_pairs_hook=hook)
    except RecursionError:  # orjson takes a few levels more
        raise NotJudged from None
    except ValueError:
        raise Rejected from None


def first_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of members that repeat a name the first counts, as for RapidJSON."""
    return dict(reversed(pairs)) if len(dict(pairs)) == len(pairs) else Twice(reversed(pairs))


class Twice(dict[str, Any]):
    """An object with a name that is given twice."""


def whole(value: Any, dtype: Any) -> np.ndarray:
    """A tensor of nested lists. Raises Rejected for ragged ones, and elements of other types."""
    dims: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        sizes = {len(item) if isinstance(item, list) else -1 for item in level}
        if len(sizes) != 1:
            raise Rejected
        dims.append(sizes.pop())
        level = [inner for item in level for inner in item]
    out = np.empty(len(level), dtype)
    for at, item in enumerate(level):
        out[at] = _element(item, np.dtype(dtype))
    try:
        return out.reshape(dims)
    except ValueError:
        raise Rejected from None


def _element(item: Any, dtype: np.dtype[Any]) -> Any:
    kind = dtype.kind
    if kind == "O":
        return _bytes(item)
    if kind == "b":
        if isinstance(item, bool):
            return item
    elif isinstance(item, bool):
        raise Rejected
    elif kind in "iu":
        if isinstance(item, int) and np.iinfo(dtype).min <= item <= np.iinfo(dtype).max:
            return item
    elif isinstance(item, (int, float)):
        try:
            with np.errstate(all="ignore"):
                return np.float64(float(item)).astype(dtype)
        except OverflowError:  # an integer beyond all doubles; other readers say infinity
            return dtype.type("inf") if item > 0 else dtype.type("-inf")
    raise Rejected


def _bytes(item: Any) -> bytes:
    if isinstance(item, dict) and list(item) == ["b64"] and isinstance(item["b64"], str):
        try:
            text = item["b64"].encode("utf-8", "surrogateescape").translate(None, b" \t\n\v\f\r").rstrip(b"=.")
            return b64decode(text + b"=" * (-len(text) % 4), validate=True)
        except ValueError:
            raise Rejected from None
    if isinstance(item, str):
        try:
            return item.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise Rejected from None
    raise Rejected


def same(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal values; NaN is NaN. Of empty tensors the axes behind the empty one may differ."""
    if not got.size and not want.size:
        return got.dtype == want.dtype and got.shape[: want.ndim] == want.shape
    return got.dtype == want.dtype and got.shape == want.shape and repr(got.tolist()) == repr(want.tolist())
