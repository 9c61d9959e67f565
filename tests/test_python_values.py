"""Python numbers have no dtype: they take that of the signature, in every way of calling."""

from __future__ import annotations

import numpy as np
import pytest
from calling import GRPC, REST, STYLES, calling
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import (
    EncodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    SignatureError,
    TensorSpec,
    make_ndarray,
    make_tensor_proto,
)
from tfs_client._codec.values import Untyped, read
from tfs_client.signatures import Signature
from tfs_client.testing import FakeServer

DTYPES = ("float32", "float64", "int32", "int64", "uint8", "bool", "int8", "uint32", "uint64", "int16")
IDS = TensorSpec("int64", (None, None))


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        for dtype in (*DTYPES, "string", "float16"):
            spec = TensorSpec(dtype)
            server.add_model(f"of-{dtype}", lambda x: x, inputs={"x": spec}, outputs={"y": spec})
        server.add_model("tokens", lambda ids, mask: ids * mask, inputs={"ids": IDS, "mask": IDS}, outputs={"y": IDS})
        server.add_model(
            "dropout",
            lambda x, keep_prob: x * keep_prob,
            inputs={"x": TensorSpec("float32", (None,)), "keep_prob": TensorSpec("float32", ())},
            outputs={"y": TensorSpec("float32", (None,))},
        )
        yield server


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.fixture
def client(server, style):
    server.clear_calls()
    with calling(style, server, timeout=20) as client:
        yield client


def methods(server):
    return [call.method for call in [*server.lookups, *server.calls]]


@pytest.mark.parametrize("named", [True, False], ids=["by name", "bare"])
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "bool"])
def test_whole_numbers_take_the_dtype_of_the_input(client, dtype, named):
    for values in ([1, 2], (3,), range(3), [[1, 2], [3, 4]], 5):
        got = client.predict({"x": values} if named else values, model=f"of-{dtype}").array
        assert got.dtype == np.dtype(dtype)
        assert got.tolist() == np.array(values).tolist()


@pytest.mark.parametrize("style", GRPC, indirect=True)
def test_a_dtype_that_only_grpc_carries(client):
    assert client.predict({"x": [1, 0.5]}, model="of-float16").array.dtype == np.float16


def test_numbers_that_tensorflows_widths_cannot_hold_fit_the_signatures(client):
    assert client.predict({"x": [1e300, 0.1]}, model="of-float64").array.tolist() == [1e300, 0.1]
    assert client.predict({"x": [2**64 - 1, 0]}, model="of-uint64").array.tolist() == [2**64 - 1, 0]
    assert client.predict({"x": [True, False]}, model="of-bool").array.tolist() == [True, False]


def test_lists_of_token_ids_are_sent_as_int64(client):
    inputs = {"ids": [[101, 7592, 102]], "mask": [[1, 1, 0]]}
    assert client.predict(inputs, model="tokens")["y"].tolist() == [[101, 7592, 0]]


def test_a_number_can_be_sent_with_an_array(client):
    x = np.float32([1, 2])
    assert client.predict({"x": x, "keep_prob": 1}, model="dropout")["y"].tolist() == [1, 2]
    assert client.predict({"x": x, "keep_prob": 0.5}, model="dropout")["y"].tolist() == [0.5, 1]


def test_a_single_list_of_arrays_takes_the_dtype_of_the_input_too(client):
    rows = [np.int32([1, 2]), np.int32([3, 4])]
    got = client.predict(rows, model="of-float32").array
    assert (got.dtype, got.tolist()) == (np.float32, [[1, 2], [3, 4]])
    assert client.predict_batched(rows, model="of-float32", batch_size=1).array.tolist() == [[1, 2], [3, 4]]


def test_values_converted_before_are_accepted(client):
    x = read([1, 2])
    assert isinstance(x, Untyped)
    assert client.predict({"x": x}, model="of-float32").array.tolist() == [1, 2]
    assert client.predict(x, model="of-int64").array.tolist() == [1, 2]


def test_the_signature_is_requested_once_and_only_for_values_without_a_dtype(server, client, style):
    for _ in range(2):
        client.predict({"x": np.float32([1])}, model="of-float32")
        client.predict({"x": np.float32(1)}, model="of-float32")
    expected = [] if style in GRPC else ["GetModelMetadata"]  # REST needs it for what it writes and reads
    assert methods(server) == [*expected, *["Predict"] * 4]
    server.clear_calls()
    for _ in range(3):
        client.predict({"x": [1]}, model="of-float32")
    assert methods(server).count("GetModelMetadata") == 1 - len(expected)


@pytest.mark.parametrize("style", GRPC, indirect=True)
def test_texts_need_no_signature(server, client):
    for text in ("a", b"a", ["a", b"b"], np.array(["a"])):
        client.predict({"x": text}, model="of-string")
    assert set(methods(server)) == {"Predict"}


