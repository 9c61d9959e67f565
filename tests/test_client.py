"""PredictClient: what users do with it, over real sockets, against the fake server or a raw gRPC server."""

from __future__ import annotations

import gc
import inspect
import re
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from calling import all_calls, target_of
from tcp import free_port

from tfs_client import (
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    DecodeError,
    EncodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    PredictClient,
    ResourceExhaustedError,
    SignatureError,
    State,
    StatusCode,
    TensorSpec,
    Timing,
    UnavailableError,
    UnimplementedError,
)
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.predict import Predict
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.client_options import GivenOptions
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.steps import Send
from tfs_client.errors import BY_CODE
from tfs_client.options import UNSET, CallOptions
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
ANY_FLOAT = TensorSpec("float32")
TEXT = TensorSpec("string")


def methods(server):
    """What was called, in order."""
    return [call.method for call in all_calls(server)]


def echoing(server, spec, **options):
    """Add a model that returns its input."""
    return server.add_model("echo", lambda x: x, inputs={"x": spec}, outputs={"y": spec}, **options)


# --- predicting ------------------------------------------------------------------------------------------------------


def test_a_mapping_is_sent_without_asking_for_signatures(client, double):
    prediction = client.predict({"x": np.float32([1, 2.5])})
    assert prediction["y"].tolist() == [2, 5]
    assert prediction["y"].dtype == np.float32
    assert methods(double) == ["Predict"]


def test_a_bare_array_gets_its_name_from_the_signature_requested_once(client, double):
    for value in (1.0, 2.0, 3.0):
        assert client.predict(np.float32([value])).array.tolist() == [2 * value]
    assert methods(double) == ["GetModelMetadata", "Predict", "Predict", "Predict"]


@pytest.mark.parametrize("values", [[1.0, 2.0], (1, 2), np.array([1, 2], np.int16), np.float16([1, 2]), [True, 2]])
def test_a_bare_value_is_cast_when_nothing_is_lost(client, values):
    assert client.predict(values).array.tolist() == [2, 4]


def test_a_lossy_cast_is_refused_and_the_error_says_how_to_request_it(client):
    with pytest.raises(SignatureError, match=r"input 'x' expects float32 \(\?,\), got float64 \(2,\)") as caught:
        client.predict(np.array([0.1, 0.2]))
    assert "array.astype('float32')" in str(caught.value)


def test_a_bare_value_for_several_inputs_lists_them(fake_server):
    fake_server.add_model("sum", lambda a, b: a + b, inputs={"a": VECTOR, "b": VECTOR}, outputs={"y": VECTOR})
    with (
        PredictClient(fake_server.target, model="sum") as client,
        pytest.raises(SignatureError, match=r"inputs are: a: float32 \(\?,\), b: float32 \(\?,\)"),
    ):
        client.predict([1.0])


def test_signatures_stay_remembered_when_replies_do_not_name_the_version(raw_server, double):
    """Some proxies and servers omit the version; that does not indicate a change."""
    with PredictClient(double.target) as behind:

        def forward(request, context):
            reply = behind._performer.transport.call(Send(Predict.path, request, Deadline(10))).body
            _, outputs = predict_messages.read_response(reply)
            return predict_messages.write_response(ModelSpec("double"), outputs)

        def describe(request, context):
            asked.append(request)
            return behind._performer.transport.call(Send(GetModelMetadata.path, request, Deadline(10))).body

        asked = []
        target = raw_server(Predict=forward, GetModelMetadata=describe)
        with PredictClient(target, model="double") as client:
            for _ in range(3):
                assert client.predict([1.0]).array.tolist() == [2.0]
                assert client.predict([1.0]).model.version is None
    assert len(asked) == 1


def test_a_version_and_a_timeout_may_be_numpys(client):
    assert client.predict({"x": [1.0]}, version=np.int64(1), timeout=np.float32(5)).model.version == 1


def test_the_input_that_cannot_be_sent_is_named(client):
    with pytest.raises(EncodeError, match="input 'x': expected text that UTF-8 can encode"):
        client.predict({"x": "\ud800"})


def test_signatures_are_requested_again_when_another_version_answers(client, double):
    client.predict([1.0])
    double.add_model("double", lambda z: 3 * z, inputs={"z": VECTOR}, outputs={"y": VECTOR}, version=2)
    assert client.predict({"z": np.float32([1])}).array.tolist() == [3]  # version 2 answers: forget version 1
    assert client.predict([1.0]).array.tolist() == [3]
    assert methods(double) == ["GetModelMetadata", "Predict", "Predict", "GetModelMetadata", "Predict"]


def test_signatures_are_requested_again_when_another_version_answers_a_future(client, double):
    client.predict([1.0])
    double.add_model("double", lambda z: 3 * z, inputs={"z": VECTOR}, outputs={"y": VECTOR}, version=2)
    assert client.predict_future({"z": np.float32([1])}).result(10).array.tolist() == [3]
    assert client.predict([1.0]).array.tolist() == [3]


