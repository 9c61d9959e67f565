"""Predict requests and replies as JSON, in row and columnar form, by the dtypes of the model's signature.

JSON has no dtypes: the server gives each input the signature's, and what it answers is read here by the signature of
the outputs. Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from tfs_client.codec import extents, json_text, strings
from tfs_client.codec.dtypes import STRING, DType, row_of
from tfs_client.codec.json_text import Array
from tfs_client.codec.tensors import MAX_MESSAGE
from tfs_client.errors import DecodeError, EncodeError, reads
from tfs_client.shown import listed, shown

Spec = tuple[DType, tuple[int | None, ...] | None]  # dtype, and shape as far as it is known

# What the server converts (AddValueToTensor); all else it refuses.
CARRIED = frozenset(
    {"float", "double", "int32", "uint8", "int16", "int8", "int64", "bool", "string", "uint32", "uint64"}
)
# The Python types in which values come, by the kind of numpy's dtype; for others than these it is int.
WANTED: Mapping[str, set[type]] = {"f": {float, int}, "b": {bool}}
UNNAMED = ""  # stands for the alias of a single input whose name is not known
USE_GRPC = "gRPC carries them: give the server's gRPC port as the target, e.g. 'host:8500'"


def check_carried(row: DType, what: str) -> None:
    """Raise EncodeError for a dtype that REST cannot carry."""
    if row.name not in CARRIED:
        raise EncodeError(f"{what}: REST carries no {row.name} tensors; {USE_GRPC}")


def write_request(arrays: Mapping[str, Array], signature: str, *, row: bool) -> bytes:
    """The body of a predict call.

    Args:
        arrays: the inputs by alias; one of a model with a single input may be ``UNNAMED``.
        signature: its name; "" for the default one.
        row: in row form, where all inputs have one length along axis 0, above 0; else in columnar form.

    Raises EncodeError, naming the input, for a dtype that REST cannot carry, and for more than 2 GiB of values.
    """
    head = b'{"signature_name":' + json_text.dumps(signature) + b"," if signature else b"{"
    for alias, array in arrays.items():
        check_carried(row_of(array.dtype), _said(alias))
        if array.nbytes > MAX_MESSAGE:  # also of a view that repeats one value
            raise EncodeError(f"{_said(alias)}: expected at most {MAX_MESSAGE} bytes of values, got {array.nbytes}")
        if extents.is_deep(array):  # orjson ends the process when memory runs out
            raise EncodeError(extents.refusal(array, _said(alias)))
    ready = {alias: _ready(array, alias) for alias, array in arrays.items()}
    if row:
        return head + b'"instances":' + _rows(ready) + b"}"
    # An object with the single name b64 would be read as base64; a model with one input takes it without a name.
    nameless = next((alias for alias in ("b64", UNNAMED) if list(ready) == [alias]), None)
    body = _named(ready) if nameless is None else _value(ready[nameless])
    return head + b'"inputs":' + body + b"}"


def _rows(arrays: Mapping[str, Array]) -> bytes:
    if len(arrays) == 1:
        return _value(next(iter(arrays.values())))
    count = len(next(iter(arrays.values())))
    # A slice that is reshaped, for array[index] of a string would no longer be an array.
    rows = (
        _named({alias: array[index : index + 1].reshape(array.shape[1:]) for alias, array in arrays.items()})
        for index in range(count)
    )
    return b"[" + b",".join(rows) + b"]"


def _named(arrays: Mapping[str, Array]) -> bytes:
    members = (json_text.dumps(alias) + b":" + _value(array) for alias, array in arrays.items())
    return b"{" + b",".join(members) + b"}"


def _value(array: Array) -> bytes:
    return json_text.dumps(array.tolist()) if array.dtype.kind == "O" else json_text.numbers(array)


def _said(alias: str) -> str:
    """An input, for error texts."""
    return "the input" if alias == UNNAMED else f"input {shown(alias)}"


def _ready(array: Array, alias: str) -> Array:
    """Numbers as they are; strings as what stands for them in JSON: text, or an object of base64."""
    if array.dtype.kind not in "OSU":
        return array
    try:
        texts = strings.flat(array)
    except EncodeError as error:
        raise EncodeError(f"{_said(alias)}: {error}") from error.__cause__
    ready = np.empty(len(texts), object)
    ready[:] = [{"b64": b64encode(text).decode()} if isinstance(text, bytes) else text for text in texts]
    shaped: Array = ready.reshape(array.shape)
    return shaped


def fits_rows(arrays: Mapping[str, Array]) -> bool:
    """Whether inputs can go in row form: at least one, and all of one length along axis 0, above 0."""
    lengths = {array.shape[:1] for array in arrays.values()}
    return len(lengths) == 1 and lengths != {()} and lengths != {(0,)}


@reads("the reply of Predict")
def read_reply(body: bytes, outputs: Mapping[str, Spec], *, exact: bool = False) -> dict[str, Array]:
    """The outputs of a predict call, by alias, each in the dtype of the signature; read-only.

    An empty list says nothing of the axes inside it; they are taken from the signature, and 0 where that leaves them
    open.

    Args:
        exact: refuse other shapes than the signature's, and whole numbers without a point as floats, which the model
            server never writes: the signature may be an old one.

    Raises DecodeError for what is no such reply, or does not fit the signature.
    """
    reply = json_text.loads(body)
    row = isinstance(reply, dict) and "predictions" in reply
    if not isinstance(reply, dict) or ("outputs" not in reply and not row):
        raise DecodeError(f"expected an object with 'predictions' or 'outputs', got {json_text.excerpt(body)}")
    values = reply["predictions" if row else "outputs"]
    named: Mapping[str, Any]
    if len(outputs) == 1 and not _is_named(values if row else [values], outputs):
        named = dict.fromkeys(outputs, values)
    else:
        named = _columns(values, outputs) if row else _members(values, outputs)
    return {alias: read_tensor(named[alias], spec, alias, exact=exact) for alias, spec in outputs.items()}


def _is_named(rows: Any, outputs: Mapping[str, Spec]) -> bool:
    """Whether a single output has its name, which TensorFlow Serving leaves out and other servers may write."""
    if not isinstance(rows, list) or not rows or "b64" in outputs:
        return False
    return all(isinstance(row, dict) and row.keys() == outputs.keys() for row in rows)


def _columns(rows: Any, outputs: Mapping[str, Spec]) -> dict[str, list[Any]]:
    if not isinstance(rows, list):
        raise DecodeError(f"expected a list of predictions, got {_kind(rows)}")
    members = [_members(row, outputs) for row in rows]
    return {alias: [row[alias] for row in members] for alias in outputs}


def _members(value: Any, outputs: Mapping[str, Spec]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != outputs.keys():
        got = listed(sorted(value)) if isinstance(value, dict) else _kind(value)
        raise DecodeError(f"expected the outputs {listed(sorted(outputs))}, got {got}")
    return value


def read_tensor(value: Any, spec: Spec, alias: str, *, exact: bool = False) -> Array:
    """One tensor from nested lists. Raises DecodeError when it is ragged, or not of the dtype or shape it should be."""
    row, shape = spec
    dims, flat = _flat(value, alias)
    if 0 in dims and shape is not None:
        dims += [size or 0 for size in shape[len(dims) :]]
    # A model may give other shapes than its signature says, but mostly it is the signature that is an old one.
    if (
        exact
        and shape is not None
        and (len(shape) != len(dims) or any(w not in (None, g) for w, g in zip(shape, dims, strict=True)))
    ):
        raise DecodeError(f"expected output {shown(alias)} of shape {shape}, got {shown(tuple(dims))}")
    try:
        array = _array(flat, row, alias, exact).reshape(dims)
    except ValueError as error:
        if isinstance(error, DecodeError):
            raise
        # More axes than numpy has, or, of lists without elements, a signature's sizes beyond its index type.
        raise DecodeError(f"expected output {shown(alias)} of a shape numpy can hold, got {len(dims)} axes") from error
    array.flags.writeable = False
    return array


def _flat(value: Any, alias: str) -> tuple[list[int], list[Any]]:
    """The sizes of nested lists, and their elements one after the other."""
    dims: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        size = len(level[0])
        if any(not isinstance(item, list) or len(item) != size for item in level):
            raise DecodeError(f"expected output {shown(alias)} as lists of one length at each depth, got ragged ones")
        dims.append(size)
        level = list(chain.from_iterable(level))
    return dims, level


def _array(flat: list[Any], row: DType, alias: str, exact: bool) -> Array:
    if row is STRING:
        strings = np.empty(len(flat), object)
        strings[:] = [_bytes(item, alias) for item in flat]
        return strings
    dtype = row.dtype
    wanted = WANTED.get(dtype.kind, {int}) - ({int} if exact and dtype.kind == "f" else set())
    if not set(map(type, flat)) <= wanted:
        other = next(item for item in flat if type(item) not in wanted)
        raise DecodeError(f"expected output {shown(alias)} of dtype {row.name}, got {_kind(other)}")
    if dtype.kind == "f":
        try:
            wide = np.array(flat, np.float64)
        except OverflowError as error:  # an integer too large for a float
            raise DecodeError(f"expected output {shown(alias)} of dtype {row.name}: {error}") from None
        with np.errstate(over="ignore"):
            array = wide.astype(dtype)
        beyond = np.isinf(array)
        if beyond.any() and (beyond := beyond & np.isfinite(wide)).any():
            raise DecodeError(f"expected output {shown(alias)} of dtype {row.name}, got {wide[beyond.argmax()]:g}")
        return array
    if dtype.kind in "iu" and flat:
        info = np.iinfo(dtype)
        if min(flat) < info.min or max(flat) > info.max:
            raise DecodeError(
                f"expected output {shown(alias)} of dtype {row.name}, got {shown(min(flat))} to {shown(max(flat))}"
            )
    return np.array(flat, dtype)


def _bytes(item: Any, alias: str) -> bytes:
    if isinstance(item, str):
        try:
            return json_text.utf8(item)
        except UnicodeEncodeError as error:
            raise DecodeError(f"expected text in output {shown(alias)}, got half a surrogate pair: {error}") from None
    if isinstance(item, dict) and list(item) == ["b64"] and isinstance(item["b64"], str):
        try:
            return b64decode(item["b64"], validate=True)
        except ValueError as error:
            raise DecodeError(
                f"expected base64 in output {shown(alias)}, got {shown(item['b64'], 40)}: {error}"
            ) from None
    raise DecodeError(f"expected output {shown(alias)} of dtype string, got {_kind(item)}")


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {shown(value, 40)}"
