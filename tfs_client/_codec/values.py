"""Convert Python values to arrays with TensorFlow's widths: int32 unless too large, float32, bytes for strings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tfs_client._codec import array_protocols, strings
from tfs_client._codec.dtypes import BY_DTYPE, STRING, Array, DType, Field, find, row_of
from tfs_client._codec.encode_errors import refused, unreadable
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._printable import shown
from tfs_client.errors import EncodeError, TFServingError

# Python values convert to a dtype implicitly only if the rank of their kind is not above that of the dtype.
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


class Untyped(NamedTuple):
    """Python numbers without a dtype: the signature determines it, or TensorFlow's widths without a signature.

    Attributes:
        array: a copy of the values, exact: bool, int64, uint64, float64, complex128, or objects for larger integers.
    """

    array: Array

    def typed(self, dtype: object = None) -> Array:
        """Return the values in a dtype (see ``tfs_client._codec.dtypes.find``); by default in TensorFlow's widths.

        Raises EncodeError for values that do not fit.
        """
        return _in_width(self.array) if dtype is None else _fitting(self.array, find(dtype))


def as_array(values: object, dtype: object = None) -> Array:
    """Convert values to an array that a tensor can hold.

    numpy arrays and scalars keep their dtype, and so do the arrays of other packages. Python numbers get TensorFlow's:
    bool, int32 (int64 or uint64 if too large), float32, complex128. Strings become object arrays, whose str elements
    are sent as UTF-8; ``{"b64": "..."}`` is bytes, as in REST. ``bytes`` is one string; bytearray and memoryview are
    uint8, unless a string is wanted.

    Args:
        values: an array, a number, a string, nested lists or tuples of them, or anything numpy can read.
        dtype: the wanted dtype (see ``tfs_client._codec.dtypes.find``). Arrays are cast to it, as ``astype`` would;
            Python values must fit it.

    Raises EncodeError for values that do not convert: ragged lists, None and other missing values, masked values,
    mixed strings and numbers, dtypes that no tensor has, and objects whose own conversion raises (the error's cause).
    """
    if type(values) is np.ndarray and dtype is None and values.dtype in _NUMBERS:
        return values
    return _attempted(_as_array, values, dtype)


def read(values: object) -> Array | Untyped:
    """Read values as an array, or as Untyped for Python numbers.

    An array is returned without a copy; nested lists are copied; Untyped is returned unchanged. Raises EncodeError as
    ``as_array``.
    """
    if type(values) is Untyped or (type(values) is np.ndarray and values.dtype in _NUMBERS):
        return values
    return _attempted(_read, values)


T = TypeVar("T")

_DICTS = frozenset({dict, RequestArrays})
_ARRAYS = frozenset({np.ndarray})
_NUMBERS = frozenset(BY_DTYPE) - {STRING.dtype}
_PYTHON = (bool, int, float, complex, str, bytes, list, tuple, range)
_UNTYPED = frozenset(
    map(np.dtype, ("bool", "int64", "uint64", "float64", "complex128"))
)  # numpy's dtypes for Python numbers
_LISTS = (list, tuple)
_MAX_AXES = 64  # numpy's own limit
_SIMPLE = frozenset((bool, int, float, complex, str, bytes))
# Elements of lists that numpy reads correctly; all others are read one by one.
_ELEMENTS = (bool, int, float, complex, str, bytes, range, np.generic)


def _attempted(convert: Callable[..., T], values: object, *options: object) -> T:
    """Turn any exception of a value's own conversion into an EncodeError; the only place that does."""
    try:
        return convert(values, *options)
    except (TFServingError, MemoryError):
        raise
    except Exception as error:
        raise unreadable(values, error) from error


def _as_array(values: object, dtype: object) -> Array:
    row = None if dtype is None else find(dtype)
    if row is STRING and (text := array_protocols.as_string(values)) is not None:
        return _object(text, ())
    found = _read(values)
    if isinstance(found, Untyped):
        return found.typed(row)
    if row is None:
        return found
    return _fitting(found, row) if isinstance(values, _PYTHON) else _cast(found, row)


def _read(values: object) -> Array | Untyped:
    if type(values) is Untyped:
        return values
    if isinstance(values, (str, bytes)):  # np.str_ and np.bytes_ too; an object array keeps trailing NULs
        return _checked(_object(values, ()))
    if isinstance(values, (np.ndarray, np.generic)):
        return _checked(array_protocols.unmasked(values) if isinstance(values, np.ndarray) else np.asarray(values))
    if values is None:
        raise EncodeError("expected a tensor, got None; leave the input out, or send an empty array")
    if isinstance(values, _PYTHON):
        return _from_python(values)
    if (text := strings.represented_bytes(values)) is not None:
        return _object(text, ())
    found = array_protocols.read(values)
    return _checked(found) if isinstance(found, np.ndarray) else _read(found)


def converted(inputs: Mapping[str, Any], convert: Callable[[Any], Any], what: str = "input") -> dict[str, Any]:
    """Convert every input. Raises EncodeError, naming the input, for values that cannot become a tensor."""
    found = {}
    for alias, values in inputs.items():
        try:
            if not isinstance(alias, str):
                raise EncodeError(f"expected the name of an input as text, got {shown(alias)}")
            found[alias] = convert(values)
        except EncodeError as error:
            raise EncodeError(f"{what} {alias!r}: {error}") from error.__cause__
    return found


def as_arrays(inputs: Mapping[str, Any]) -> dict[str, Array]:
    """Convert every input by ``as_array``, in a new dict. Raises EncodeError as ``converted``."""
    for alias, values in inputs.items():  # without a call for each: most inputs are arrays of numbers
        if type(values) is not np.ndarray or values.dtype not in _NUMBERS or type(alias) is not str:
            return converted(inputs, as_array)
    return dict(inputs)


def read_single(values: object) -> Array | Untyped:
    """Read a value like ``read``, but leave the dtype of lists of arrays to the signature, too."""
    found = read(values)
    if isinstance(values, (list, tuple)) and isinstance(found, np.ndarray) and found.dtype.kind in _RANK:
        return Untyped(found)
    return found


def are_arrays(inputs: object) -> bool:
    """Return whether this is a dict that contains only numpy arrays, so that no input needs a dtype."""
    return type(inputs) in _DICTS and _ARRAYS.issuperset(map(type, inputs.values()))  # type: ignore[attr-defined]


def _from_python(values: object) -> Array | Untyped:
    if isinstance(values, _LISTS):
        values = _readable(values)
    first = values
    while isinstance(first, _LISTS) and len(first):
        first = first[0]
    if isinstance(first, (str, bytes)):
        return _checked(_numpy_array(values, np.dtype(object)))
    array = _numpy_array(values)
    if array.dtype.kind in "SU":  # numpy converts numbers to text if the list has both: keep the types of the elements
        return _checked(_numpy_array(values, np.dtype(object)))
    if isinstance(first, int) and array.dtype.kind in "fO":
        array = _large_integers(values, array)
        if array.dtype.kind == "O" and all(isinstance(value, int) for value in array.flat):
            return Untyped(array)
    return Untyped(array) if array.dtype in _UNTYPED else _checked(array)


def _readable(values: object) -> Any:
    """Return nested lists that numpy reads correctly. Elements of other kinds are converted here, one by one."""
    level: Any = (values,)
    kinds: set[type] = set()
    for _ in range(_MAX_AXES + 1):
        inside = list(chain.from_iterable(level))
        found = set(map(type, inside))
        if found <= _SIMPLE:
            break
        lists = {kind for kind in found if issubclass(kind, _LISTS)}
        kinds |= found - lists
        if not lists:
            break
        if lists != found:
            inside = [item for item in inside if type(item) in lists]
        # Each list once: one that contains itself twice would double with every level.
        level = dict(zip(map(id, inside), inside, strict=True)).values()
    else:
        raise EncodeError(_TOO_DEEP)
    if all(kind is np.ndarray or issubclass(kind, _ELEMENTS) for kind in kinds):
        return values
    return _each_read(values, ())


def _each_read(value: object, index: tuple[int, ...]) -> Any:
    if type(value) is np.ndarray or isinstance(value, _ELEMENTS):
        return value
    if len(index) > _MAX_AXES:
        raise EncodeError(_TOO_DEEP)
    if isinstance(value, _LISTS):
        return [_each_read(item, (*index, place)) for place, item in enumerate(value)]
    try:
        found = _attempted(_element, value)
    except EncodeError as error:
        raise EncodeError(f"element {index[0] if len(index) == 1 else index}: {error}") from error.__cause__
    return _each_read(found, index) if isinstance(found, list) else found


def _element(value: object) -> Any:
    if value is None:
        raise refused(value)
    if (text := strings.represented_bytes(value)) is not None:
        return text
    found = array_protocols.read(value)
    return _checked(found) if isinstance(found, np.ndarray) else found


_TOO_DEEP = f"expected lists nested at most {_MAX_AXES} deep, got deeper ones, or a list that contains itself"


def _in_width(array: Array) -> Array:
    """Convert Python numbers to TensorFlow's widths."""
    if array.dtype == np.float64:
        return _rounded(array, np.dtype(np.float32))
    if array.dtype.kind == "O":
        raise EncodeError(_TOO_LARGE)
    if array.dtype.kind == "i":
        info = np.iinfo(np.int32)
        if not array.size or (array.min() >= info.min and array.max() <= info.max):
            return array.astype(np.int32)
    return array


_TOO_LARGE = "expected integers of at most 64 bits, got larger or mixed-sign ones"


def _large_integers(values: object, array: Array) -> Array:
    """Convert integers from 2**63 on, which numpy would read inexactly: to uint64 if they fit, else to objects."""
    exact = np.array(values, dtype=object)
    if not all(isinstance(value, int) for value in exact.flat):
        return array
    if min(exact.flat) < 0 or max(exact.flat) >> 64:
        return exact
    return _numpy_array(values, np.dtype(np.uint64))


def _numpy_array(values: object, dtype: np.dtype[np.generic] | None = None) -> Array:
    try:
        return np.asarray(values, dtype)
    except OverflowError:
        raise EncodeError(_TOO_LARGE) from None
    except (ValueError, TypeError) as error:
        raise EncodeError(
            f"expected a rectangular array of values, got {shown(values)}: {error}; "
            "pad ragged lists, or send them one by one"
        ) from None


def _object(value: object, shape: tuple[int, ...]) -> Array:
    array = np.empty(shape, object)
    array[...] = value
    return array


def _checked(array: Array) -> Array:
    """Check an array. Raises EncodeError for one that no tensor can hold."""
    if array.dtype.kind == "T":  # numpy's strings of variable width
        array = array.astype(object)
    row_of(array.dtype)  # raises if there is none
    return strings.checked(array) if array.dtype.kind in "OU" else array


def _cast(array: Array, row: DType) -> Array:
    """Cast an array explicitly."""
    own = row_of(array.dtype)
    if row is own:
        if row is STRING:
            check_strings(array)
        return array
    if (row is STRING) != (own is STRING):
        raise EncodeError(f"expected {row.readable} values, got an array of {array.dtype}")
    return array.astype(row.dtype)


def _fitting(array: Array, row: DType) -> Array:
    """Convert Python values to the wanted dtype, without wrapping, truncation or infinities."""
    if array.dtype.kind == "O" and isinstance(next(array.flat, None), int):  # integers larger than 64 bits
        if row.field not in (Field.FLOAT, Field.DOUBLE):
            raise EncodeError(_TOO_LARGE)
        try:
            array = array.astype(np.float64)  # rounded to the nearest float
        except OverflowError:
            raise EncodeError(f"expected {row.readable} values, got integers too large for a float") from None
    own = row_of(array.dtype)
    if (row is STRING) != (own is STRING) and array.size:
        raise EncodeError(f"expected {row.readable} values, got {shown(array.tolist())}")
    if row is STRING or not array.size:
        return array.astype(row.dtype)
    target = row.dtype
    base = target if target.fields is None else np.dtype(next(iter(target.fields.values()))[0])
    kind = base.kind if base.kind in _RANK else ("i" if row.name.startswith(("int", "uint")) else "f")
    if _RANK[array.dtype.kind] > _RANK[kind] or (kind == "b" and array.dtype.kind != "b"):
        raise EncodeError(f"expected {row.readable} values, got {array.dtype.name}")
    cast = _rounded(array, base)
    # The signs are compared because a negative number has the same bits as a large unsigned one.
    if kind in "iu" and not (np.array_equal(cast.astype(array.dtype), array) and np.array_equal(cast < 0, array < 0)):
        raise EncodeError(f"expected values that fit {row.readable}, got {shown(array.tolist())}")
    return cast.view(target) if target.fields is not None else cast


def _rounded(array: Array, dtype: np.dtype[np.generic]) -> Array:
    """Cast the array; floats may lose digits, but never become infinite."""
    with np.errstate(over="raise"):
        try:
            return array.astype(dtype)
        except FloatingPointError:
            got = shown(array.tolist())
            raise EncodeError(f"expected values that fit {dtype}, got {got}; ask for a wider dtype") from None


def check_strings(array: Array) -> None:
    """Raise EncodeError unless every element of an object array is str or bytes."""
    if array.dtype.kind == "O":
        strings.checked(array)
