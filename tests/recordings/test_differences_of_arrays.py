"""Comparisons of arrays by alias, and their texts."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import DecodeError
from tfs_client.recordings.differences import compare, differences

KINDS = ("?", "i1", "u8", "<i8", "<f2", "<f4", "<f8", "<c8", "<c16", "O", "S3", "U3")
KINDS += ("bfloat16", "float8_e5m2", "float8_e4m3fn", "int4")
SHAPES = ((), (0,), (1,), (3,), (2, 0), (2, 3), (1, 2, 2))


def dtype_of(kind):
    return np.dtype(getattr(ml_dtypes, kind)) if hasattr(ml_dtypes, kind) else np.dtype(kind)


@st.composite
def arrays(draw, kind=None, shape=None):
    dtype = dtype_of(kind or draw(st.sampled_from(KINDS)))
    shape = draw(st.sampled_from(SHAPES)) if shape is None else shape
    size = int(np.prod(shape, dtype=int))
    if dtype.kind in "OSU":
        values = draw(st.lists(st.sampled_from(["", "a", "b", "\x1b[31m"]), min_size=size, max_size=size))
        flat = np.empty(size, object)
        flat[:] = [value.encode() for value in values] if dtype.kind == "S" else values
    else:
        values = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
        flat = np.array(values, np.int64)
    array = flat.astype(dtype).reshape(shape)
    if "float" in dtype.name and dtype.name != "float8_e4m3fn" and size and draw(st.booleans()):
        array.reshape(-1)[0] = draw(st.sampled_from([np.nan, np.inf]))
    return array


@st.composite
def pairs(draw):
    kind, shape = draw(st.sampled_from(KINDS)), draw(st.sampled_from(SHAPES))
    return draw(arrays(kind, shape)), draw(arrays(kind, shape))


@given(arrays())
@settings(max_examples=60)
def test_an_array_equals_its_copy(array):
    assert differences({"x": array}, {"x": array.copy()}) == []


@given(pairs())
@settings(max_examples=100)
def test_comparisons_are_symmetric_and_count_what_numpy_counts(pair):
    first, second = pair
    there, back = compare("x", first, second), compare("x", second, first)
    unequal = sum(
        not (one == other or (one != one and other != other))
        for one, other in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)
    )
    assert (there is None) == (back is None) == (unequal == 0)
    if there is not None and back is not None:
        assert there.differing == back.differing == unequal
        assert there.largest == back.largest
        assert [(each.index, each.expected) for each in there.elements] == [
            (each.index, pytest.approx(each.got, nan_ok=True) if isinstance(each.got, float) else each.got)
            for each in back.elements
        ]
        assert str(there).isprintable() or "\n" in str(there)
        assert "\x1b" not in str(there)


@given(arrays(), arrays())
@settings(max_examples=60)
def test_any_two_arrays_can_be_compared_and_described(first, second):
    for difference in differences({"x": first}, {"x": second}):
        assert str(difference).startswith("'x': ")


def text_of(expected, got, **tolerance):
    return str(compare("x", np.asarray(expected), np.asarray(got), **tolerance))


def test_texts():
    assert text_of(np.float32([1, 2, 3]), np.float32([1, 2.1, 3])) == (
        "'x': 1 of 3 values differ, by at most 0.1 at [1]\n  [1]: expected 2.0, got 2.1"
    )
    assert text_of(np.float32(1), np.float32(2)) == "'x': the value differs\n  the value: expected 1.0, got 2.0"
    assert text_of(np.float32([1]), np.float64([1, 2])) == "'x': expected float32 (1,), got float64 (2,)"
    assert text_of(np.array([b"a"], object), np.array(["b"], object)) == (
        "'x': the value differs\n  [0]: expected b'a', got b'b'"
    )
    assert text_of([[True, False]], [[True, True]]) == ("'x': 1 of 2 values differ\n  [0, 1]: expected False, got True")


def test_the_worst_element_is_shown_even_if_it_is_not_among_the_first():
    expected, got = np.zeros(100), np.ones(100)
    got[70] = 5
    assert "by at most 5 at [70]" in text_of(expected, got)
    assert "  [70]: expected 0.0, got 5.0\n  and 94 more" in text_of(expected, got)
    got[90] = np.nan
    assert text_of(expected, got).splitlines()[0] == "'x': 100 of 100 values differ"
    assert "  [90]: expected 0.0, got nan" in text_of(expected, got)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_large_integers_are_compared_exactly(dtype):
    assert ", by at most 1 at [1]" in text_of(dtype([0, 2**62 + 1]), dtype([0, 2**62]))
    extremes = compare("x", np.int64([0, -(2**63)]), np.int64([0, 2**63 - 1]))
    assert extremes is not None
    assert extremes.largest == 2.0**64


def test_tolerance_applies_to_floats_of_every_width():
    for kind in ("<f2", "<f4", "<f8", "<c8", "bfloat16", "float8_e5m2", "float8_e4m3fn"):
        expected, got = np.ones(2, dtype_of(kind)), np.full(2, 1.25, dtype_of(kind))
        assert compare("x", expected, got, rtol=0.26) is None
        assert compare("x", expected, got, atol=0.24) is not None
    assert compare("x", np.int32([4]), np.int32([5]), rtol=10, atol=10) is not None


def test_the_worst_element_is_listed_once_and_the_rest_is_counted():
    lines = text_of(np.zeros(9, np.float32), np.full(9, np.nan, np.float32)).splitlines()
    assert lines[1:6] == [f"  [{place}]: expected 0.0, got nan" for place in range(5)]
    assert lines[6:] == ["  and 4 more"]


def test_nan_equals_nan_and_infinities_differ_by_sign():
    assert compare("x", np.float32([np.nan, np.inf]), np.float32([np.nan, np.inf])) is None
    difference = compare("x", np.float32([np.inf]), np.float32([-np.inf]), rtol=1.0)
    assert difference is not None
    assert difference.largest is None


def test_strings_are_compared_as_bytes():
    assert compare("x", np.array(["ä"], object), np.array(["ä".encode()], object)) is None
    assert compare("x", np.array(["ab"]), np.array([b"ab"])) is None


def test_quantized_integers_are_compared():
    expected = np.array([(1,), (2,)], dtype=[("qint8", "i1")])
    assert compare("x", expected, expected.copy()) is None
    assert "[1]: expected 2, got 1" in text_of(expected, np.array([(1,), (1,)], dtype=[("qint8", "i1")]))


def test_huge_broadcast_arrays_cost_as_much_as_what_they_hold():
    shape = (1 << 40, 2)
    ones, twos = (np.broadcast_to(np.float32(value), shape) for value in (1, 2))
    assert compare("x", ones, ones) is None
    difference = compare("x", ones, twos)
    assert difference is not None
    assert (difference.differing, difference.size) == (2 << 40, 2 << 40)
    assert str(difference).splitlines()[0] == f"'x': {2 << 40} of {2 << 40} values differ, by at most 1 at [0, 0]"


def test_arrays_that_declare_too_much_in_different_ways_are_refused():
    rows = np.broadcast_to(np.zeros((1, 1 << 20), np.float32), (1 << 20, 1 << 20))
    with pytest.raises(DecodeError, match="'x' declares"):
        compare("x", rows, rows.T)


def test_aliases_that_only_one_side_has_are_named():
    x = np.float32([1])
    found = differences({"x": x, "z": x}, {"x": x, "y": x})
    assert [str(each) for each in found] == ["'y': was not expected; expected x, z", "'z': is missing; got x, y"]
    assert differences({"x": x, "z": x}, {"x": x, "y": x}, aliases=["x"]) == []