def test_signatures_are_requested_again_after_an_error_and_used_for_a_single_value(client, double):
    client.predict([1.0])
    double.add_model("double", lambda z: 3 * z, inputs={"z": VECTOR}, outputs={"y": VECTOR}, version=2)
    double.clear_calls()
    assert client.predict([1.0]).array.tolist() == [3]  # sent as "x" first, which version 2 does not know
    assert methods(double) == ["Predict", "GetModelMetadata", "Predict"]


def test_inputs_refused_under_an_unchanged_signature_are_not_sent_again(client, double):
    def picky(x):
        raise ValueError("not this one")

    client.predict([1.0])
    double.add_model("double", picky, inputs={"x": VECTOR}, outputs={"y": VECTOR}, version=2)
    double.clear_calls()
    with pytest.raises(InvalidArgumentError, match="not this one"):
        client.predict([1.0])
    assert methods(double) == ["Predict", "GetModelMetadata"]


def test_a_signature_added_later_is_found(client, double):
    client.predict([1.0])
    double.add_model("double", lambda x: 4 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR}, signature="later")
    assert client.predict([1.0], signature="later").array.tolist() == [4]


def test_the_result_names_the_version_that_answered(client, double):
    double.add_model("double", lambda x: 4 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR}, version=7)
    model = client.predict([1.0]).model
    assert (model.name, model.version, model.signature) == ("double", 7, "serving_default")
    assert str(model) == "double version 7"


def test_timing_has_three_parts_that_are_not_negative(client):
    timing = client.predict({"x": [1.0]}).timing
    assert isinstance(timing, Timing)
    assert min(timing.encode, timing.wait, timing.decode) >= 0
    assert timing.wait > 0


def test_a_prediction_prints_its_outputs(client):
    assert repr(client.predict([1.0, 2.0])) == "Prediction of double version 1\n  y: float32 (2,) [2. 4.]"


def test_a_missing_output_is_an_error_that_lists_the_outputs(client):
    with pytest.raises(KeyError, match="unknown output 'z'; known outputs: y"):
        client.predict([1.0])["z"]


@pytest.fixture
def several(fake_server):
    """A model with two inputs, of which one has a default, and three outputs."""
    return fake_server.add_model(
        "several",
        lambda a, b: {"sum": a + b, "product": a * b, "first": a},
        inputs={"a": VECTOR, "b": VECTOR},
        outputs={"sum": VECTOR, "product": VECTOR, "first": VECTOR},
        defaults={"b": [10.0]},
    )


def test_one_array_of_several_outputs_is_an_error_that_lists_them(several):
    with PredictClient(several.target, model="several") as client:
        prediction = client.predict({"a": [1.0], "b": [2.0]})
    assert {alias: array.tolist() for alias, array in prediction.items()} == {"sum": [3], "product": [2], "first": [1]}
    with pytest.raises(SignatureError, match="expected one output, got 3: first, product, sum"):
        _ = prediction.array


@pytest.mark.parametrize("wanted", [["sum"], ("sum",), "sum", iter(["sum"])], ids=["list", "tuple", "text", "iterator"])
def test_only_the_requested_outputs_are_returned(several, wanted):
    with PredictClient(several.target, model="several") as client:
        assert list(client.predict({"a": [1.0], "b": [2.0]}, outputs=wanted)) == ["sum"]


def test_inputs_with_defaults_may_be_left_out(several):
    with PredictClient(several.target, model="several") as client:
        assert client.predict([1.0])["sum"].tolist() == [11]
        assert client.predict({"a": [1.0]})["sum"].tolist() == [11]


# --- values on the wire ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.float32(3),
        np.zeros((0, 3), np.float32),
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.arange(12, dtype=np.float32)[::-2],
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.broadcast_to(np.float32(7), (4, 5)),
        np.float32([np.nan, np.inf, -0.0]),
    ],
    ids=["scalar", "empty", "transposed", "strided", "big-endian", "broadcast", "special"],
)
@pytest.mark.parametrize("content", [False, True], ids=["typed", "content"])
def test_arrays_of_any_layout_are_returned_unchanged(array, content):
    with FakeServer(ServerConfig(tensor_content=content)) as server:
        echoing(server, ANY_FLOAT)
        with PredictClient(server.target, model="echo") as client:
            back = client.predict({"x": array}).array
    np.testing.assert_array_equal(back, array)
    assert back.shape == array.shape
    assert not back.flags.writeable


@pytest.mark.parametrize("content", [False, True], ids=["typed", "content"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("grüße", "grüße".encode()),
        (b"\xff\x00", b"\xff\x00"),
        (["a", b"", "c" * 300], [b"a", b"", b"c" * 300]),
        ([["a"], ["b"]], [[b"a"], [b"b"]]),
        (np.array(["x", "yy"]), [b"x", b"yy"]),
        (np.empty((0,), object), []),
    ],
)
def test_strings_come_back_as_bytes(values, expected, content):
    with FakeServer(ServerConfig(tensor_content=content)) as server:
        echoing(server, TEXT)
        with PredictClient(server.target, model="echo") as client:
            assert client.predict({"x": values}).array.tolist() == expected
            assert client.predict(values).array.tolist() == expected


