"""cast=True: arrays take the signature's dtype where every value survives, in every way of calling."""

from __future__ import annotations

import numpy as np
import pytest
from calling import GRPC, STYLES, calling

from tfs_client import ConfigError, InvalidArgumentError, MicroBatcher, PredictClient, SignatureError, TensorSpec
from tfs_client.testing import FakeServer

SPECS = {
    dtype: TensorSpec(dtype, (None,)) for dtype in ("float32", "float64", "int32", "int64", "uint8", "bool", "string")
}


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        for dtype, spec in SPECS.items():
            server.add_model(f"of-{dtype}", lambda x: x, inputs={"x": spec}, outputs={"y": spec})
        server.add_model(
            "two",
            lambda x, by: x * by,
            inputs={"x": SPECS["float32"], "by": TensorSpec("float32", ())},
            outputs={"y": SPECS["float32"]},
        )
        yield server


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.fixture
def client(server, style):
    server.clear_calls()
    with calling(style, server, timeout=20, cast=True) as client:
        yield client


@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.float64([0.1, 2]), "float32"),
        (np.int64([1, 2]), "int32"),
        (np.int64([1, 2**24]), "float32"),
        (np.float64([1, 2]), "int64"),
        (np.float32([0, 255]), "uint8"),
        (np.uint8([7]), "int64"),
        (np.float64([np.nan, np.inf]), "float32"),
        ([1.0, 2.0], "int64"),
    ],
)
def test_arrays_are_cast_where_every_value_survives(client, array, dtype, named):
    got = client.predict({"x": array} if named else array, model=f"of-{dtype}").array
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got, np.array(array).astype(dtype))


@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
@pytest.mark.parametrize(
    ("array", "dtype", "value"),
    [
        (np.float64([1, 1e300]), "float32", r"1e\+300 at \[1\] cannot be cast to float32 without loss"),
        (np.float64([2.5]), "int64", r"2.5 at \[0\] cannot be cast to int64 without loss"),
        (np.float64([np.nan]), "int64", r"nan at \[0\] cannot be cast to"),
        (np.int64([5, 256]), "uint8", r"256 at \[1\] cannot be cast to uint8 without loss"),
        (np.int64([2**24 + 1]), "float32", r"16777217 at \[0\] cannot be cast to"),
        (np.float32([1]), "bool", "would change the kind of the values"),
    ],
)
def test_the_value_that_would_not_survive_is_named_and_nothing_is_sent(server, client, array, dtype, value, named):
    with pytest.raises(
        SignatureError, match=rf"input 'x' expects {dtype} \(\?,\), got \w+ \({len(array)},\): .*{value}"
    ):
        client.predict({"x": array} if named else array, model=f"of-{dtype}")
    assert "Predict" not in [call.method for call in server.calls]


def test_bools_and_texts_never_change_their_kind_silently(client):
    for array, dtype in ((np.array([True]), "float32"), (np.array([True]), "int64"), (np.array(["1"]), "int64")):
        with pytest.raises(SignatureError, match=r"input 'x' (takes|expects)"):
            client.predict({"x": array}, model=f"of-{dtype}")
    with pytest.raises(SignatureError, match=r"input 'x' (takes|expects) string"):
        client.predict({"x": np.int64([1])}, model="of-string")


def test_texts_and_arrays_of_the_right_dtype_are_unchanged(client):
    assert client.predict({"x": ["a", b"b"]}, model="of-string").array.tolist() == [b"a", b"b"]
    x = np.float32([1, 2])
    assert client.predict({"x": x, "by": np.float64(2)}, model="two").array.tolist() == [2, 4]


def test_a_call_can_enable_or_disable_the_cast(server, style):
    x = np.float64([0.5])
    with calling(style, server, model="of-float32", timeout=20) as client:
        with pytest.raises(InvalidArgumentError):
            client.predict({"x": x})
        assert client.predict({"x": x}, cast=True).array.tolist() == [0.5]
    with calling(style, server, model="of-float32", timeout=20, cast=True) as client:
        assert client.predict({"x": x}).array.tolist() == [0.5]
        with pytest.raises(InvalidArgumentError):
            client.predict({"x": x}, cast=False)
        with pytest.raises(ConfigError, match="expected cast to be True or False"):
            client.predict({"x": x}, cast="yes")


def test_refusals_suggest_the_cast_where_it_would_help(server, style):
    with calling(style, server, timeout=20) as client:
        for array, dtype, named in (
            (np.float64([1]), "float32", True),
            (np.float64([1e300]), "float32", False),
            (np.float64([2.5]), "int64", False),
            (np.array([True]), "float32", False),
        ):
            with pytest.raises(InvalidArgumentError) as caught:
                client.predict({"x": array}, model=f"of-{dtype}")
            assert ("pass cast=True to cast it" in caught.value.hint) is named
            with pytest.raises(SignatureError) as early:
                client.predict({"x": array}, model=f"of-{dtype}", validate=True)
            assert ("pass cast=True to cast it" in str(early.value)) is named
        with pytest.raises(SignatureError, match=r"array\.astype\('float32'\), or with cast=True"):
            client.predict(np.float64([0.1]), model="of-float32")
        with pytest.raises(SignatureError) as lossy:
            client.predict(np.float64([0.5]), model="of-int64")
        assert "cast=True" not in str(lossy.value)
        with pytest.raises(SignatureError, match="pass cast=True to cast it"):
            client.predict({"x": [1.0]}, model="of-int64")


def test_checks_come_after_the_cast(client):
    assert client.predict({"x": np.float64([0.5])}, model="of-float32", validate=True).array.tolist() == [0.5]


def test_the_signature_is_requested_once(server, client, style):
    for _ in range(3):
        client.predict({"x": np.float64([0.5])}, model="of-float32")
    methods = [call.method for call in [*server.lookups, *server.calls]]
    assert methods == ["GetModelMetadata", "Predict", "Predict", "Predict"]


def test_names_missing_in_the_signature_are_refused_by_the_server(client):
    with pytest.raises(InvalidArgumentError) as caught:
        client.predict({"X": np.float64([0.5])}, model="of-float32")
    assert "'X' is not an input, but 'x' is" in caught.value.hint


def test_batches_are_cast(server, client):
    rows = np.arange(20, dtype=np.float64)
    for inputs in ({"x": rows}, rows):
        got = client.predict_batched(inputs, model="of-float32", batch_size=6).array
        assert (got.dtype, got.tolist()) == (np.float32, rows.tolist())
    with pytest.raises(SignatureError, match=r"19.5 at \[\d\] cannot be cast to"):
        client.predict_batched({"x": np.append(rows, 19.5)}, model="of-int64", batch_size=6)


@pytest.mark.parametrize("style", ["grpc", "rest"], indirect=True)
def test_examples_are_cast_and_the_one_that_does_not_survive_fails_alone(server, style):
    target = server.target if style in GRPC else server.rest_url
    examples = [{"x": np.float64(value)} for value in (1, 2, 2.5, 3)]
    with PredictClient(target, model="of-int64", timeout=20) as client:
        first, second, third, fourth = client.predict_many(examples, cast=True, on_error="return")
        assert [first["y"].item(), second["y"].item(), fourth["y"].item()] == [1, 2, 3]
        assert isinstance(third, SignatureError)
        with MicroBatcher(client, cast=True) as batcher:
            assert batcher.predict({"x": np.float64(4)})["y"].item() == 4
