"""Write Predict requests and read replies as JSON, in row and columnar form, by the dtypes of the model's signature.

JSON has no dtypes: the server converts each input to the signature's dtype, and its reply is read here by the signature
of the outputs. Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from tfs_client._codec import expansion, json_text, strings
from tfs_client._codec.dtypes import STRING, Array, DType, row_of
from tfs_client._codec.tensors import MAX_MESSAGE
from tfs_client._printable import listed, shown
from tfs_client.errors import DecodeError, EncodeError, reads

Spec = tuple[DType, tuple[int | None, ...] | None]  # dtype, and the known part of the shape

# The dtypes that the server converts (AddValueToTensor); it refuses all others.
CARRIED = frozenset(
    {"float", "double", "int32", "uint8", "int16", "int8", "int64", "bool", "string", "uint32", "uint64"}
)
# The Python types of JSON values by the kind of the numpy dtype; int for other kinds.
WANTED: Mapping[str, set[type]] = {"f": {float, int}, "b": {bool}}
UNNAMED = ""  # the alias of a single input whose name is not known
USE_GRPC = "use gRPC: pass the server's gRPC port as the target, e.g. 'host:8500'"


def check_carried(row: DType, what: str) -> None:
    """Raise EncodeError for a dtype that REST cannot carry."""
    if row.name not in CARRIED:
        raise EncodeError(f"{what}: REST cannot carry {row.readable} tensors; {USE_GRPC}")


def write_request(arrays: Mapping[str, Array], signature: str, *, row: bool) -> bytes:
    """Write the body of a predict call.

    Args:
        arrays: the inputs by alias; a single input may be ``UNNAMED``.
        signature: the signature's name; "" for the default one.
        row: whether to use the row form, where all inputs have the same length along axis 0, above 0; else the
            columnar form.

    Raises EncodeError, naming the input, for a dtype that REST cannot carry, and for more than 2 GiB of values.
    """
    head = b'{"signature_name":' + json_text.dumps(signature) + b"," if signature else b"{"
    for alias, array in arrays.items():
        check_carried(row_of(array.dtype), _said(alias))
        if array.nbytes > MAX_MESSAGE:  # including a view that repeats one value
            raise EncodeError(f"{_said(alias)}: expected at most {MAX_MESSAGE} bytes of values, got {array.nbytes}")
        if expansion.is_deep(array):  # orjson aborts the process when memory runs out
            raise EncodeError(expansion.refusal(array, _said(alias)))
    ready = {alias: _ready(array, alias) for alias, array in arrays.items()}
    if row:
        return head + b'"instances":' + _rows(ready) + b"}"
    # The server reads an object with the single name b64 as base64, but takes a single input without a name too.
    nameless = next((alias for alias in ("b64", UNNAMED) if list(ready) == [alias]), None)
    body = _named(ready) if nameless is None else _value(ready[nameless])
    return head + b'"inputs":' + body + b"}"


def _rows(arrays: Mapping[str, Array]) -> bytes:
    if len(arrays) == 1:
        return _value(next(iter(arrays.values())))
    count = len(next(iter(arrays.values())))
    # A reshaped slice, because array[index] of strings would not be an array.
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
    """Return the name of an input for error texts."""
    return "the input" if alias == UNNAMED else f"input {shown(alias)}"


def _ready(array: Array, alias: str) -> Array:
    """Return numbers unchanged, and strings in their JSON form: text, or an object with base64."""
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
    """Return whether the row form is possible: at least one input, all with the same length along axis 0, above 0."""
    lengths = {array.shape[:1] for array in arrays.values()}
    return len(lengths) == 1 and lengths != {()} and lengths != {(0,)}


@reads("the reply of Predict")
def read_reply(body: bytes, outputs: Mapping[str, Spec], *, exact: bool = False) -> dict[str, Array]:
    """Read the outputs of a predict call by alias, each in the dtype of the signature; read-only.

    An empty list does not show the axes inside it; their sizes come from the signature, and are 0 where it has none.

    Args:
        exact: refuse shapes that differ from the signature's, and whole numbers without a decimal point as floats,
            which the model server never writes: the signature may be outdated.

    Raises DecodeError for other replies, and for outputs that do not fit the signature.
    """
    reply = json_text.loads(body)
    row = isinstance(reply, dict) and "predictions" in reply
    if not isinstance(reply, dict) or ("outputs" not in reply and not row):
        raise DecodeError(f"expected an object with 'predictions' or 'outputs', got {json_text.excerpt(body)}")
    values = reply["predictions" if row else "outputs"]
    named: Mapping[str, object]
    if len(outputs) == 1 and not _is_named(values if row else [values], outputs):
        named = dict.fromkeys(outputs, values)
    else:
        named = _columns(values, outputs) if row else _members(values, outputs)
    return {alias: read_tensor(named[alias], spec, alias, exact=exact) for alias, spec in outputs.items()}


def _is_named(rows: object, outputs: Mapping[str, Spec]) -> bool:
    """Return whether a single output has its name, which TensorFlow Serving omits and other servers may write."""
    if not isinstance(rows, list) or not rows or "b64" in outputs:
        return False
    return all(isinstance(row, dict) and row.keys() == outputs.keys() for row in rows)


def _columns(rows: object, outputs: Mapping[str, Spec]) -> dict[str, list[object]]:
    if not isinstance(rows, list):
        raise DecodeError(f"expected a list of predictions, got {_kind(rows)}")
    members = [_members(row, outputs) for row in rows]
    return {alias: [row[alias] for row in members] for alias in outputs}


def _members(value: object, outputs: Mapping[str, Spec]) -> dict[str, object]:
    if not isinstance(value, dict) or value.keys() != outputs.keys():
        got = listed(sorted(value)) if isinstance(value, dict) else _kind(value)
        raise DecodeError(f"expected the outputs {listed(sorted(outputs))}, got {got}")
    return value


def read_tensor(value: object, spec: Spec, alias: str, *, exact: bool = False) -> Array:
    """Read one tensor from nested lists. Raises DecodeError if it is ragged, or has another dtype or shape."""
    row, shape = spec
    dims, flat = _flat(value, alias)
    if 0 in dims and shape is not None:
        dims += [size or 0 for size in shape[len(dims) :]]
    # A model may return other shapes than its signature declares, but usually the signature is outdated.
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
        # More axes than numpy supports, or, for empty lists, sizes of the signature beyond numpy's index type.
        raise DecodeError(f"expected output {shown(alias)} of a shape numpy can hold, got {len(dims)} axes") from error
    array.flags.writeable = False
    return array


def _flat(value: Any, alias: str) -> tuple[list[int], list[object]]:
    """Return the sizes of nested lists, and their elements in order."""
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
        raise DecodeError(f"expected output {shown(alias)} of dtype {row.readable}, got {_kind(other)}")
    if dtype.kind == "f":
        try:
            wide = np.array(flat, np.float64)
        except OverflowError as error:  # an integer too large for a float
            raise DecodeError(f"expected output {shown(alias)} of dtype {row.readable}: {error}") from None
        with np.errstate(over="ignore"):
            array = wide.astype(dtype)
        beyond = np.isinf(array)
        if beyond.any() and (beyond := beyond & np.isfinite(wide)).any():
            raise DecodeError(f"expected output {shown(alias)} of dtype {row.readable}, got {wide[beyond.argmax()]:g}")
        return array
    if dtype.kind in "iu" and flat:
        info = np.iinfo(dtype)
        if min(flat) < info.min or max(flat) > info.max:
            raise DecodeError(
                f"expected output {shown(alias)} of dtype {row.readable}, got {shown(min(flat))} to {shown(max(flat))}"
            )
    return np.array(flat, dtype)


def _bytes(item: object, alias: str) -> bytes:
    if isinstance(item, str):
        try:
            return json_text.utf8(item)
        except UnicodeEncodeError as error:
            raise DecodeError(f"expected text in output {shown(alias)}, got an unpaired surrogate: {error}") from None
    if isinstance(item, dict) and list(item) == ["b64"] and isinstance(item["b64"], str):
        try:
            return b64decode(item["b64"], validate=True)
        except ValueError as error:
            raise DecodeError(
                f"expected base64 in output {shown(alias)}, got {shown(item['b64'], 40)}: {error}"
            ) from None
    raise DecodeError(f"expected output {shown(alias)} of dtype string, got {_kind(item)}")


def _kind(value: object) -> str:
    return f"{type(value).__name__} {shown(value, 40)}"