@pytest.mark.parametrize(
    "dtype",
    [
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    ],
)
def test_every_dtype_is_returned_unchanged(fake_server, dtype):
    spec = TensorSpec(dtype)
    echoing(fake_server, spec)
    array = np.array([[0, 1, 1]], dtype)
    with PredictClient(fake_server.target, model="echo") as client:
        back = client.predict(array).array
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_twenty_megabytes_are_sent_and_received_by_default(fake_server):
    echoing(fake_server, ANY_FLOAT)
    array = np.arange(5_000_000, dtype=np.float32)
    with PredictClient(fake_server.target, model="echo") as client:
        np.testing.assert_array_equal(client.predict({"x": array}).array, array)


def test_sizes_stay_unlimited_when_other_channel_options_are_given(fake_server):
    echoing(fake_server, ANY_FLOAT)
    options = {"grpc.keepalive_time_ms": 60_000}
    with PredictClient(fake_server.target, model="echo", channel_options=options) as client:
        assert client.predict({"x": np.zeros(2_000_000, np.float32)}).array.size == 2_000_000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "expected a tensor, got None"),
        ([[1], [1, 2]], "rectangular"),
        (["a", 1], "str or bytes"),
        (np.array(["2020"], "M8"), "no tensor dtype"),
    ],
)
def test_values_that_fit_no_tensor_are_refused_before_anything_is_sent(client, double, value, message):
    with pytest.raises(EncodeError, match=message) as caught:
        client.predict({"x": value})
    assert str(caught.value).startswith("input 'x': ")
    assert not all_calls(double)


# --- options per call ------------------------------------------------------------------------------------------------


@pytest.fixture
def versions(fake_server):
    """Two models of two versions, that answer with their version; the first with labels and a second signature."""
    for name in ("first", "other"):
        for version in (1, 2):
            for signature in ("serving_default", "extra"):
                fake_server.add_model(
                    name,
                    lambda x, n=version, s=signature: x * 0 + n + (100 if s == "extra" else 0),
                    inputs={"x": VECTOR},
                    outputs={"y": VECTOR},
                    version=version,
                    signature=signature,
                )
    fake_server.set_label("first", "stable", 1)
    fake_server.set_label("first", "canary", 2)
    return fake_server


@pytest.mark.parametrize("bare", [False, True], ids=["mapping", "bare"])
@pytest.mark.parametrize(
    ("defaults", "options", "answer"),
    [
        ({}, {"model": "first"}, 2),
        ({"model": "first"}, {}, 2),
        ({"model": "first"}, {"version": 1}, 1),
        ({"model": "first"}, {"label": "stable"}, 1),
        ({"model": "first", "version": 1}, {}, 1),
        ({"model": "first", "version": 1}, {"version": 2}, 2),
        ({"model": "first", "version": 1}, {"version": None}, 2),
        ({"model": "first", "version": 1}, {"label": "canary"}, 2),
        ({"model": "first", "label": "stable"}, {}, 1),
        ({"model": "first", "label": "stable"}, {"version": 2}, 2),
        ({"model": "first", "label": "stable"}, {"label": None}, 2),
        ({"model": "first", "label": "stable"}, {"version": None}, 2),
        ({"model": "first", "version": 1, "signature": "extra"}, {}, 101),
        ({"model": "first", "version": 1}, {"signature": "extra"}, 101),
        ({"model": "first", "signature": "extra"}, {"version": 1}, 101),
        ({"model": "first", "signature": "extra"}, {"signature": None}, 2),
        # The same model named again is the same model.
        ({"model": "first", "version": 1, "signature": "extra"}, {"model": "first"}, 101),
        # Another model inherits nothing that belongs to the first.
        ({"model": "first", "version": 1, "signature": "extra"}, {"model": "other"}, 2),
        ({"model": "first", "label": "stable"}, {"model": "other"}, 2),
        ({"model": "first", "version": 1, "signature": "extra"}, {"model": "other", "signature": "extra"}, 102),
        ({"model": "first", "label": "stable"}, {"model": "other", "version": 1}, 1),
    ],
)
def test_per_call_options_override_the_clients(versions, defaults, options, answer, bare):
    with PredictClient(versions.target, **defaults) as client:
        inputs = [0.0] if bare else {"x": [0.0]}
        assert client.predict(inputs, **options).array.tolist() == [answer]
        assert client.predict_future(inputs, **options).result(10).array.tolist() == [answer]


def test_a_client_with_a_target_says_that_it_ignores_tfs_model(monkeypatch):
    monkeypatch.setenv("TFS_MODEL", "m")
    with PredictClient("localhost:1") as client, pytest.raises(ConfigError) as caught:
        client.predict({"x": [1.0]})
    assert str(caught.value).endswith("(TFS_MODEL applies only to clients made without a target)")


