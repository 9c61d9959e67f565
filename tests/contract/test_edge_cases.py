"""Edge cases: errors in the user's functions, closing, several loops, odd replies."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from calling import GRPC, REST, STYLES, all_calls, calling, target_of

from tfs_client import (
    AsyncPredictClient,
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    DecodeError,
    EncodeError,
    InvalidArgumentError,
    PredictClient,
    Reload,
    RetryPolicy,
    SignatureError,
    TensorSpec,
)
from tfs_client._calls.inference import Classify, Regress
from tfs_client._codec import rest_json
from tfs_client._codec.dtypes import BY_NAME
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.server.embedded import MODELS

VECTOR = TensorSpec("float32", (None,))


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.fixture(params=["grpc", "rest"])
def way(request):
    return request.param


@pytest.mark.parametrize("style", GRPC)
def test_a_refusal_takes_precedence_over_a_later_error_of_the_token_function(double, style):
    tokens = iter(["for the call"])

    def token():
        try:
            return next(tokens)
        except StopIteration:  # asked again, for the signature that the refused inputs are compared with
            raise OSError("the token service is down") from None

    refused = pytest.raises(InvalidArgumentError)
    with calling(style, double, model="double", token=token, timeout=20) as client, refused:
        client.predict({"X": np.float32([1])})


def test_an_error_of_the_token_function_is_raised_unchanged(double, style):
    def token():
        raise OSError("the token service is down")

    with calling(style, double, model="double", token=token) as client, pytest.raises(OSError, match="service is down"):
        client.predict({"x": [1.0]})


def test_a_token_that_cannot_be_sent_is_refused(double, style):
    with pytest.raises(ConfigError, match="token"), calling(style, double, model="double", token="a\nb"):
        pass
    with calling(style, double, model="double", token=lambda: "a\nb") as client, pytest.raises(ConfigError):
        client.predict({"x": [1.0]})


def test_a_deadline_holds_while_a_token_is_awaited(double, way):
    async def token():
        await asyncio.sleep(20)

    async def main():
        async with AsyncPredictClient(target_of(way, double), model="double", token=token, timeout=0.3) as client:
            with pytest.raises(DeadlineExceededError, match=r"the token= function did not return within 0\.3 s"):
                await client.predict({"x": [1.0]})

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("style", [style for style in STYLES if not style.endswith("futures")])
def test_an_object_that_is_not_an_interceptor_is_refused(double, style):
    refused = pytest.raises(ConfigError, match="expected interceptors")
    with refused, calling(style, double, model="double", interceptors=[5]) as client:
        client.predict({"x": [1.0]})
    with calling(style, double, model="double", interceptors=None) as client:
        client.predict({"x": [1.0]})


def test_invalid_options_are_refused(double, style):
    for options in ({"validate": "no"}, {"request_id": 5}, {"interceptors": 5}, {"retry": True}, {"keepalive": 5}):
        with pytest.raises(ConfigError), calling(style, double, model="double", **options):
            pass
    if style in GRPC:
        with (
            pytest.raises(ConfigError, match="rest_format applies to REST only"),
            calling(style, double, rest_format="row"),
        ):
            pass
    with calling(style, double, model="double", timeout=20) as client:
        for options in ({"outputs": 5}, {"validate": 1}):
            with pytest.raises(ConfigError):
                client.predict({"x": [1.0]}, **options)
        assert client.predict({"x": [1.0]}, outputs=None).array.tolist() == [2.0]
        with pytest.raises(ConfigError):
            client.multi_inference([{}], tasks=5)
        with pytest.raises(EncodeError, match="expected the name of an input as text, got 1"):
            client.predict({1: [1.0]})


def test_a_list_that_does_not_fit_says_how_to_ask_for_a_cast(double, style):
    numbers = TensorSpec("int64", (None,))
    double.add_model("whole", lambda n: n, inputs={"n": numbers}, outputs={"m": numbers})
    refused = pytest.raises(SignatureError, match="expected int64 values, got float64")
    with calling(style, double, model="whole", timeout=20) as client, refused:
        client.predict([1.5])


def test_is_ready_does_not_wait_for_a_missing_server(style):
    target = "http://127.0.0.1:1" if style in REST else "127.0.0.1:1"
    with calling(style, target, model="m", retry=RetryPolicy(initial_backoff=0.01), timeout=20) as client:
        started = time.monotonic()
        assert not client.is_ready()
        assert time.monotonic() - started < 10


def test_values_and_scores_are_the_same_numbers_everywhere(fake_server, style):
    fake_server.server.add_model("half_plus_two", MODELS["half_plus_two"]())
    with calling(style, fake_server, model="half_plus_two", timeout=20) as client:
        value = client.regress([{"x": 0.2}], signature="regress_x_to_y").values[0]
        score = client.classify([{"x": 0.2}], signature="classify_x_to_y").classes[0][0].score
    assert value == score == float(np.float32(0.2) / np.float32(2) + np.float32(2))


# --- closing ----------------------------------------------------------------------------------------------------------


def test_closing_ends_running_calls(gated, gate, way):
    with PredictClient(target_of(way, gated), model="slow", timeout=None) as client:
        client.signatures()
        caught = []

        def call():
            try:
                client.predict({"x": [1.0]})
            except ClosedError as error:
                caught.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        assert gate.entered.wait(10)
        client.close()
        thread.join(10)
        assert not thread.is_alive()
    assert len(caught) == 1


def test_closing_ends_the_pause_before_another_attempt():
    policy = RetryPolicy(initial_backoff=30, max_backoff=30, wait_for_ready=False)
    with PredictClient("http://127.0.0.1:1", model="m", retry=policy, timeout=None) as client:
        threading.Timer(0.2, client.close).start()
        with pytest.raises(ClosedError):
            client.status()


def test_a_client_closed_before_its_first_call_stays_closed(double, way):
    async def main():
        client = AsyncPredictClient(target_of(way, double), model="double")
        await client.close()
        with pytest.raises(ClosedError):
            await client.predict({"x": [1.0]})

    asyncio.run(main())


# --- several loops ----------------------------------------------------------------------------------------------------


def test_two_loops_take_turns_with_one_client(double, way):
    client = AsyncPredictClient(target_of(way, double), model="double", timeout=20)
    loops = [asyncio.new_event_loop() for _ in range(2)]
    for turn in range(6):
        prediction = loops[turn % 2].run_until_complete(client.predict({"x": np.float32([turn])}))
        assert prediction.array.tolist() == [2.0 * turn]
    first, second = loops
    first.run_until_complete(first.shutdown_asyncgens())
    first.close()
    assert second.run_until_complete(client.predict({"x": np.float32([9])})).array.tolist() == [18.0]
    second.run_until_complete(client.close())
    second.run_until_complete(second.shutdown_asyncgens())
    second.close()


# --- memory and frozen results ----------------------------------------------------------------------------------------


def test_futures_release_their_requests_memory(double):
    x = np.zeros(100_000, np.float32)
    with PredictClient(double.target, model="double", timeout=20) as client:
        for _ in range(8):
            client.predict_future({"x": x}).result(20)
        client.predict_future({"y": x}).exception(20)
        deadline = time.monotonic() + 10
        while client._performer.transport._buffers._lent and time.monotonic() < deadline:
            time.sleep(0.01)  # the waiting thread is told before the callback has ended
        assert not client._performer.transport._buffers._lent


def test_results_cannot_be_changed(double):
    with PredictClient(double.target, model="double") as client:
        signatures = client.signatures()
    with pytest.raises(AttributeError):
        signatures.version = 7
    reload = Reload({"a": 1})
    with pytest.raises(TypeError):
        reload.metrics["a"] = 2
    assert hash(reload) == hash(Reload({"a": 1}))


def test_a_password_in_a_url_is_not_shown():
    with PredictClient("http://bob:hunter2@127.0.0.1:1", model="m", timeout=5) as client:
        assert "hunter2" not in repr(client)
        assert "bob" not in repr(client)
        with pytest.raises(DeadlineExceededError) as caught:
            client.wait_until_ready(0.1)
    assert "hunter2" not in str(caught.value)


# --- odd replies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "dtype"),
    [
        (b'{"outputs": 1' + b"0" * 400 + b"}", "float"),
        (b'{"outputs": "\\ud800"}', "string"),
        ('{"outputs": {"b64": "é"}}'.encode(), "string"),
        (b'{"outputs": {"b64": "a"}}', "string"),
        (b'{"outputs": [1, [2]]}', "float"),
        (b'{"outputs": [[1], 2]}', "int32"),
        (b'{"outputs": 4294967296}', "int32"),
        (b'{"outputs": true}', "float"),
        (b'{"outputs": "1"}', "double"),
        (b'{"outputs": null}', "bool"),
        (b'{"predictions": {"a": 1}}', "float"),
        (b'{"error": "no"}', "float"),
        (b"[]", "float"),
        (b"", "float"),
        (b"[" * 100_000, "float"),
    ],
)
def test_malformed_replies_are_decode_errors(body, dtype):
    with pytest.raises(DecodeError):
        rest_json.read_reply(body, {"y": (BY_NAME[dtype], None)})


@pytest.mark.parametrize("results", ['[["a", "0.5"]]', "[[1, 0.5]]", '[["a", true]]', "[0.5]", '[["a"]]', "5"])
def test_invalid_classes_are_decode_errors(results):
    with pytest.raises(DecodeError):
        Classify(ModelSpec("m"), [{}]).read_rest(f'{{"results": [{results}]}}'.encode())


@pytest.mark.parametrize("result", ['"0.5"', "true", "null", "[1.0]", "1" + "0" * 400])
def test_invalid_values_are_decode_errors(result):
    with pytest.raises(DecodeError):
        Regress(ModelSpec("m"), [{}]).read_rest(f'{{"results": [{result}]}}'.encode())


@pytest.mark.parametrize("style", REST)
def test_a_refused_prediction_requests_signatures_once(double, style):
    with calling(style, double, model="double", timeout=20) as client:
        with pytest.raises(InvalidArgumentError, match="'X' is not an input"):
            client.predict({"X": [1.0]})
        assert [call.method for call in all_calls(double)] == ["GetModelMetadata"]


@pytest.mark.parametrize("style", REST)
def test_inputs_left_to_their_defaults_are_named(fake_server, style):
    fake_server.add_model(
        "m",
        lambda x, by: x * by,
        inputs={"x": VECTOR, "by": TensorSpec("float32", ())},
        outputs={"y": VECTOR},
        defaults={"by": np.float32(3)},
    )
    refused = pytest.raises(
        InvalidArgumentError, match="Over REST, inputs have no defaults: also send 'by', or use gRPC"
    )
    with calling(style, fake_server, model="m", timeout=20) as client, refused:
        client.predict([2.0])


@pytest.mark.parametrize("style", REST)
def test_outputs_of_another_shape_than_the_signatures_are_accepted(fake_server, style):
    fake_server.add_model(
        "m",
        lambda x: np.ones((1, 3), np.float32),
        inputs={"x": VECTOR},
        outputs={"y": TensorSpec("float32", (None, 2))},
    )
    with calling(style, fake_server, model="m", timeout=20) as client:
        for _ in range(3):
            assert client.predict({"x": [1.0]}).array.shape == (1, 3)
    assert [call.method for call in fake_server.lookups] == ["GetModelMetadata"] * 2