@pytest.mark.parametrize(
    ("dtype", "values", "text"),
    [
        ("uint8", [1, 300], r"input 'x' expects uint8 any shape: expected values that fit uint8, got \[1, 300\]"),
        ("int64", [1.5], "input 'x' expects int64 any shape: expected int64 values, got float64"),
        ("bool", [1, 0], "input 'x' expects bool any shape: expected bool values"),
        ("float32", [1e300], "input 'x' expects float32 any shape: expected values that fit float32"),
        ("string", [1, 2], r"input 'x' expects string any shape: expected string values, got \[1, 2\]"),
        ("int64", [2**64], "input 'x' expects int64 any shape: expected integers of at most 64 bits"),
    ],
)
def test_values_that_do_not_fit_are_refused_before_they_are_sent(server, client, dtype, values, text):
    with pytest.raises(SignatureError, match=text):
        client.predict({"x": values}, model=f"of-{dtype}")
    assert "Predict" not in methods(server)


def test_values_that_fit_no_tensor_are_refused_before_the_signature_is_requested(server, client):
    with pytest.raises(EncodeError, match="input 'b'"):
        client.predict({"a": [1], "b": [[1], [2, 3]]}, model="of-float32")
    assert methods(server) == []


def test_names_missing_in_the_signature_are_refused_by_the_server_and_named(client):
    with pytest.raises(InvalidArgumentError) as caught:
        client.predict({"X": [1.0]}, model="of-float32")
    assert "'X' is not an input, but 'x' is" in caught.value.hint
    with pytest.raises(FailedPreconditionError, match='Serving signature key "ghost" not found'):
        client.predict({"x": [1.0]}, model="of-float32", signature="ghost")


def test_a_missing_model_fails_like_the_prediction(client):
    with pytest.raises(NotFoundError) as caught:
        client.predict({"x": [1.0]}, model="ghost")
    assert (caught.value.method, caught.value.details) == ("Predict", "Servable not found for request: Latest(ghost)")


def test_validation_sees_the_dtype_of_the_signature(client):
    assert client.predict({"x": [1, 2]}, model="of-float32", validate=True).array.tolist() == [1, 2]


def test_large_batches_of_python_numbers_are_split_and_keep_the_dtype_of_the_signature(client):
    rows = [*range(50), 0.5]
    got = client.predict_batched({"x": rows}, model="of-float32", batch_size=7).array
    assert (got.dtype, got.tolist()) == (np.float32, rows)
    assert client.predict_batched(rows, model="of-float64", batch_size=7).array.tolist() == rows
    got = client.predict_batched(
        {"x": np.float32([1, 2, 3])}, shared={"keep_prob": 2}, model="dropout", batch_size=1
    ).array
    assert got.tolist() == [2, 4, 6]


# --- signatures that change -------------------------------------------------------------------------------------------


@pytest.fixture
def swapped(style):
    """A client that has called a model by a signature, and the server, where another has taken its place."""
    with FakeServer() as server:
        floats, integers = TensorSpec("float32", (None,)), TensorSpec("int64", (None,))
        server.add_model("m", lambda x: x, inputs={"x": floats}, outputs={"y": floats})
        with calling(style, server, model="m", timeout=20) as client:
            assert client.predict({"x": [1]}).array.dtype == np.float32
            server.add_model("m", lambda x: x, inputs={"x": integers}, outputs={"y": integers}, version=2)
            server.clear_calls()
            yield server, client


def test_a_new_version_with_another_dtype_is_followed(swapped):
    server, client = swapped
    got = client.predict({"x": [2**40]}).array
    assert (got.dtype, got.tolist()) == (np.int64, [2**40])
    assert methods(server).count("GetModelMetadata") == 1
    assert methods(server).count("Predict") <= 2
    assert client.predict({"x": [3]}).array.dtype == np.int64


def test_values_that_do_not_fit_a_new_version_are_refused_by_its_signature(swapped):
    _, client = swapped
    with pytest.raises(SignatureError, match="input 'x' expects int64"):
        client.predict({"x": [1.5]})


def test_a_refusal_unrelated_to_the_dtype_is_not_retried(style):
    def picky(x):
        raise InvalidArgumentError("not this one")

    spec = TensorSpec("float32", (None,))
    with FakeServer() as server:
        server.add_model("m", lambda x: x, inputs={"x": spec}, outputs={"y": spec})
        with calling(style, server, model="m", timeout=20) as client:
            client.predict({"x": [1]})
            server.add_model("m", picky, inputs={"x": spec}, outputs={"z": spec}, version=2)
            server.clear_calls()
            with pytest.raises(InvalidArgumentError, match="not this one"):
                client.predict({"x": [1]})
            assert methods(server).count("Predict") == 1


