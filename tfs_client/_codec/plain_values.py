"""Convert outputs to Python values, JSON and columns of a table."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfs_client._codec import expansion, json_text
from tfs_client._codec.dtypes import Array
from tfs_client.errors import ConfigError, EncodeError, SignatureError

_CHUNK = 1 << 16  # floats converted to text at a time, because numpy uses 128 bytes for each
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def plain(array: Array) -> Array:
    """Return the values in a built-in numpy dtype: ml-dtypes floats as float32, quantized integers as integers."""
    if array.dtype.fields is not None:
        bare: Array = array[next(iter(array.dtype.fields))]
        return bare
    if array.dtype.type.__module__.startswith("ml_dtypes"):
        return array.astype(np.int8 if array.dtype.name.startswith(("int", "uint")) else np.float32)
    return array


def as_python(array: Array, alias: str) -> Any:
    """Return nested lists of Python values, or a single value for a scalar. Raises DecodeError as ``as_json``."""
    expansion.check_lists(array, f"output {alias!r}")
    return plain(array).tolist()


def as_json(outputs: Mapping[str, Array]) -> str:
    """Return a JSON object of nested lists. See ``Prediction.to_json``.

    Raises EncodeError for complex numbers, DecodeError for an array that is too large for the values it holds.
    """
    members = [f"{json_text.dumps(alias).decode()}: {_json(array, alias)}" for alias, array in outputs.items()]
    return "{" + ", ".join(members) + "}"


def as_frame(outputs: Mapping[str, Array], *, row: bool) -> Any:
    """Return the outputs as a pandas.DataFrame. Raises ConfigError without pandas, and as ``as_columns``."""
    try:
        import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise ConfigError("to_pandas needs the package pandas: pip install pandas") from None
    columns, count = as_columns(outputs, row=row)
    return pandas.DataFrame(columns, index=range(count))


def as_columns(outputs: Mapping[str, Array], *, row: bool) -> tuple[dict[str, object], int]:
    """Return the outputs as columns of a table, and the number of rows; ``row``: the outputs are one row.

    Raises SignatureError for outputs of different lengths, DecodeError as ``as_json``.
    """
    for alias, array in outputs.items():
        expansion.check_lists(array, f"output {alias!r}")
    arrays = {alias: plain(array) for alias, array in outputs.items()}
    lengths = {alias: len(array) for alias, array in arrays.items() if array.ndim and not row}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{alias!r} {length}" for alias, length in lengths.items())
        raise SignatureError(
            f"expected outputs of one length along axis 0, got {listed}; select some of them with outputs=[...]"
        )
    count = next(iter(lengths.values()), 1)
    return {alias: _column(array, count, alone=alias not in lengths) for alias, array in arrays.items()}, count


def _column(array: Array, count: int, *, alone: bool) -> Array:
    if array.ndim == (0 if alone else 1):
        return np.array(np.broadcast_to(array, count))  # a copy, which can be changed
    column = np.empty(count, object)
    for index in range(count):
        column[index] = np.array(array if alone else array[index])
    return column


def _json(array: Array, alias: str) -> str:
    expansion.check_lists(array, f"output {alias!r}")
    array = plain(array)
    kind = array.dtype.kind
    if kind == "c":
        raise EncodeError(f"output {alias!r}: JSON does not support complex numbers; send array.real and array.imag")
    distinct, _ = expansion.collapsed(array, array)
    flat = (distinct if distinct.size == 1 else array).reshape(-1)
    if kind == "O":
        texts = [_base64(value) for value in flat.tolist()]
    elif kind == "f":
        with np.errstate(invalid="ignore"):  # numpy before 1.25 warns of NaN
            digits = (
                text for at in range(0, flat.size, _CHUNK) for text in flat[at : at + _CHUNK].astype(str).tolist()
            )
            texts = [_NOT_FINITE.get(text, text) for text in digits]
    else:
        texts = [str(value) for value in flat.tolist()]
        if kind == "b":
            texts = [text.lower() for text in texts]
    texts *= array.size // max(1, flat.size)
    for axis in reversed(range(array.ndim)):
        size, groups = array.shape[axis], math.prod(array.shape[:axis])
        texts = ["[" + ", ".join(texts[at * size : (at + 1) * size]) + "]" for at in range(groups)]
    return texts[0]


def _base64(value: str | bytes) -> str:
    data = value.encode() if isinstance(value, str) else value
    return '{"b64": "' + b64encode(data).decode() + '"}'