@pytest.mark.parametrize(
    ("defaults", "options", "message"),
    [
        ({}, {}, "expected a model, got none"),
        ({}, {"model": ""}, "expected a model, got none"),
        ({"model": "m"}, {"version": 1, "label": "stable"}, "got both"),
        ({"model": "m"}, {"version": "1"}, "expected a version number, got '1'"),
        ({"model": "m"}, {"version": True}, "expected a version number"),
        ({"model": "m"}, {"version": 1.0}, "expected a version number"),
        ({"model": "m"}, {"version": 1 << 63}, "expected a version number"),
        ({"model": "m"}, {"label": 3}, "expected label as a string"),
        ({"model": "m"}, {"signature": 3}, "expected signature as a string"),
        ({"model": "m"}, {"model": 3}, "expected a model name"),
        ({"model": "m"}, {"timeout": 0}, "expected a timeout"),
        ({"model": "m"}, {"outputs": [1]}, "expected outputs as names"),
        ({"model": "m"}, {"metadata": {"Upper": "x"}}, "metadata key"),
    ],
)
def test_invalid_options_of_a_call_are_refused(defaults, options, message):
    with PredictClient("localhost:1", **defaults) as client:
        for call in (client.predict, client.predict_future):
            with pytest.raises(ConfigError, match=message):
                call({"x": [1.0]}, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "http://localhost:8501/v1/models/m"}, "without the path of a call"),
        ({"target": "localhost"}, "expected host:port"),
        ({"version": 1, "label": "stable", "model": "m"}, "got both"),
        ({"timeout": -1}, "expected a timeout"),
        ({"metadata": {"a b": "x"}}, "metadata key"),
        ({"channel_options": {1: 2}}, "channel options"),
        ({"channel_options": {"grpc.max_receive_message_length": 1 << 40}}, "channel options"),
        ({"model": 5}, "expected a model name"),
    ],
)
def test_invalid_options_of_the_client_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        PredictClient(**{"target": "localhost:1"} | options)


def test_metadata_of_client_and_call_are_sent_and_the_calls_wins(double):
    with PredictClient(double.target, model="double", metadata={"who": "client", "a": "1"}) as client:
        client.predict([1.0], metadata={"who": "call", "b": "2", "raw-bin": b"\x00\xff"})
        client.predict({"x": [1.0]})
        client.predict_future({"x": [1.0]}, metadata=[("b", "3")]).result(10)
        client.status(metadata={"b": "4"})
        client.predict({"x": [1.0]}, metadata=None)
    sent = [{key: call.metadata.get(key) for key in ("who", "a", "b", "raw-bin")} for call in all_calls(double)]
    once = {"who": "call", "a": "1", "b": "2", "raw-bin": b"\x00\xff"}
    rest = {"who": "client", "a": "1", "b": None, "raw-bin": None}
    assert sent == [once, once, rest, rest | {"b": "3"}, rest | {"b": "4"}, rest]


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_unknown_model(client):
    with pytest.raises(NotFoundError, match=r"Servable not found for request: Latest\(nothing\)") as caught:
        client.predict({"x": [1.0]}, model="nothing")
    assert caught.value.code is StatusCode.NOT_FOUND
    assert caught.value.method == "Predict"
    assert caught.value.details == "Servable not found for request: Latest(nothing)"


def test_wrong_input_name(client):
    with pytest.raises(InvalidArgumentError, match=r"Signature input alias: x.*not found in request"):
        client.predict({"wrong": [1.0]})


def test_wrong_dtype(client):
    with pytest.raises(InvalidArgumentError, match=r"Expects arg\[0\] to be float but double is provided"):
        client.predict({"x": np.array([1.0])})


def test_a_missing_signature_is_detected_by_the_server_for_a_mapping_and_by_the_client_for_a_bare_array(client):
    with pytest.raises(FailedPreconditionError, match='Serving signature key "nothing" not found'):
        client.predict({"x": [1.0]}, signature="nothing")
    with pytest.raises(SignatureError, match="model 'double' has no signature 'nothing'; its signatures: serving_def"):
        client.predict([1.0], signature="nothing")


def test_unknown_output(client):
    with pytest.raises(InvalidArgumentError, match="output tensor alias not found in signature: z"):
        client.predict([1.0], outputs=["z"])


def test_a_timeout_ends_the_call_and_says_how_to_change_it(gated):
    with PredictClient(gated.target, model="slow", timeout=30) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError, match=r"within 0.2 s; timeout= sets another") as caught:
            client.predict({"x": [1.0]}, timeout=0.2)
        assert time.monotonic() - started < 5
        assert caught.value.method == "Predict"


def test_the_signatures_and_the_prediction_share_one_deadline(raw_server):
    def metadata(request, context):
        time.sleep(0.3)
        context.abort(grpc.StatusCode.NOT_FOUND, "no signatures here")

    with PredictClient(raw_server(GetModelMetadata=metadata), model="m", timeout=0.1) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            client.predict([1.0])
        assert time.monotonic() - started < 5


