"""Errors for values that cannot become a tensor, with advice on what to do.

Values are recognized by their attributes and the names of their types, so that no package is imported for it. Even if a
value raises an exception while it is examined, the result is an EncodeError.
"""

from __future__ import annotations

import array as array_module
import datetime
import io
import numbers
import os
from collections.abc import Iterable, Mapping, Set

import numpy as np

from tfs_client._codec.dtypes import SUPPORTED
from tfs_client.errors import EncodeError

Index = tuple[int, ...]

_LONGEST = 200  # characters of another package's error that are quoted


def refused(value: object, index: Index = (), *, wanted: str = "numbers, str or bytes") -> EncodeError:
    """Return the error for a value that a tensor cannot hold, found at ``index`` of an array or nested list."""
    return EncodeError(f"expected {wanted}, got {kind_of(value)}{at(index)}; {advice(value)}")


def unreadable(value: object, error: Exception) -> EncodeError:
    """Return the error for a value whose conversion to an array raised ``error``."""
    text = str_of(error).strip().partition("\n")[0]
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return EncodeError(f"{kind_of(value)} cannot be read as an array ({reason}); {advice(value, error)}")


def missing(count: int, index: int, advice: str) -> EncodeError:
    """Return the error for a column with missing values; ``index`` is that of the first."""
    return EncodeError(
        f"expected a value in every row, got {count} missing, the first at element {index}; "
        f"tensors have no gaps: {advice}"
    )


def at(index: Index) -> str:
    """Return ``" at element 3"`` or ``" at element (0, 2)"``; "" for the whole value."""
    return f" at element {index[0] if len(index) == 1 else index}" if index else ""


def kind_of(value: object) -> str:
    """Return a readable type of a value; None and NaN by their names."""
    kind = type(value)  # never isinstance: __class__ may raise
    if value is None:
        return "None"
    if issubclass(kind, (float, np.floating)) and value != value:
        return "NaN"
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package in ("builtins", "__main__") else f"{package}.{kind.__name__}"


def str_of(error: Exception) -> str:
    """Return the text of an error; "" if its ``__str__`` fails."""
    try:
        return str(error)
    except Exception:
        return ""


def advice(value: object, error: Exception | None = None) -> str:
    """Return what to do with a value that a tensor cannot hold."""
    try:
        return _known(value, error) or f"a tensor can hold {SUPPORTED}"
    except Exception:  # some objects raise on any access
        return f"a tensor can hold {SUPPORTED}"


# --- kinds of values -------------------------------------------------------------------------------------------------


def _known(value: object, error: Exception | None) -> str:
    return _missing(value) or _tensor(value, error) or _scalar(value) or ("" if error else _collection(value))


def _missing(value: object) -> str:
    nan = isinstance(value, (float, np.floating)) and value != value
    if value is None or nan or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return "tensors have no gaps: fill them first, e.g. with column.fillna('')"
    return ""


def _tensor(value: object, error: Exception | None) -> str:
    """Return the advice for tensors and arrays of other packages."""
    name = type(value).__name__
    text = "" if error is None else f"{type(error).__name__} {str_of(error)}"
    if name.endswith("Tracer") or text.startswith("Tracer"):
        return "a traced value has no numbers yet: make the call outside jax.jit, grad and vmap"
    if isinstance(error, NotImplementedError) or "ymbolic" in name + text or name == "KerasTensor":
        return "a symbolic tensor has no values: make the call outside tf.function, or evaluate it first"
    if getattr(value, "requires_grad", False) is True or "requires grad" in text:
        return "detach it first: tensor.detach()"
    if "sparse" in str(getattr(value, "layout", "")):
        return "make it dense first: x.to_dense()"
    device = str(getattr(getattr(value, "device", None), "type", ""))
    if device == "meta":
        return "a tensor on the device 'meta' has no values"
    if (device and device != "cpu") or hasattr(value, "__cuda_array_interface__"):
        return "copy it to the CPU first: tensor.cpu(), or array.get() for cupy"
    if hasattr(value, "row_splits") or getattr(value, "is_nested", False) is True:
        return "tensors are not ragged: pad it, e.g. with .to_tensor() or .to_padded_tensor(0)"
    if hasattr(value, "dense_shape"):
        dense = "tf.convert_to_tensor(x)" if name == "IndexedSlices" else "tf.sparse.to_dense(x)"
        return f"make it dense first: {dense}"
    if hasattr(value, "toarray"):
        return "make it dense first: x.toarray()"
    if getattr(value, "is_quantized", False) is True:
        return "send its numbers: x.dequantize()"
    if isinstance(value, (np.ndarray, list, tuple)):
        return "rows of one shape become an array by np.stack(list(rows)); pad those of different shapes"
    return ""


def _scalar(value: object) -> str:
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return "send a date as a number, e.g. value.timestamp(), or as text: value.isoformat()"
    if isinstance(value, (datetime.timedelta, np.datetime64, np.timedelta64)):
        return "send a time as a number, e.g. value.total_seconds() or value.astype('int64')"
    if isinstance(value, (bool, int, float, complex, np.number, np.bool_)):
        return "numbers need a dtype: values.astype('float32'); as text: values.astype(str)"
    if isinstance(value, numbers.Number):  # decimals, fractions
        return "send float(value), or str(value) to keep every digit"
    if isinstance(value, os.PathLike):
        return "send str(path) for its name, or path.read_bytes() for its content"
    if isinstance(value, io.IOBase):
        return "send the content of the file: file.read()"
    return ""


def _collection(value: object) -> str:
    if isinstance(value, Mapping):
        return "serialized_examples makes tf.Examples from mappings; only {'b64': '...'} is read as bytes"
    if isinstance(value, Set):
        return "a set has no order: send sorted(values)"
    if isinstance(value, (bytearray, memoryview, array_module.array)):
        return "send bytes(value) for a string"
    return "send list(values)" if isinstance(value, Iterable) else ""
