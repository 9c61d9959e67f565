"""What cannot become a tensor: the errors, and what to do instead.

Values are known by their attributes and by the names of their types, so that no package is imported to look at them.
Whatever a value raises while it is looked at, an EncodeError comes of it.
"""

from __future__ import annotations

import array as array_module
import datetime
import io
import numbers
import os
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from tfs_client.codec.dtypes import SUPPORTED
from tfs_client.errors import EncodeError

Index = tuple[int, ...]

_LONGEST = 200  # characters that are quoted of another package's error


def refused(value: Any, index: Index = (), *, wanted: str = "numbers, str or bytes") -> EncodeError:
    """The error for a value that has no place in a tensor, at an index of the array or nested list it was found in."""
    return EncodeError(f"expected {wanted}, got {kind_of(value)}{at(index)}; {way_out(value)}")


def unreadable(value: Any, error: Exception) -> EncodeError:
    """The error for a value whose conversion to an array raised ``error``."""
    text = str_of(error).strip().partition("\n")[0]
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return EncodeError(f"{kind_of(value)} cannot be read as an array ({said}); {way_out(value, error)}")


def missing(count: int, index: int, way: str) -> EncodeError:
    """The error for a column in which values are missing; ``index`` is the place of the first."""
    return EncodeError(
        f"expected a value in every row, got {count} missing, the first at element {index}; tensors have no gaps: {way}"
    )


def at(index: Index) -> str:
    """``" at element 3"``, ``" at element (0, 2)"``; nothing for the whole value."""
    return f" at element {index[0] if len(index) == 1 else index}" if index else ""


def kind_of(value: Any) -> str:
    """A value's type for people; None and NaN by their names."""
    kind = type(value)  # never isinstance: __class__ may raise
    if value is None:
        return "None"
    if issubclass(kind, (float, np.floating)) and value != value:
        return "NaN"
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package in ("builtins", "__main__") else f"{package}.{kind.__name__}"


def str_of(error: Exception) -> str:
    """The text of an error, even of one that cannot say it."""
    try:
        return str(error)
    except Exception:
        return ""


def way_out(value: Any, error: Exception | None = None) -> str:
    """What to do with a value that a tensor cannot hold."""
    try:
        return _known(value, error) or f"a tensor can hold {SUPPORTED}"
    except Exception:  # some objects raise whatever they are asked
        return f"a tensor can hold {SUPPORTED}"


# --- kinds of values -------------------------------------------------------------------------------------------------


def _known(value: Any, error: Exception | None) -> str:
    return _missing(value) or _tensor(value, error) or _scalar(value) or ("" if error else _collection(value))


def _missing(value: Any) -> str:
    nan = isinstance(value, (float, np.floating)) and value != value
    if value is None or nan or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return "tensors have no gaps: fill them first, e.g. with column.fillna('')"
    return ""


def _tensor(value: Any, error: Exception | None) -> str:
    """Tensors and arrays of other packages."""
    name = type(value).__name__
    said = "" if error is None else f"{type(error).__name__} {str_of(error)}"
    if name.endswith("Tracer") or said.startswith("Tracer"):
        return "a traced value has no numbers yet: make the call outside of jax.jit, grad and vmap"
    if isinstance(error, NotImplementedError) or "ymbolic" in name + said or name == "KerasTensor":
        return "a symbolic tensor has no values: make the call outside of tf.function, or evaluate it first"
    if getattr(value, "requires_grad", False) is True or "requires grad" in said:
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


def _scalar(value: Any) -> str:
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return "send a date as a number, e.g. value.timestamp(), or as text: value.isoformat()"
    if isinstance(value, (datetime.timedelta, np.datetime64, np.timedelta64)):
        return "send a time as a number, e.g. value.total_seconds() or value.astype('int64')"
    if isinstance(value, (bool, int, float, complex, np.number, np.bool_)):
        return "numbers need a dtype: values.astype('float32'); as text: values.astype(str)"
    if isinstance(value, numbers.Number):  # decimals, fractions
        return "send float(value), or str(value) to keep every digit"
    if isinstance(value, os.PathLike):
        return "send str(path) for its name, or path.read_bytes() for what is in the file"
    if isinstance(value, io.IOBase):
        return "send what is in the file: file.read()"
    return ""


def _collection(value: Any) -> str:
    if isinstance(value, Mapping):
        return "serialized_examples makes tf.Examples of mappings; {'b64': '...'} alone stands for bytes"
    if isinstance(value, Set):
        return "a set has no order: send sorted(values)"
    if isinstance(value, (bytearray, memoryview, array_module.array)):
        return "send bytes(value) for a string"
    return "send list(values)" if isinstance(value, Iterable) else ""
