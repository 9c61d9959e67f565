"""Values of other packages, with stand-ins that behave alike. The real ones are in tests/peers/test_foreign.py.

Every value becomes an array that fits a tensor, or an EncodeError that says what to do; the same on the wire and as
JSON.
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import io
import json
import pathlib
import re
import sys
from base64 import b64encode

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec import predict_messages, rest_json, tensors
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.values import as_array, read
from tfs_client.errors import EncodeError

from .samples import HAS_ML_DTYPES


class Raising:
    """Its conversion raises."""

    def __init__(self, error, **attributes):
        self.error = error
        self.__dict__ |= attributes

    def __array__(self, dtype=None, copy=None):
        raise self.error


class Attributes:
    def __init__(self, **attributes):
        self.__dict__ |= attributes


def refusal(values, dtype=None):
    with pytest.raises(EncodeError) as caught:
        as_array(values, dtype)
    return caught.value


# --- conversions that raise ------------------------------------------------------------------------------------------

GRAD = RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


@pytest.mark.parametrize(
    ("value", "way"),
    [
        (Raising(RuntimeError("no"), requires_grad=True), "detach it first: tensor.detach()"),
        (Raising(GRAD), "detach it first: tensor.detach()"),
        (Raising(TypeError("no"), device=Attributes(type="cuda")), "copy it to the CPU first: tensor.cpu()"),
        (Raising(TypeError("no"), __cuda_array_interface__={}), "copy it to the CPU first"),
        (Raising(TypeError("no"), device=Attributes(type="meta")), "a tensor on the device 'meta' has no values"),
        (Raising(TypeError("no"), layout="torch.sparse_csr"), "make it dense first: x.to_dense()"),
        (Raising(TypeError("no"), is_quantized=True), "x.dequantize()"),
        (Raising(RuntimeError("no"), is_nested=True), "tensors are not ragged: pad it"),
        (Raising(NotImplementedError("Cannot convert a symbolic tf.Tensor")), "a symbolic tensor has no values"),
        (Raising(ValueError("A KerasTensor is symbolic")), "a symbolic tensor has no values"),
        (Raising(KeyError("x")), "a tensor can hold"),
        (Raising(RecursionError("deep")), "a tensor can hold"),
        (Raising(ZeroDivisionError()), "a tensor can hold"),
    ],
)
@pytest.mark.parametrize("nested", [False, True], ids=["alone", "in a list"])
def test_an_exception_in_a_conversion_is_the_cause_of_an_encode_error(value, way, nested):
    error = refusal([[np.float32(1)], [value]] if nested else value)
    assert error.__cause__ is value.error
    assert type(value.error).__name__ in str(error)
    assert way in str(error)
    assert "Raising cannot be read as an array (" in str(error)
    assert str(error).startswith("element (1, 0): ") is nested


def test_a_memory_error_is_not_an_encode_error():
    with pytest.raises(MemoryError):
        as_array(Raising(MemoryError()))
    with pytest.raises(MemoryError):
        read([Raising(MemoryError())])


class Hostile:
    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")


class Ambiguous:
    def __len__(self):
        raise KeyError("len")

    def __getitem__(self, index):
        raise KeyError("item")

    def __iter__(self):
        raise ZeroDivisionError("iter")


class Liar:
    @property
    def __class__(self):
        raise RuntimeError("class")


class Mute:
    def __repr__(self):
        raise RuntimeError("repr")


class Endless(collections.abc.Sequence):
    """Like str, every element is a sequence too."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index < 2:
            return self
        raise IndexError


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("str")


class Speechless(Raising):
    def __init__(self):
        super().__init__(Unspeakable())


HOSTILE = [Hostile, Ambiguous, Liar, Mute, Endless, Speechless]


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("wrapped", [lambda v: v, lambda v: [v], lambda v: ["a", v], lambda v: [[1], [v]]])
def test_objects_that_raise_on_every_access_are_refused(kind, wrapped):
    refusal(wrapped(kind()))
    refusal(wrapped(kind()), "string")


# --- what is not a tensor, and what to do ----------------------------------------------------------------------------

NAN = float("nan")
NAType = type("NAType", (), {"__ne__": lambda self, other: self, "__bool__": lambda self: [][0]})
DATE = datetime.datetime(2020, 1, 1)