# --- servers without metadata -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", GRPC, indirect=True)
def test_without_metadata_numbers_have_tensorflows_widths(raw_server, style):
    """The server implements Predict alone."""
    from tfs_client.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

    def echo(request, context):
        return PredictResponse(outputs=PredictRequest.FromString(request).inputs).SerializeToString()

    with calling(style, raw_server(Predict=echo), model="m", timeout=20) as client:
        for values, dtype in ((1, "int32"), ([1.5], "float32"), ([2**40], "int64"), (np.float64([1]), "float64")):
            assert client.predict({"x": values})["x"].dtype == np.dtype(dtype)
        with pytest.raises(
            SignatureError, match="expected inputs by name, got a single value; the server has no metadata of model 'm'"
        ):
            client.predict([1.0])
        with pytest.raises(EncodeError, match="input 'x': expected integers of at most 64 bits"):
            client.predict({"x": 2**70})


@pytest.mark.parametrize("style", GRPC, indirect=True)
def test_a_server_without_metadata_is_asked_for_it_once_in_a_while(raw_server, style):
    import grpc

    asked = []

    def describe(request, context):
        asked.append(request)
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

    with calling(style, raw_server(Predict=lambda *_: b"", GetModelMetadata=describe), model="m", timeout=20) as client:
        for _ in range(5):
            client.predict({"x": [1.0]})
    assert len(asked) == 1


@pytest.mark.parametrize("code", ["UNAVAILABLE", "UNAUTHENTICATED", "INTERNAL"])
@pytest.mark.parametrize("style", GRPC, indirect=True)
def test_an_outage_is_not_mistaken_for_missing_metadata(raw_server, style, code):
    import grpc

    def describe(request, context):
        context.abort(grpc.StatusCode[code], "trouble")

    predicted = []
    target = raw_server(Predict=lambda *_: predicted.append(1) or b"", GetModelMetadata=describe)
    with calling(style, target, model="m", timeout=20) as client:
        with pytest.raises(Exception, match=f"Predict: {code}: trouble"):
            client.predict({"x": [1.0]})
        assert predicted == []


# --- every value ------------------------------------------------------------------------------------------------------


def nested(elements):
    """Lists of one shape, of a few axes at the most."""
    return st.lists(st.integers(0, 3), max_size=3).flatmap(lambda shape: _nested(elements, shape))


def _nested(elements, shape):
    if not shape:
        return elements
    return st.lists(_nested(elements, shape[1:]), min_size=shape[0], max_size=shape[0])


NUMBERS = st.one_of(st.integers(-(2**65), 2**65), st.integers(-5, 300), st.floats(), st.floats(width=16), st.booleans())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from((*DTYPES, "float16", "complex64", "complex128")), nested(NUMBERS))
def test_numbers_become_what_tensorflows_builder_makes_of_them(dtype, values):
    signature = Signature({"x": TensorSpec(dtype)}, {})
    try:
        expected = make_ndarray(make_tensor_proto(values, dtype))
    except EncodeError:
        with pytest.raises((SignatureError, EncodeError)):
            signature.typed({"x": read(values)})
        return
    found = signature.typed({"x": read(values)})["x"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("style", [GRPC[0], REST[0]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_arrive_as_what_tensorflows_builder_makes_of_them(server, style, dtype):
    chance = np.random.default_rng(7)
    with calling(style, server, model=f"of-{dtype}", timeout=20) as client:
        for _ in range(10):
            shape = tuple(chance.integers(1, 4, chance.integers(0, 3)))
            values = chance.integers(0, 2, shape).astype(bool) if dtype == "bool" else chance.integers(0, 100, shape)
            values = values.tolist()
            got = client.predict({"x": values}).array
            expected = make_ndarray(make_tensor_proto(values, dtype))
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("style", REST, indirect=True)
@pytest.mark.parametrize(
    "inputs",
    [{"x": [0.123456789012345]}, [0.123456789012345], np.array([0.123456789012345])],
    ids=["named", "bare", "array"],
)
def test_over_rest_digits_that_a_new_version_needs_are_kept(server, style, inputs):
    """JSON has no widths: a server that serves float64 now would take digits rounded to float32 without a word."""
    narrow, wide = (TensorSpec(dtype, (None,)) for dtype in ("float32", "float64"))
    server.add_model("grown", lambda x: x, inputs={"x": narrow}, outputs={"y": narrow})
    try:
        with calling(style, server, model="grown", timeout=20, cast=True) as client:
            client.predict({"x": [0.5]})
            server.add_model("grown", lambda x: x, inputs={"x": wide}, outputs={"y": wide}, version=2)
            server.remove_model("grown", 1)
            server.clear_calls()
            client.predict(inputs)
            assert server.calls[-1].inputs["x"].tolist() == [0.123456789012345]
    finally:
        server.remove_model("grown", 2)