def test_a_closed_port_is_unavailable_and_the_hint_names_the_target():
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            PredictClient(target, model="m") as client,
            pytest.raises(UnavailableError, match=f"Nothing that speaks gRPC answered at {target}"),
        ):
            client.predict({"x": [1.0]})


def test_a_rest_port_is_unavailable_and_the_hint_names_the_grpc_port():
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:

        def answer_in_http_1():
            for _ in range(20):  # gRPC tries again until its call is over
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        listening.settimeout(5)
        answering = pool.submit(answer_in_http_1)
        target = f"127.0.0.1:{listening.getsockname()[1]}"
        with (
            PredictClient(target, model="m", timeout=10) as client,
            pytest.raises(UnavailableError, match=r"usually 8501; gRPC uses 8500"),
        ):
            client.predict({"x": [1.0]})
        listening.shutdown(socket.SHUT_RDWR)
        answering.result(10)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_code_has_its_class(raw_server, code):
    def abort(request, context):
        context.abort(code, "said by the server")

    with PredictClient(raw_server(Predict=abort), model="m") as client:
        for predict in (client.predict, lambda inputs: client.predict_future(inputs).result(10)):
            with pytest.raises(BY_CODE[StatusCode(code.value[0])]) as caught:
                predict({"x": [1.0]})
            assert caught.value.code.name == code.name
            assert caught.value.details == "said by the server"
            assert "Nothing that speaks gRPC" not in caught.value.hint
            assert isinstance(caught.value.transport_error, grpc.RpcError) or predict != client.predict


@pytest.mark.parametrize("reply", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x09\x0a\x01y\x12\x04\x08\x01\x2a\x01"])
def test_a_garbage_reply_is_a_decode_error_that_names_model_and_call(raw_server, reply):
    with (
        PredictClient(raw_server(Predict=lambda request, context: reply), model="m") as client,
        pytest.raises(DecodeError, match="the reply of Predict for model 'm' cannot be read"),
    ):
        client.predict({"x": [1.0]})


@pytest.mark.parametrize("reply", [b"\xff\xff\xff", b"\x0a\x05ab", b"not a message at all"])
def test_garbage_replies_of_the_other_methods_are_decode_errors_too(raw_server, reply):
    target = raw_server(GetModelMetadata=lambda *_: reply, GetModelStatus=lambda *_: reply)
    with PredictClient(target, model="m") as client:
        with pytest.raises(DecodeError, match="GetModelMetadata"):
            client.signatures()
        with pytest.raises(DecodeError, match="GetModelStatus"):
            client.status()


def test_an_empty_reply_is_a_prediction_without_outputs(raw_server):
    with PredictClient(raw_server(Predict=lambda *_: b""), model="m", signature="s") as client:
        prediction = client.predict({"x": [1.0]})
    assert dict(prediction) == {}
    assert (prediction.model.name, prediction.model.version, prediction.model.signature) == ("m", None, "s")
    assert repr(prediction) == "Prediction of m version unknown"


def test_a_server_without_the_method_says_unimplemented(raw_server):
    with PredictClient(raw_server(Predict=lambda *_: b""), model="m") as client, pytest.raises(UnimplementedError):
        client.status()


# --- size limits -----------------------------------------------------------------------------------------------------


def big_call(target, **options):
    """Send 80 kB and get 80 kB."""
    with PredictClient(target, model="echo", **options) as client:
        client.predict({"x": np.zeros(20_000, np.float32)})


def test_the_clients_limit_for_replies_is_named(fake_server):
    echoing(fake_server, ANY_FLOAT)
    with pytest.raises(ResourceExhaustedError, match="The client refused the reply") as caught:
        big_call(fake_server.target, channel_options={"grpc.max_receive_message_length": 1111})
    assert "'grpc.max_receive_message_length' in channel_options" in caught.value.hint


def test_the_clients_limit_for_requests_is_named(fake_server):
    echoing(fake_server, ANY_FLOAT)
    with pytest.raises(ResourceExhaustedError, match="The client refused the request") as caught:
        big_call(fake_server.target, channel_options={"grpc.max_send_message_length": 1111})
    assert "'grpc.max_send_message_length' in channel_options" in caught.value.hint
    assert not fake_server.calls


@pytest.mark.parametrize(
    ("option", "what"),
    [("grpc.max_receive_message_length", "request"), ("grpc.max_send_message_length", "reply")],
)
def test_the_servers_limits_are_named(option, what):
    with FakeServer(ServerConfig(channel_arguments={option: 1111})) as server:
        echoing(server, ANY_FLOAT)
        with pytest.raises(ResourceExhaustedError, match=f"The server refused the {what}") as caught:
            big_call(server.target)
    assert f"--grpc_channel_arguments={option}=-1" in caught.value.hint


def test_resource_exhausted_without_a_size_means_busy(raw_server):
    def abort(request, context):
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "The batch scheduling queue is full")

    with PredictClient(raw_server(Predict=abort), model="m") as client, pytest.raises(ResourceExhaustedError) as caught:
        client.predict({"x": [1.0]})
    assert caught.value.hint == "The server is busy; retry=RetryPolicy() tries such calls again."