@pytest.mark.parametrize(
    ("values", "where", "way"),
    [
        ([1, None], "element 1: ", "tensors have no gaps: fill them first, e.g. with column.fillna"),
        ([["a"], [None]], "element (1, 0): ", "tensors have no gaps"),
        (["a", NAN], " at element 1; ", "tensors have no gaps"),
        ([NAN, "a"], " at element 0; ", "tensors have no gaps"),
        ([1, NAType()], "element 1: ", "tensors have no gaps"),
        (np.array([b"a", NAType()], object), " at element 1; ", "tensors have no gaps"),
        (DATE, "", "value.timestamp()"),
        ([DATE.date()], "element 0: ", "value.isoformat()"),
        ([datetime.timedelta(1)], "element 0: ", "value.total_seconds()"),
        (np.array(["2020"], "M8[D]"), "", "values.astype('datetime64[s]').astype('int64')"),
        ([np.datetime64("2020")], "", "values.astype(str)"),
        (np.zeros(1, "m8[s]"), "", "send durations as numbers"),
        ([decimal.Decimal("1.5")], "element 0: ", "float(value), or str(value)"),
        (fractions.Fraction(1, 3), "", "float(value)"),
        (pathlib.PurePath("x"), "", "str(path) for its name, or path.read_bytes()"),
        (io.BytesIO(b"x"), "", "file.read()"),
        ({"a": 1}, "", "only {'b64': '...'} is read as bytes"),
        ([{"a": 1}], "element 0: ", "serialized_examples makes tf.Examples"),
        ({1, 2}, "", "send sorted(values)"),
        ((n for n in range(2)), "", "send list(values)"),
        ({1: 2}.values(), "", "send list(values)"),
        (np.array([1, 2], object), " at element 0; ", "values.astype('float32')"),
        (np.array([[1], [1, 2]], object), " at element 0; ", "np.stack(list(rows))"),
        (np.zeros(1, "i4,f4"), "", "send its fields one by one, values['name']"),
        (Attributes(dense_shape=(1,), indices=[], values=[]), "", "tf.sparse.to_dense(x)"),
        ([Attributes(toarray=None)], "element 0: ", "x.toarray()"),
        (Attributes(row_splits=[]), "", "tensors are not ragged: pad it"),
        ([[1, 2], [3]], "", "pad ragged lists, or send them one by one"),
    ],
)  # fmt: skip
def test_a_refusal_says_where_and_what_to_do(values, where, way):
    text = str(refusal(values))
    assert where in text
    assert way in text


@pytest.mark.skipif(np.dtype("g").itemsize == 8, reason="long doubles are doubles here")
def test_long_doubles_are_refused_with_the_cast_that_helps():
    assert "values.astype('float64')" in str(refusal(np.zeros(1, np.longdouble)))
    assert "values.astype('complex128')" in str(refusal([np.clongdouble(1)]))


def test_integers_with_more_digits_than_python_prints_are_refused():
    for values in (10**5000, [1, 10**5000], [[10**5000, 1.5]]):
        refusal(values)


def test_lists_that_hold_themselves_are_refused():
    once, twice, deep = [], [], 1
    once.append(once)
    twice += [twice, twice]
    for _ in range(5000):
        deep = [deep]
    for values in (once, twice, deep):
        assert "deeper ones, or a list that contains itself" in str(refusal(values))


# --- masks -----------------------------------------------------------------------------------------------------------


def test_masked_values_are_refused_and_an_empty_mask_is_not():
    values = np.ma.masked_array([[1.0, 2], [3, 4]], [[0, 0], [1, 0]])
    assert "1 of its values masked, the first at element (1, 0); send array.filled(value)" in str(refusal(values))
    for masked in ([values], np.ma.masked, [1.0, np.ma.masked], Attributes(__array__=lambda *a, **k: values)):
        assert "expected an array without a mask" in str(refusal(masked)) or "Attributes" in str(refusal(masked))
    for mask in (np.ma.nomask, [0, 0], False):
        found = as_array(np.ma.masked_array(np.float32([1, 2]), mask))
        assert (type(found), found.dtype, found.tolist()) == (np.ndarray, np.float32, [1, 2])


def test_a_mask_that_a_conversion_gives_is_not_dropped():
    class Masked:
        def __array__(self, dtype=None, copy=None):
            return np.ma.masked_array([1.0, 2], [0, 1])

    assert "expected an array without a mask" in str(refusal(Masked()))


# --- protocols -------------------------------------------------------------------------------------------------------

DATA = np.arange(6, dtype=np.float32).reshape(2, 3)


class Interface:
    @property
    def __array_interface__(self):
        return DATA.__array_interface__


class Struct:
    @property
    def __array_struct__(self):
        return DATA.__array_struct__


