"""Casts that every value survives: exact for integers, finite for floats, and never to another kind."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tfs_client._codec.casts import survives, surviving_cast
from tfs_client._codec.dtypes import find
from tfs_client.errors import EncodeError

from .samples import HAS_ML_DTYPES

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64")


def cast(array, dtype):
    return surviving_cast(np.asarray(array), find(dtype))


@pytest.mark.parametrize(
    ("array", "dtype", "expected"),
    [
        (np.float64([0.1, -2.5]), "float32", np.float32([0.1, -2.5])),
        (np.float64([np.inf, -np.inf, np.nan, -0.0]), "float16", np.float16([np.inf, -np.inf, np.nan, -0.0])),
        (np.float64([3.0, -4.0]), "int32", np.int32([3, -4])),
        (np.float32([-(2.0**63)]), "int64", np.int64([-(2**63)])),
        (np.int64([2**24, -(2**63)]), "float32", np.float32([2**24, -(2.0**63)])),
        (np.int64([[0, 255]]), "uint8", np.uint8([[0, 255]])),
        (np.uint8([200]), "int16", np.int16([200])),
        (np.float64([1.5]), "complex64", np.complex64([1.5])),
        (np.complex128([1 + 2j]), "complex64", np.complex64([1 + 2j])),
        (np.array([7, 1], ">i8"), "int32", np.int32([7, 1])),
        (np.zeros((0, 3)), "uint8", np.zeros((0, 3), np.uint8)),
        (np.float64(2.0), "int64", np.int64(2)),
    ],
)
def test_values_that_survive_are_cast(array, dtype, expected):
    got = cast(array, dtype)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("array", "dtype", "named"),
    [
        (np.float64([0.1, 1e300]), "float32", r"1e\+300 at \[1\] cannot be cast to float32 without loss"),
        (np.float32([7e4]), "float16", r"70000.0 at \[0\] cannot be cast to"),
        (np.float64([[1, 2.5]]), "int32", r"2.5 at \[0, 1\] cannot be cast to int32 without loss"),
        (np.float64(np.nan), "int8", "nan cannot be cast to int8 without loss"),
        (np.float64([np.inf]), "int64", "inf at"),
        (np.float64([2.0**63]), "int64", r"9.223372036854776e\+18 at"),
        (np.float64([2.0**64]), "uint64", r"1.8446744073709552e\+19 at"),
        (np.float64([-1.0]), "uint8", "-1.0 at"),
        (np.int64([2**24 + 1]), "float32", r"16777217 at \[0\] cannot be cast to float32 without loss"),
        (np.int64([2**63 - 1]), "float64", "9223372036854775807 at"),
        (np.uint64([2**64 - 1]), "float64", "18446744073709551615 at"),
        (np.int64([5, 2**31]), "int32", r"2147483648 at \[1\]"),
        (np.int64([-1]), "uint64", "-1 at"),
        (np.uint64([2**63]), "int64", "9223372036854775808 at"),
        (np.int64([70000]), "float16", "70000 at"),
        (np.complex128([1e300j]), "complex64", r"1e\+300j at"),
        (np.array([True]), "float32", "a cast from bool to float32 would change the kind"),
        (np.float32([1]), "bool", "a cast from float32 to bool would change the kind"),
        (np.complex64([1]), "float32", "a cast from complex64 to float32 would change the kind"),
        (np.array([b"1"], object), "int64", "a cast from string to int64 would change the kind"),
        (np.int64([1]), "string", "a cast from int64 to string would change the kind"),
    ],
)
def test_the_value_that_does_not_survive_is_named(array, dtype, named):
    with pytest.raises(EncodeError, match=named):
        cast(array, dtype)
    assert not survives(np.asarray(array), find(dtype))


def test_an_array_of_the_dtype_is_not_copied():
    array = np.float32([1])
    assert cast(array, "float32") is array


def test_quantized_integers_are_accepted_unchanged():
    got = cast(np.int64([-128, 127]), "qint8")
    assert got["qint8"].tolist() == [-128, 127]
    with pytest.raises(EncodeError, match="128 at"):
        cast(np.int64([128]), "qint8")


@pytest.mark.skipif(not HAS_ML_DTYPES, reason="ml-dtypes is missing")
def test_small_floats_and_integers_of_ml_dtypes():
    assert cast(np.float64([0.1, np.inf]), "bfloat16").dtype.name == "bfloat16"
    assert cast(np.int64([7, -8]), "int4").tolist() == [7, -8]
    assert cast(cast(np.int64([3]), "int4"), "int64").tolist() == [3]
    for array, dtype in (
        (np.float64([1e39]), "bfloat16"),
        (np.int64([257]), "bfloat16"),
        (np.float32([500]), "float8_e4m3fn"),
        (np.float32([np.inf]), "float8_e4m3fn"),  # it has no infinity
        (np.int64([8]), "int4"),
        (np.int64([-1]), "uint4"),
    ):
        with pytest.raises(EncodeError, match="cannot be cast to"):
            cast(array, dtype)


@settings(deadline=None)
@given(st.sampled_from(INTEGERS + FLOATS), st.sampled_from(INTEGERS + FLOATS), st.data())
def test_a_cast_succeeds_exactly_if_the_value_survives(source, target, data):
    """Against Python's own numbers, which are exact."""
    array = data.draw(arrays(source, (1,)))
    row = find(target)
    value = array[0].item()
    try:
        got = surviving_cast(array, row)[0].item()
    except EncodeError:
        got = None
    if source in FLOATS and target in FLOATS:
        if np.isnan(value):
            assert np.isnan(got)
        else:
            with np.errstate(over="ignore"):
                rounded = np.dtype(target).type(value).item()
            assert got == rounded if np.isinf(rounded) == np.isinf(value) else got is None
        return
    finite = bool(np.isfinite(value))
    if target in INTEGERS:
        info = np.iinfo(target)
        fits = finite and Fraction(value).denominator == 1 and info.min <= value <= info.max
    else:
        with np.errstate(over="ignore"):
            rounded = array.astype(target)[0].item()
        fits = bool(np.isfinite(rounded)) and Fraction(rounded) == value
    assert (got is not None) == fits
    if fits:
        assert got == value
