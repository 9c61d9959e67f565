"""The table of tensor dtypes: TensorFlow's number and spelling, numpy's type, and the typed field of the values.

Numbers, fields and spellings: tensorflow/core/framework/types.proto and tensor.proto. To add a dtype, add a row.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tfs_client.errors import EncodeError, TFServingError

Array = np.ndarray[Any, Any]
"""An array of any shape and dtype."""


class Field(enum.IntEnum):
    """The typed fields of TensorProto, by field number."""

    FLOAT = 5
    DOUBLE = 6
    INT = 7
    STRING = 8
    SCOMPLEX = 9
    INT64 = 10
    BOOL = 11
    DCOMPLEX = 12
    HALF = 13
    UINT32 = 16
    UINT64 = 17
    FLOAT8 = 18


@dataclass(frozen=True)
class DType:
    """A row of the table.

    Attributes:
        number: the value of TensorFlow's ``DataType`` enum.
        name: TensorFlow's spelling, as its error texts print it ("float", "half", "bfloat16").
        field: the typed field of TensorProto that holds the values; None where numpy has no such values.
        spec: the argument of ``numpy.dtype()``; None if numpy itself does not have the type.
        extra: the name of the type in the ml_dtypes package; "" if it is not from there.
    """

    number: int
    name: str
    field: Field | None = None
    spec: Any = None
    extra: str = ""

    @property
    def enum_name(self) -> str:
        """The name of the enum value, e.g. ``"DT_FLOAT"``."""
        return f"DT_{self.name.upper()}"

    @property
    def readable(self) -> str:
        """The name for our own error texts: numpy's, "string" for bytes, TensorFlow's where numpy has none."""
        return np.dtype(self.spec).name if isinstance(self.spec, str) and self.name != "string" else self.name

    @cached_property
    def dtype(self) -> Any:
        """The numpy dtype, little-endian.

        Raises TFServingError if numpy has none, or if ml_dtypes is missing or too old.
        """
        if self.spec is not None:
            return np.dtype(self.spec)
        if not self.extra:
            raise TFServingError(f"TensorFlow's {self.name} tensors have no numpy dtype")
        hint = "pip install -U 'tfs-client[bfloat16]'"
        try:
            import ml_dtypes
        except ImportError:
            raise TFServingError(f"{self.name} tensors need the package ml-dtypes: {hint}") from None
        if not hasattr(ml_dtypes, self.extra):
            raise TFServingError(f"{self.name} tensors need a newer ml-dtypes than {ml_dtypes.__version__}: {hint}")
        return np.dtype(getattr(ml_dtypes, self.extra))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy a row as itself, because rows are compared by identity."""
        return _numbered, (self.number,)


ROWS = (
    DType(0, "invalid"),
    DType(1, "float", Field.FLOAT, "<f4"),
    DType(2, "double", Field.DOUBLE, "<f8"),
    DType(3, "int32", Field.INT, "<i4"),
    DType(4, "uint8", Field.INT, "u1"),
    DType(5, "int16", Field.INT, "<i2"),
    DType(6, "int8", Field.INT, "i1"),
    DType(7, "string", Field.STRING, "O"),
    DType(8, "complex64", Field.SCOMPLEX, "<c8"),
    DType(9, "int64", Field.INT64, "<i8"),
    DType(10, "bool", Field.BOOL, "?"),
    # TensorFlow represents quantized types in numpy as one-field structures; array["qint8"] gives the integers.
    DType(11, "qint8", Field.INT, np.dtype([("qint8", "i1")])),
    DType(12, "quint8", Field.INT, np.dtype([("quint8", "u1")])),
    DType(13, "qint32", Field.INT, np.dtype([("qint32", "<i4")])),
    DType(14, "bfloat16", Field.HALF, extra="bfloat16"),
    DType(15, "qint16", Field.INT, np.dtype([("qint16", "<i2")])),
    DType(16, "quint16", Field.INT, np.dtype([("quint16", "<u2")])),
    DType(17, "uint16", Field.INT, "<u2"),
    DType(18, "complex128", Field.DCOMPLEX, "<c16"),
    DType(19, "half", Field.HALF, "<f2"),
    DType(20, "resource"),
    DType(21, "variant"),
    DType(22, "uint32", Field.UINT32, "<u4"),
    DType(23, "uint64", Field.UINT64, "<u8"),
    DType(24, "float8_e5m2", Field.FLOAT8, extra="float8_e5m2"),
    DType(25, "float8_e4m3fn", Field.FLOAT8, extra="float8_e4m3fn"),
    DType(26, "float8_e4m3fnuz", Field.FLOAT8, extra="float8_e4m3fnuz"),
    DType(27, "float8_e4m3b11fnuz", Field.FLOAT8, extra="float8_e4m3b11fnuz"),
    DType(28, "float8_e5m2fnuz", Field.FLOAT8, extra="float8_e5m2fnuz"),
    DType(29, "int4", Field.INT, extra="int4"),
    DType(30, "uint4", Field.INT, extra="uint4"),
    DType(31, "int2", Field.INT, extra="int2"),
    DType(32, "uint2", Field.INT, extra="uint2"),
    DType(33, "float4_e2m1fn", Field.FLOAT8, extra="float4_e2m1fn"),
)