class Pack:
    def __init__(self, device=1):
        self.device = device

    def __dlpack__(self, **options):
        return DATA.__dlpack__()

    def __dlpack_device__(self):
        return self.device, 0


@pytest.mark.parametrize("kind", [Interface, Struct, Pack])
def test_the_array_protocols_are_read(kind):
    np.testing.assert_array_equal(as_array(kind()), DATA)
    np.testing.assert_array_equal(as_array([kind(), kind()]), np.stack([DATA, DATA]))
    assert as_array(kind(), "float64").dtype == np.float64


def test_dlpack_on_another_device_is_refused():
    assert "DLPack device type 2; copy it to the CPU first" in str(refusal(Pack(device=2)))


def test_buffers_are_numbers_of_their_format():
    assert as_array(array.array("i", [1, 2])).tolist() == [1, 2]
    assert as_array(array.array("f", [1, 2])).dtype == np.float32
    assert as_array(memoryview(DATA)).tolist() == DATA.tolist()
    for values in (bytearray(b"a\0"), memoryview(b"a\0"), memoryview(b"a\0").cast("c")):
        found = as_array(values)
        assert (found.dtype, found.tolist()) == (np.uint8, [97, 0])
    released = memoryview(b"a")
    released.release()
    assert isinstance(refusal(released).__cause__, ValueError)


@pytest.mark.parametrize("values", [bytearray(b"a\0"), memoryview(b"a\0"), memoryview(b"a\0").cast("c")])
def test_buffers_of_bytes_are_one_string_where_a_string_is_wanted(values):
    found = as_array(values, "string")
    assert (found.shape, found.dtype, found[()]) == ((), object, b"a\0")


def test_text_in_an_array_of_characters_keeps_its_zeros():
    code = "w" if sys.version_info >= (3, 13) else "u"
    assert tensors.read(tensors.write(as_array(array.array(code, "a\0")))).tolist() == [b"a", b"\0"]


def test_sequences_of_python_numbers_are_treated_like_lists():
    for values in (collections.deque([1, 2]), collections.UserList([1, 2])):
        assert as_array(values).dtype == np.int32
        assert as_array([values, values], "float32").tolist() == [[1, 2], [1, 2]]


def test_a_narrow_type_of_torch_needs_ml_dtypes_and_torch():
    value = Raising(TypeError("Got unsupported ScalarType BFloat16"), dtype="torch.bfloat16")
    text = "cannot be read as an array" if HAS_ML_DTYPES else "need the package ml-dtypes.*; or send tensor.float()"
    assert re.search(text, str(refusal(value)))


# --- columns ---------------------------------------------------------------------------------------------------------


class Column:
    """A column of a nullable dtype, as pandas has them."""

    def __init__(self, values, gaps):
        self.values, self.gaps = values, gaps
        self.dtype = Attributes(numpy_dtype=np.dtype("int32"))

    def isna(self):
        return np.array(self.gaps)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, object if dtype is None else dtype)


def test_a_nullable_column_without_gaps_has_its_numpy_dtype():
    found = as_array(Column([1, 2], [False, False]))
    assert (found.dtype, found.tolist()) == (np.int32, [1, 2])


def test_a_nullable_column_with_gaps_is_refused_with_the_first():
    text = str(refusal(Column([1, None, None], [False, True, True])))
    assert "got 2 missing, the first at element 1; " in text
    assert "column.fillna(0)" in text


# --- strings on the wire and as JSON ---------------------------------------------------------------------------------


class Name(str, enum.Enum):
    FIRST = "one"


def wire_of(values):
    """What the wire carries, read again."""
    written = predict_messages.write_request(ModelSpec("m"), {"x": as_array(values)})
    return predict_messages.read_request(written).tensor("x")