# --- closing ---------------------------------------------------------------------------------------------------------


def test_close_may_be_called_again_and_later_calls_fail(double):
    client = PredictClient(double.target, model="double")
    with client as entered:
        assert entered is client
        client.predict([1.0])
    client.close()
    client.close()
    uses = [
        lambda: client.predict([1.0]),
        lambda: client.predict({"x": [1.0]}),
        lambda: client.predict_future({"x": [1.0]}),
        client.status,
        client.signatures,
        client.is_ready,
        client.wait_until_ready,
    ]
    for use in uses:
        with pytest.raises(ClosedError, match=f"'{double.target}', model='double'\\) was closed"):
            use()


def test_a_client_that_never_called_can_be_closed():
    PredictClient("localhost:1").close()


def test_closing_ends_a_blocking_call_promptly(gated, gate):
    client = PredictClient(gated.target, model="slow", timeout=None)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(client.predict, {"x": [1.0]})
        assert gate.entered.wait(10)
        client.close()
        with pytest.raises(ClosedError, match="closed during Predict"):
            pending.result(5)


def test_closing_ends_a_future_promptly(gated, gate):
    client = PredictClient(gated.target, model="slow", timeout=None)
    pending = client.predict_future({"x": [1.0]})
    assert gate.entered.wait(10)
    client.close()
    with pytest.raises(ClosedError, match="closed during Predict"):
        pending.result(5)


def test_a_forgotten_client_warns_and_names_itself(double):
    def forget():
        PredictClient(double.target, model="double").predict([1.0])

    def forgotten():
        forget()
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"unclosed PredictClient\('.*', model='double'\): use it as a context"):
        forgotten()


def connections(target):
    """How many connections of this process to a server at loopback stand."""
    port = f":{int(target.rpartition(':')[2]):04X}"
    lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/self/net", name).read_text().splitlines()]
    found = [line.split() for line in lines if ":" in line]
    return sum(remote.endswith(port) and state == "01" for _, _, remote, state, *_ in found)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="the system does not list connections")
@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_the_connections_of_a_forgotten_client_are_released_after_its_calls(double, style):
    target = target_of(style, double)
    client = PredictClient(target, model="double")
    assert client.predict({"x": [1.0]}).array.tolist() == [2.0]
    assert connections(target)
    future = client.predict_future({"x": [1.0]})
    del client
    gc.collect()
    assert future.result(20).array.tolist() == [2.0]
    del future
    end = time.monotonic() + 20
    while connections(target):
        gc.collect()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_client_that_could_not_be_made_does_not_warn():
    with pytest.raises(ConfigError):
        PredictClient("localhost:1", timeout="soon")
    gc.collect()  # warnings are errors here


def test_a_client_prints_its_target_and_model():
    with PredictClient("localhost:1") as client, PredictClient("localhost:1", model="m") as other:
        assert (repr(client), repr(other)) == (
            "PredictClient('localhost:1')",
            "PredictClient('localhost:1', model='m')",
        )


def test_a_client_reconnects_to_a_restarted_server():
    port = free_port()
    with FakeServer(port=port) as first:
        echoing(first, ANY_FLOAT)
        client = PredictClient(first.target, model="echo", timeout=10)
        client.predict([1.0])
    with client:
        with pytest.raises(UnavailableError):
            client.predict({"x": [1.0]})
        with FakeServer(ServerConfig(port=port)) as second:
            echoing(second, ANY_FLOAT)
            client.wait_until_ready(10)
            assert client.predict([1.0]).array.tolist() == [1]


# --- threads ---------------------------------------------------------------------------------------------------------


def test_sixteen_threads_share_a_client(client):
    def work(number):
        for step in range(20):
            value = float(100 * number + step)
            inputs = [value] if step % 2 else {"x": [value]}
            if client.predict(inputs).array.tolist() != [2 * value]:
                return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(16)))


# --- signatures and status -------------------------------------------------------------------------------------------


def test_signatures_have_names_dtypes_and_shapes(several):
    several.add_model(
        "several",
        lambda t: t,
        inputs={"t": TensorSpec("string", ())},
        outputs={"t": TensorSpec("string")},
        signature="text",
        method_name="tensorflow/serving/classify",
    )
    with PredictClient(several.target, model="several") as client:
        signatures = client.signatures()
    assert (signatures.model, signatures.version) == ("several", 1)
    default = signatures["serving_default"]
    assert default.inputs == {"a": VECTOR, "b": VECTOR}
    assert default.optional == {"b"}
    assert default.inputs["a"].tensor_name == "serving_default_a:0"
    assert set(default.outputs) == {"sum", "product", "first"}
    assert signatures["text"].inputs == {"t": TensorSpec("string", ())}
    assert signatures["text"].outputs == {"t": TensorSpec("string", None)}
    assert signatures["text"].method_name == "tensorflow/serving/classify"