BY_NUMBER: dict[int, DType] = {row.number: row for row in ROWS}
BY_NAME: dict[str, DType] = {row.name: row for row in ROWS}
BY_DTYPE: dict[np.dtype[np.generic], DType] = {row.dtype: row for row in ROWS if row.spec is not None}
STRING = BY_NAME["string"]


class ArrayShape(NamedTuple):
    """The dtype and shape of one input."""

    row: DType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The bytes of its array."""
        size: int = self.row.dtype.itemsize
        return math.prod(self.shape) * size


def _numbered(number: int) -> DType:
    return BY_NUMBER[number]


SUPPORTED = "bool, integers, floats, complex numbers, strings, and the ml-dtypes types"


def row_of(dtype: np.dtype[np.generic]) -> DType:
    """Return the row of a numpy dtype of any byte order. Raises EncodeError for dtypes that no tensor can hold."""
    row = BY_DTYPE.get(dtype)
    if row is None:
        row = _uncommon_row_of(dtype)
        if row is None:
            raise EncodeError(f"numpy dtype {dtype} has no tensor dtype; a tensor can hold {SUPPORTED}{_advice(dtype)}")
    return row


def _advice(dtype: np.dtype[np.generic]) -> str:
    if dtype.kind == "M":
        return "; send dates as numbers, values.astype('datetime64[s]').astype('int64'), or as text, values.astype(str)"
    if dtype.kind == "m":
        return "; send durations as numbers, e.g. values.astype('timedelta64[s]').astype('int64')"
    if dtype.kind in "fc":  # long double
        return f"; values.astype({'float64' if dtype.kind == 'f' else 'complex128'!r})"
    return "; send its fields one by one, values['name']" if dtype.fields else ""


def _uncommon_row_of(dtype: np.dtype[np.generic]) -> DType | None:
    if dtype.kind in "SU":
        return STRING
    if not dtype.isnative or dtype.kind in "iu":  # "iu": on some platforms two C types have the same width
        return BY_DTYPE.get(dtype.newbyteorder("<")) or BY_DTYPE.get(np.dtype(f"<{dtype.kind}{dtype.itemsize}"))
    if dtype.type.__module__.startswith("ml_dtypes"):
        row = BY_NAME.get(dtype.name)
        return row if row and row.extra else None
    return None


def find(dtype: Any) -> DType:
    """Return the row for anything that names a dtype.

    Accepts numpy dtypes, scalar types and names ("float32"), TensorFlow's spellings ("float", "string", "bfloat16"),
    Python's ``str``, ``bytes``, ``float``, …, numbers of the ``DataType`` enum, and TensorFlow's own DType objects.
    Raises EncodeError for anything else.
    """
    if isinstance(dtype, DType):
        return dtype
    number = getattr(dtype, "as_datatype_enum", dtype)
    if isinstance(number, int) and not isinstance(number, bool) and number in BY_NUMBER:
        return BY_NUMBER[number]
    if isinstance(dtype, str) and dtype in BY_NAME:  # before numpy, which reads "float" as float64
        return BY_NAME[dtype]
    try:
        if dtype is None:  # numpy reads None as float64; here it is most likely a mistake
            raise TypeError
        return row_of(np.dtype(dtype))
    except EncodeError:
        raise
    except (TypeError, ValueError):
        raise EncodeError(f"expected a dtype, got {dtype!r}; a tensor can hold {SUPPORTED}") from None