def json_of(values, *, row=False):
    """What JSON carries, with the base64 undone."""
    document = json.loads(rest_json.write_request({"x": as_array(values)}, "", row=row))
    return document["instances"] if row else document["inputs"]["x"]


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({"b64": "aGk="}, b"hi"), ({"b64": "aGk"}, b"hi"), ({"b64": b"aGk="}, b"hi"), ({"b64": ""}, b""),
        ([{"b64": "/w=="}, "é"], [b"\xff", "é".encode()]), ([[{"b64": "AA=="}], ["x"]], [[b"\0"], [b"x"]]),
        (np.array([{"b64": "aGk="}, "x"], object), [b"hi", b"x"]),
        (Name.FIRST, b"one"), ([Name.FIRST], [b"one"]), (np.array([Name.FIRST], object), [b"one"]),
        (np.array(["a", "é"]), [b"a", "é".encode()]), (np.array([b"a"]), [b"a"]), ("a\0", b"a\0"),
        (np.array([["a", b"\xff"], ["é", ""]], object), [[b"a", b"\xff"], ["é".encode(), b""]]),
    ],
)  # fmt: skip
def test_strings_are_the_same_on_the_wire_and_as_json(values, sent):
    def plain(value):
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value.encode() if isinstance(value, str) else value

    def undone(value):
        if isinstance(value, list):
            return [undone(item) for item in value]
        return as_array(value)[()] if isinstance(value, dict) else value.encode()

    assert wire_of(values).tolist() == plain(sent)
    assert undone(json_of(values)) == plain(sent)
    if isinstance(sent, list):
        assert undone(json_of(values, row=True)) == plain(sent)


@pytest.mark.parametrize("text", ["*", "a", "aGk=x", "é", 5, None, ["aGk="]])
def test_invalid_base64_is_refused(text):
    assert "expected base64 in {'b64': ...}" in str(refusal({"b64": text}))
    assert "element 1: expected base64" in str(refusal(["x", {"b64": text}]))
    assert "expected base64 in {'b64': ...} at element 1" in str(refusal(np.array(["x", {"b64": text}], object)))


BAD = [
    np.array([["a", "b"], ["c", None]], object), np.array([["a", "b"], ["c", 1.5]], object),
    np.array([["a", "b"], ["c", "\ud800"]], object), np.array([["a", "b"], ["c", {"b64": "*"}]], object),
]  # fmt: skip


@pytest.mark.parametrize("array", BAD, ids=["None", "number", "surrogate", "base64"])
def test_both_encoders_name_the_input_and_the_element(array):
    """Also where nothing was checked before: an array may have changed since."""
    texts = set()
    for write in (
        lambda: predict_messages.write_request(ModelSpec("m"), {"x": array}),
        lambda: rest_json.write_request({"x": array}, "", row=False),
        lambda: rest_json.write_request({"x": array}, "", row=True),
        lambda: rest_json.write_request({"x": array, "y": np.zeros(2)}, "", row=True),
    ):
        with pytest.raises(EncodeError) as caught:
            write()
        texts.add(str(caught.value))
    (text,) = texts
    assert text.startswith("input 'x': expected ")
    assert " at element (1, 1)" in text


# --- anything at all -------------------------------------------------------------------------------------------------

ODDITIES = (
    *(object(), int, np.ma.masked, {1}, pathlib.PurePath("x"), Raising(GRAD), Interface(), Pack(), Pack(2), range(2)),
    *(np.float32(1), np.int64(2), np.str_("s"), np.bytes_(b"s"), np.datetime64("2020"), np.longdouble(1)),
    *(np.zeros(2), np.zeros(0), np.zeros((2, 2), ">i4"), np.zeros(1, "i4,f4"), np.ma.masked_array([1, 2], [0, 1])),
    *(np.array(["a", None], object), np.array([1, 2], object), np.array(["é"])),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.text(st.characters(categories=["Cs"]), max_size=1),
    st.binary(max_size=3),
    st.builds(bytearray, st.binary(max_size=3)),
    st.decimals(),
    st.fractions(),
    st.dates(),
    st.builds(lambda text: {"b64": text}, st.text(max_size=4)),
    st.builds(lambda data: {"b64": b64encode(data).decode()}, st.binary(max_size=3)),
    st.integers(0, len(ODDITIES) - 1).map(lambda index: ODDITIES[index]),
    st.sampled_from([Ambiguous, Mute, Endless, Speechless]).map(lambda kind: kind()),
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(collections.deque),
        st.dictionaries(st.text(max_size=2), inner, max_size=2),
        st.builds(lambda item, count: [item] * count, inner, st.integers(0, 3)),
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(ANYTHING)
def test_anything_is_sent_or_refused_and_json_agrees_with_the_wire(value):
    try:
        array = as_array(value)
    except EncodeError:
        return
    sent = wire_of(value)
    assert sent.shape == array.shape
    if tensors.row_of(array.dtype).name in rest_json.CARRIED:
        document = json.loads(rest_json.write_request({"x": array}, "", row=False))["inputs"]["x"]
        again = as_array(document, array.dtype if array.dtype.kind not in "OSU" else "string")
        if array.size:
            np.testing.assert_array_equal(wire_of(again), sent)