def test_signatures_follow_version_and_label(versions):
    with PredictClient(versions.target, model="first", version=1) as client:
        assert client.signatures().version == 1
        assert client.signatures(version=None).version == 2
        assert client.signatures(label="stable").version == 1
        assert client.signatures(model="other").version == 2


def test_status_lists_versions_highest_first(versions):
    with PredictClient(versions.target, model="first", label="stable") as client:
        status = client.status()
        assert status.model == "first"
        assert [(entry.version, entry.state) for entry in status.versions] == [
            (2, State.AVAILABLE),
            (1, State.AVAILABLE),
        ]
        assert status.available == (2, 1)
        assert [entry.version for entry in client.status(version=1).versions] == [1]
        with pytest.raises(NotFoundError, match="Could not find version 9 of model first"):
            client.status(version=9)
        with pytest.raises(NotFoundError, match="Could not find any versions of model nothing"):
            client.status(model="nothing")


def test_a_removed_version_is_listed_as_ended_and_not_ready(versions):
    versions.remove_model("first", 2)
    with PredictClient(versions.target, model="first") as client:
        assert str(client.status()) == "first\n  version 2: END\n  version 1: AVAILABLE"
        assert client.is_ready()
        assert not client.is_ready(version=2)
        assert client.is_ready(version=1)


def test_is_ready_supports_labels(versions):
    with PredictClient(versions.target, model="first") as client:
        assert client.is_ready(label="stable")
        assert not client.is_ready(label="unknown")
        assert not client.is_ready(model="nothing")


def test_is_ready_is_false_for_an_unreachable_or_unresponsive_server(gated, raw_server):
    with PredictClient("127.0.0.1:1", model="m") as client:
        assert not client.is_ready(timeout=5)

    def sleep(request, context):
        time.sleep(0.5)
        return b""

    with PredictClient(raw_server(GetModelStatus=sleep), model="m") as client:
        assert not client.is_ready(timeout=0.1)


def test_is_ready_raises_permanent_errors(raw_server):
    def refuse(request, context):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")

    with PredictClient(raw_server(GetModelStatus=refuse), model="m") as client:
        with pytest.raises(PermissionDeniedError, match="not you"):
            client.is_ready()
        with pytest.raises(PermissionDeniedError, match="not you"):
            client.wait_until_ready(5)


def test_waiting_ends_when_the_server_comes_up():
    port = free_port()
    with PredictClient(f"127.0.0.1:{port}", model="echo") as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait_until_ready, 20)
        time.sleep(0.3)
        assert not waiting.done()
        with FakeServer(ServerConfig(port=port)) as server:
            echoing(server, ANY_FLOAT)
            waiting.result(20)
            assert client.predict([1.0]).array.tolist() == [1]


@pytest.mark.parametrize("options", [{}, {"version": 1}, {"label": "stable"}], ids=["latest", "version", "label"])
def test_waiting_ends_when_the_model_appears(fake_server, options):
    with PredictClient(fake_server.target, model="echo", **options) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait_until_ready, 20)
        time.sleep(0.15)
        assert not waiting.done()
        echoing(fake_server, ANY_FLOAT)
        fake_server.set_label("echo", "stable", 1)
        waiting.result(20)
        assert client.is_ready()


def test_waiting_without_limit_ends_too(double):
    with PredictClient(double.target, model="double") as client:
        client.wait_until_ready(None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": "echo"},
            r"model 'echo' at .* was not ready within 0.35 s: Could not find any versions of model echo",
        ),
        ({"model": "echo", "version": 3}, "model 'echo' version 3 at .*: Could not find version 3 of model echo"),
        (
            {"model": "double", "label": "x"},
            "model 'double' label 'x' at .*: Unrecognized servable version label: x",
        ),
    ],
)
def test_waiting_that_times_out_says_what_was_missing(double, options, message):
    with PredictClient(double.target, **options) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError, match=message) as caught:
            client.wait_until_ready(0.35)
        assert "check" not in str(caught.value)  # the model may still come: its name need not be wrong
        assert 0.3 < time.monotonic() - started < 5


def test_waiting_for_an_ended_version_says_so(double):
    double.remove_model("double")
    with (
        PredictClient(double.target, model="double") as client,
        pytest.raises(DeadlineExceededError, match=r"not ready within 0\.25 s: version 1: END"),
    ):
        client.wait_until_ready(0.25)


def test_waiting_for_a_missing_server_says_why_it_is_unreachable():
    with (
        PredictClient("127.0.0.1:1", model="m") as client,
        pytest.raises(DeadlineExceededError, match=r"at 127.0.0.1:1 was not ready within 0.3 s: failed to connect"),
    ):
        client.wait_until_ready(0.3)


