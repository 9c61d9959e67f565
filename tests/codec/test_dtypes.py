"""The table of dtypes: TensorFlow's numbers, fields, widths and spellings; names of every kind."""

import subprocess
import sys

import numpy as np
import pytest

from tfs_client._codec.dtypes import BY_NUMBER, ROWS, Field, find, row_of
from tfs_client.errors import EncodeError, TFServingError

from .samples import HAS_ML_DTYPES

# number, typed field, bytes of an element in tensor_content, spelling: types.proto in tensorflow/core/framework.
EXPECTED = """
0 - - invalid
1 float_val 4 float
2 double_val 8 double
3 int_val 4 int32
4 int_val 1 uint8
5 int_val 2 int16
6 int_val 1 int8
7 string_val - string
8 scomplex_val 8 complex64
9 int64_val 8 int64
10 bool_val 1 bool
11 int_val 1 qint8
12 int_val 1 quint8
13 int_val 4 qint32
14 half_val 2 bfloat16
15 int_val 2 qint16
16 int_val 2 quint16
17 int_val 2 uint16
18 dcomplex_val 16 complex128
19 half_val 2 half
20 - - resource
21 - - variant
22 uint32_val 4 uint32
23 uint64_val 8 uint64
24 float8_val 1 float8_e5m2
25 float8_val 1 float8_e4m3fn
26 float8_val 1 float8_e4m3fnuz
27 float8_val 1 float8_e4m3b11fnuz
28 float8_val 1 float8_e5m2fnuz
29 int_val 1 int4
30 int_val 1 uint4
31 int_val 1 int2
32 int_val 1 uint2
33 float8_val 1 float4_e2m1fn
"""
EXPECTED_ROWS = [line.split() for line in EXPECTED.split("\n") if line]

# tensorflow/core/framework/tensor.proto.
FIELD_NUMBERS = {"float_val": 5, "double_val": 6, "int_val": 7, "string_val": 8, "scomplex_val": 9, "int64_val": 10}
FIELD_NUMBERS |= {"bool_val": 11, "dcomplex_val": 12, "half_val": 13, "uint32_val": 16, "uint64_val": 17}
FIELD_NUMBERS |= {"float8_val": 18}


def test_the_table_has_exactly_the_expected_rows():
    assert [row.number for row in ROWS] == [int(number) for number, *_ in EXPECTED_ROWS]
    assert {field.name.lower() + "_val": int(field) for field in Field} == FIELD_NUMBERS


@pytest.mark.parametrize(("number", "field", "size", "spelling"), EXPECTED_ROWS)
def test_a_row_has_the_expected_fields(number, field, size, spelling):
    row = BY_NUMBER[int(number)]
    assert row.name == spelling
    assert row.enum_name == f"DT_{spelling.upper()}"
    assert row.field == FIELD_NUMBERS.get(field)
    if row.extra and not HAS_ML_DTYPES:
        pytest.skip("needs ml_dtypes")
    if size != "-":
        assert row.dtype.itemsize == int(size)
        assert row.dtype.byteorder in "<|="


def test_the_numbers_are_those_of_the_schema():
    from tfs_client.protos.tensorflow.core.framework.types_pb2 import DataType

    published = {name: number for name, number in DataType.items() if number < 100}
    assert {row.enum_name: row.number for row in ROWS} == published


def test_rows_can_be_keys_of_a_cache():
    assert len({row: row.number for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("float32", "float"), ("float", "float"), ("double", "double"), ("half", "half"), ("bool", "bool"),
        ("string", "string"), ("str", "string"), ("bytes", "string"), ("object", "string"), ("S5", "string"),
        (str, "string"), (bytes, "string"), (object, "string"), (float, "double"), (int, "int64"), (bool, "bool"),
        (complex, "complex128"), (np.float16, "half"), (np.int8, "int8"), (np.dtype("<u4"), "uint32"),
        (np.dtype(">f8"), "double"), (np.dtype(">u2"), "uint16"), (np.dtype(">c8"), "complex64"),
        (np.dtype(np.longlong), "int64"), (np.dtype(np.ulonglong), "uint64"), (np.dtype("U3"), "string"),
        (1, "float"), (7, "string"), (19, "half"), (33, "float4_e2m1fn"), ("qint8", "qint8"),
        ("bfloat16", "bfloat16"), ("int4", "int4"), ("resource", "resource"), (np.dtype([("qint32", "<i4")]), "qint32"),
    ],
)  # fmt: skip
def test_dtypes_have_several_names(name, spelling):
    assert find(name).name == spelling


def test_a_row_names_itself():
    assert all(find(row) is row for row in ROWS)


def test_objects_like_tensorflows_own_dtypes_are_known_by_their_number():
    class Half:
        as_datatype_enum = 19

    assert find(Half()).name == "half"


@pytest.mark.skipif(not HAS_ML_DTYPES, reason="needs ml_dtypes")
@pytest.mark.parametrize("row", [row for row in ROWS if row.extra], ids=lambda row: row.name)
def test_the_types_of_ml_dtypes_are_known(row):
    import ml_dtypes

    scalar = getattr(ml_dtypes, row.extra)
    assert row.dtype == np.dtype(scalar)
    assert find(scalar) is row
    assert find(row.name) is row
    assert row_of(np.dtype(scalar)) is row


@pytest.mark.parametrize(
    "name", ["foo", "", "float31", 99, 101, -1, None, 3.5, "datetime64", "V4", [], {"a": 1}, "i4,f4", np.zeros]
)
def test_an_unknown_dtype_is_refused_with_the_list_of_dtypes(name):
    with pytest.raises(EncodeError, match=r"a tensor can hold bool, integers, floats, complex numbers, strings"):
        find(name)


def test_the_refusal_shows_the_name_that_was_given():
    with pytest.raises(EncodeError, match=r"expected a dtype, got 'float31'"):
        find("float31")
    with pytest.raises(EncodeError, match=r"numpy dtype datetime64\[s\] has no tensor dtype"):
        row_of(np.dtype("M8[s]"))


@pytest.mark.parametrize("name", ["resource", "variant", "invalid"])
def test_rows_that_numpy_cannot_hold_say_so(name):
    with pytest.raises(TFServingError, match=rf"TensorFlow's {name} tensors have no numpy dtype"):
        find(name).dtype  # noqa: B018


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i8", "u2", "c16", "f2"])
def test_byte_order_does_not_change_the_row(dtype):
    assert row_of(np.dtype(">" + dtype)) is row_of(np.dtype("<" + dtype))


@pytest.mark.parametrize(
    "use",
    [
        "as_array([1.5], 'bfloat16')",
        "find('float8_e5m2').dtype",
        r"tensors.read(bytes.fromhex('080e12041202080122020000'))",
    ],
)
def test_without_ml_dtypes_the_error_names_the_extra(use):
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "from tfs_client._codec import tensors\n"
        "from tfs_client._codec.dtypes import find\n"
        "from tfs_client._codec.values import as_array\n"
        "from tfs_client.errors import TFServingError\n"
        f"try: {use}\n"
        "except TFServingError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "need the package ml-dtypes" in run.stdout
    assert "tfs-client[bfloat16]" in run.stdout
