"""predict_batched: rows in several requests have the same outputs as in one."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from calling import calling
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfs_client import AsyncPredictClient, PredictClient, TensorSpec
from tfs_client.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    EncodeError,
    InvalidArgumentError,
    NotFoundError,
    SignatureError,
    TFServingError,
)
from tfs_client.server import FunctionServable, FunctionSignature, Server
from tfs_client.server.batching import BatchingParameters, BatchingServable

ANY = TensorSpec("float32", None)
PACES = st.one_of(st.integers(1, 8), st.just("auto"))


def inputs_of(rows, seed):
    random = np.random.default_rng(seed)
    strings = np.empty(rows, object)
    strings[:] = [random.bytes(int(length)) for length in random.integers(0, 5, rows)]
    return {
        "a": random.normal(size=(rows, 3)).astype(np.float32),
        "b": random.integers(-(2**62), 2**62, rows),
        "s": strings,
        "h": random.normal(size=(rows, 2)),
        "flag": random.integers(0, 2, rows).astype(bool),
    }


def outcome(call):
    """The outputs of a call, bit for bit; or its error."""
    try:
        prediction = call()
    except TFServingError as error:
        return type(error), str(error)
    return {
        alias: (array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes())
        for alias, array in prediction.items()
    }


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.integers(0, 40), batch_size=st.integers(1, 45), in_flight=PACES, seed=st.integers(0, 2**32))
def test_any_split_gives_the_outputs_of_one_request(any_client, rows, batch_size, in_flight, seed):
    inputs, shared = inputs_of(rows, seed), {"k": np.float32(1.5)}
    batched = outcome(
        lambda: any_client.predict_batched(
            inputs, shared=shared, batch_size=batch_size, in_flight=in_flight, model="mixed"
        )
    )
    assert batched == outcome(lambda: any_client.predict(inputs | shared, model="mixed"))


@pytest.mark.parametrize(
    "values",
    [
        np.arange(21, dtype=np.float32).reshape(7, 3),
        np.arange(7, dtype=np.int16),
        [1, 2, 3, 4.5, 5, 6, 7],
        ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)),
        [np.float32([1, 2])] * 5,
        [],
        range(7),
    ],
    ids=["array", "int16 array", "numbers", "tuples", "arrays", "empty", "range"],
)
def test_a_bare_value_is_split_too(any_client, values):
    batched = outcome(lambda: any_client.predict_batched(values, batch_size=3, model="picky"))
    assert batched == outcome(lambda: any_client.predict(values, model="picky"))


def test_strings_are_split_too(any_client):
    found = any_client.predict_batched(["a", "bc", "", "d\0", "é"], batch_size=2, model="echo").array
    assert found.tolist() == [b"a", b"bc", b"", b"d\0", "é".encode()]


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int8", "uint32", "complex64", "uint64"])
@pytest.mark.parametrize("style", ["grpc", "grpc-aio"])
def test_dtypes_that_only_grpc_carries(fake_server, style, dtype):
    spec = TensorSpec(dtype, (None, 2))
    fake_server.add_model("m", lambda x: x[:, ::-1], inputs={"x": spec}, outputs={"y": spec})
    x = np.random.default_rng(0).integers(0, 100, (11, 2)).astype(dtype)
    with calling(style, fake_server, model="m") as client:
        for inputs in ({"x": x}, x):
            found = client.predict_batched(inputs, batch_size=3).array
            assert found.dtype == x.dtype
            assert found.tobytes() == x[:, ::-1].tobytes()


def test_requests_have_batch_size_rows_and_shared_inputs_whole(any_client, models):
    models.clear_calls()
    any_client.predict_batched(inputs_of(10, 0), shared={"k": 2.0}, batch_size=4, model="mixed")
    calls = [call for call in models.calls if call.method == "Predict"]
    assert sorted(len(call.inputs["a"]) for call in calls) == [2, 4, 4]
    assert {call.inputs["k"].shape for call in calls} == {()}


def test_the_result_is_one_prediction(any_client):
    prediction = any_client.predict_batched({"x": np.zeros((9, 2), np.float32)}, batch_size=2, model="picky")
    assert prediction.model.name == "picky"
    assert prediction.timing.encode >= 0
    assert prediction.timing.wait > 0
    assert prediction.timing.decode >= 0
    with pytest.raises(ValueError, match="read-only"):
        prediction["y"][0] = 1


def test_an_error_names_its_rows_and_keeps_its_class(any_client):
    x = np.zeros(10, np.float32)
    x[7] = -1
    with pytest.raises(InvalidArgumentError, match="minus one is beyond me") as caught:
        any_client.predict_batched({"x": x}, batch_size=3, in_flight=1, model="picky")
    assert "This is the error of rows 6 to 8." in str(caught.value)


def test_a_single_request_fails_as_predict_does(any_client):
    x = np.float32([-1, 0])
    batched = outcome(lambda: any_client.predict_batched({"x": x}, model="picky"))
    assert batched == outcome(lambda: any_client.predict({"x": x}, model="picky"))
    assert batched[0] is InvalidArgumentError


def test_a_missing_model_is_not_found(any_client):
    with pytest.raises(NotFoundError):
        any_client.predict_batched({"x": np.zeros(10, np.float32)}, batch_size=3, model="nobody")


def test_outputs_without_rows_cannot_be_joined(any_client):
    with pytest.raises(SignatureError, match=r"output 'y' does not have one row for each row sent.*outputs=\["):
        any_client.predict_batched({"x": np.zeros(4, np.float32)}, batch_size=2, model="whole")


def limited(most, fn=lambda x: 2 * x):
    parameters = BatchingParameters(max_batch_size=most, num_batch_threads=1, max_enqueued_batches=1000)
    return BatchingServable(
        FunctionServable({"serving_default": FunctionSignature(fn, {"x": ANY}, {"y": ANY})}), parameters
    )


@pytest.mark.parametrize("in_flight", [1, 4, "auto"])
def test_the_servers_limit_is_learned_and_the_call_continues(in_flight):
    sizes = []
    x = np.arange(50, dtype=np.float32)
    with limited(6, lambda x: sizes.append(len(x)) or 2 * x) as servable, Server() as server:
        server.add_model("m", servable)
        for style in ("grpc", "rest", "grpc-aio"):
            target = server.open_rest() if style == "rest" else server.target
            with calling(style, target, model="m") as client:
                found = client.predict_batched({"x": x}, batch_size=16, in_flight=in_flight)["y"]
                assert found.tolist() == (2 * x).tolist()
    assert max(sizes) <= 6


def test_no_version_is_named_if_several_answered(fake_server):
    entered, swapped = threading.Event(), threading.Event()

    def first(x):
        if not entered.is_set():
            entered.set()
            assert swapped.wait(20)
        return x

    fake_server.add_model("m", first, inputs={"x": ANY}, outputs={"y": ANY}, version=1)

    def swap():
        assert entered.wait(20)
        fake_server.add_model("m", lambda x: x, inputs={"x": ANY}, outputs={"y": ANY}, version=2)
        swapped.set()

    thread = threading.Thread(target=swap)
    thread.start()
    with PredictClient(fake_server.target, model="m") as client:
        prediction = client.predict_batched({"x": np.arange(4, dtype=np.float32)}, batch_size=1, in_flight=1)
        thread.join()
        assert prediction.model.version is None
        assert prediction["y"].tolist() == [0, 1, 2, 3]
        assert client.predict_batched({"x": np.zeros(4, np.float32)}, batch_size=1).model.version == 2


def test_outputs_that_change_between_requests_are_an_error(fake_server):
    fake_server.add_model(
        "m", lambda x: np.zeros((len(x), int(x[0])), np.float32), inputs={"x": ANY}, outputs={"y": ANY}
    )
    with (
        PredictClient(fake_server.target, model="m") as client,
        pytest.raises(SignatureError, match=r"output 'y' differs between the parts.*predict_many"),
    ):
        client.predict_batched({"x": np.float32([1, 2])}, batch_size=1)


@pytest.mark.parametrize(
    ("inputs", "options", "error", "text"),
    [
        (
            {"x": np.zeros(3), "k": np.zeros(2)},
            {},
            SignatureError,
            r"the same length along axis 0, got 'x' 3, 'k' 2.*shared",
        ),
        ({"x": np.zeros(3), "k": 2.0}, {}, SignatureError, r"input 'k' is a single value.*shared=\{'k': …\}"),
        (np.float32(2), {}, SignatureError, "the input is a single value and cannot be split"),
        ({}, {}, SignatureError, "expected at least one input that is not shared, got none"),
        ({"x": [[1], [2, 3]]}, {}, EncodeError, "input 'x': expected a rectangular array"),
        (
            {"x": [1]},
            {"shared": {"x": 1}},
            ConfigError,
            "expected each input to be split or shared, got 'x' in both: pass it once",
        ),
        ({"x": [1]}, {"shared": {"k": None}}, EncodeError, "shared input 'k': expected a tensor, got None"),
        ([1], {"shared": {"k": 1}}, ConfigError, "shared inputs need named inputs"),
        ({"x": [1]}, {"batch_size": 0}, ConfigError, "expected a batch size of at least 1, got 0"),
        ({"x": [1]}, {"batch_size": 2.5}, ConfigError, r"expected a batch size of at least 1, got 2\.5"),
        ({"x": [1]}, {"in_flight": 0}, ConfigError, "expected in_flight as a number of requests"),
        ({"x": [1]}, {"timeout": -1}, ConfigError, "expected a timeout in seconds above 0"),
        ({"x": [1]}, {"version": 1, "label": "a"}, ConfigError, "expected a version or a label, got both"),
        (
            {"x": [1]},
            {"batchsize": 3},
            TypeError,
            "unexpected option 'batchsize'; known options, besides the method's own: model, version",
        ),
    ],
)
def test_bad_arguments_are_explained_before_anything_is_sent(any_client, models, inputs, options, error, text):
    with pytest.raises(error, match=text):
        any_client.predict_batched(inputs, model="unasked", **options)
    assert not [call for call in models.calls if call.model == "unasked"]


def test_numpys_integers_are_numbers_too(any_client):
    x = np.arange(5, dtype=np.float32)
    found = any_client.predict_batched({"x": x}, batch_size=np.int64(2), in_flight=np.int32(2), model="picky")
    assert found["y"].tolist() == (2 * x).tolist()


def test_the_timeout_is_that_of_each_request(gated):
    with (
        PredictClient(gated.target, model="slow") as client,
        pytest.raises(DeadlineExceededError, match="This is the error of rows"),
    ):
        client.predict_batched({"x": np.zeros(4, np.float32)}, batch_size=2, timeout=0.05)


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_closing_the_client_ends_a_call(gated, gate, style):
    client = PredictClient(gated.rest_url if style == "rest" else gated.target, model="slow")

    def close():
        gate.entered.wait(20)
        client.close()
        gate.open.set()

    thread = threading.Thread(target=close)
    thread.start()
    with pytest.raises(ClosedError):
        client.predict_batched({"x": np.zeros(100, np.float32)}, batch_size=1, in_flight=2)
    thread.join()


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_closing_the_asyncio_client_ends_a_call(gated, gate, style):
    async def main():
        client = AsyncPredictClient(gated.rest_url if style == "rest" else gated.target, model="slow")
        call = asyncio.ensure_future(
            client.predict_batched({"x": np.zeros(100, np.float32)}, batch_size=1, in_flight=2)
        )
        await asyncio.to_thread(gate.entered.wait, 20)
        await client.close()
        gate.open.set()
        with pytest.raises(ClosedError):
            await asyncio.wait_for(call, 20)

    asyncio.run(main())


def test_cancelling_an_asyncio_call_cancels_its_requests(gated, gate):
    async def main():
        async with AsyncPredictClient(gated.target, model="slow") as client:
            call = asyncio.ensure_future(client.predict_batched({"x": np.zeros(9, np.float32)}, batch_size=1))
            await asyncio.to_thread(gate.entered.wait, 20)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