# --- targets ---------------------------------------------------------------------------------------------------------


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "dns:///localhost:{}", "ipv4:127.0.0.1:{}"])
def test_targets_by_name_and_address(double, form):
    with PredictClient(form.format(double.server.port), model="double") as client:
        assert client.predict([1.0]).array.tolist() == [2]


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_target_by_ipv6_address():
    with FakeServer(ServerConfig(host="::1")) as server:
        echoing(server, ANY_FLOAT)
        assert server.target.startswith("[::1]:")
        with PredictClient(server.target, model="echo") as client:
            assert client.predict([1.0]).array.tolist() == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="gRPC has no Unix sockets there")
@pytest.mark.parametrize("scheme", ["unix:", "unix://"])
def test_target_by_unix_socket(raw_server, tmp_path, scheme):
    path = tmp_path / "s"
    if len(str(path)) > 100:
        pytest.skip("the path of the temporary directory is too long for a socket")
    raw_server(f"unix:{path}", Predict=lambda *_: b"")
    with PredictClient(f"{scheme}{path}", model="m") as client:
        assert dict(client.predict({"x": [1.0]})) == {}


def test_two_clients_of_one_target_do_not_share_a_connection(double):
    with PredictClient(double.target, model="double") as one, PredictClient(double.target, model="double") as two:
        assert one.predict([1.0]).array.tolist() == two.predict([1.0]).array.tolist()
        one.close()
        assert two.predict([1.0]).array.tolist() == [2]


def test_a_call_from_a_thread_that_ends_leaks_nothing(client):
    before = threading.active_count()
    for _ in range(40):
        thread = threading.Thread(target=client.predict, args=({"x": np.float32([1.0])},))
        thread.start()
        thread.join(10)
    assert threading.active_count() < before + 20  # the server starts some of its own


@pytest.mark.parametrize(
    ("inputs", "options", "hint"),
    [
        (
            {"X": [1.0]},
            {},
            "According to the model's signature, 'X' is not an input, but 'x' is; 'x' is missing: float32 (?,).",
        ),
        (
            {"x": np.int32([1])},
            {},
            "According to the model's signature, 'x' expects float32 (?,), got int32 (1,): wrong dtype; "
            "pass cast=True to cast it.",
        ),
        (
            {"x": np.float64([1e300])},
            {},
            "According to the model's signature, 'x' expects float32 (?,), got float64 (1,): wrong dtype.",
        ),
        (
            {"x": ["a"]},
            {},
            "According to the model's signature, 'x' expects float32 (?,), got string (1,): wrong dtype.",
        ),
        ({"x": [1.0]}, {"outputs": ["z"]}, "The signature has the outputs y."),
        ({"x": [1.0]}, {"signature": "z"}, "The model has the signatures serving_default."),
    ],
)
def test_a_refused_request_is_compared_with_the_signature(client, inputs, options, hint):
    with pytest.raises((InvalidArgumentError, FailedPreconditionError)) as caught:
        client.predict(inputs, **options)
    assert caught.value.hint == hint
    assert str(caught.value).endswith(hint)


def test_a_refusal_that_the_signature_cannot_explain_has_no_hint(fake_server):
    def refuse(x):
        raise InvalidArgumentError("not to my taste")

    spec = {"x": TensorSpec("float32", (None,))}
    fake_server.add_model("m", refuse, inputs=spec, outputs=spec)
    with PredictClient(fake_server.target, model="m") as client, pytest.raises(InvalidArgumentError) as caught:
        client.predict({"x": [1.0]})
    assert (caught.value.details, caught.value.hint) == ("not to my taste", "")


def test_a_shape_that_fails_in_the_model_is_explained(fake_server):
    fake_server.add_model(
        "m",
        lambda x: x @ np.ones((3, 2), np.float32),
        inputs={"x": TensorSpec("float32", (None, 3))},
        outputs={"y": TensorSpec("float32", (None, 2))},
    )
    with PredictClient(fake_server.target, model="m") as client, pytest.raises(InvalidArgumentError) as caught:
        client.predict({"x": np.zeros((1, 5), np.float32)})
    assert caught.value.hint == (
        "According to the model's signature, 'x' expects float32 (?, 3), got float32 (1, 5): "
        "expected size 3 on axis 1, got 5."
    )


def test_the_options_object_has_the_options_of_the_method_signatures():
    constructor = set(inspect.signature(PredictClient).parameters)
    assert constructor - {"target"} == set(GivenOptions.__annotations__)
    parameters = inspect.signature(PredictClient.predict).parameters.values()
    assert {one.name for one in parameters if one.kind is one.KEYWORD_ONLY} == set(CallOptions.__annotations__)


def test_the_description_of_every_option_names_its_default():
    """The signature has UNSET, which says nothing."""
    described = dict(re.findall(r"^    (\w+): (.*(?:\n        .*)*)", inspect.getdoc(PredictClient), re.MULTILINE))
    parameters = inspect.signature(PredictClient).parameters.values()
    unset = [parameter.name for parameter in parameters if parameter.default is UNSET]
    assert len(unset) > 15
    assert [name for name in unset if "default" not in described[name]] == []
