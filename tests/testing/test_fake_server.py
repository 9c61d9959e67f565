"""FakeServer: the test double from its users' view."""

from __future__ import annotations

import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import numpy as np
import pytest
from calling import STYLES, calling

from tfs_client import (
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    EncodeError,
    InvalidArgumentError,
    PredictClient,
    Signature,
    StatusCode,
    TensorSpec,
    make_tensor_proto,
)
from tfs_client.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest
from tfs_client.protos.tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer
from tfs_client.testing.fake_server import FakeServerOptions

VECTOR = TensorSpec("float32", (None,))
SPECS = {"inputs": {"x": VECTOR}, "outputs": {"y": VECTOR}}


def test_models_can_be_added_in_a_chain():
    with (
        FakeServer()
        .add_model("double", lambda x: 2 * x, **SPECS)
        .add_model("triple", lambda x: 3 * x, **SPECS)
        .add_model("triple", lambda x: 30 * x, **SPECS, version=2) as server,
        PredictClient(server.target) as client,
    ):
        assert client.predict([1.0], model="double").array.tolist() == [2]
        assert client.predict([1.0], model="triple").array.tolist() == [30]
        assert client.predict([1.0], model="triple", version=1).array.tolist() == [3]


def test_a_version_can_have_several_signatures(fake_server):
    fake_server.add_model("m", lambda x: x, **SPECS)
    fake_server.add_model("m", lambda x: -x, **SPECS, signature="negative", method_name="tensorflow/serving/regress")
    with PredictClient(fake_server.target, model="m") as client:
        assert client.predict([1.0], signature="negative").array.tolist() == [-1]
        assert client.predict([1.0]).array.tolist() == [1]
        assert set(client.signatures()) == {"serving_default", "negative"}
        assert client.signatures()["negative"].method_name == "tensorflow/serving/regress"


def test_the_same_signature_twice_is_refused(fake_server):
    fake_server.add_model("m", lambda x: x, **SPECS)
    with pytest.raises(ConfigError, match="model 'm' version 1 already has a signature 'serving_default'"):
        fake_server.add_model("m", lambda x: -x, **SPECS)
    with PredictClient(fake_server.target, model="m") as client:
        assert client.predict([1.0]).array.tolist() == [1]


@pytest.mark.parametrize(
    "mistake",
    [
        {"inputs": {"x": "float32"}},
        {"outputs": {"y": (None, 3)}},
        {"defaults": {"z": 1}},
        {"version": -1},
        {"name": ""},
        {"name": None},
        {"name": 5},
        {"name": ["m"]},
        {"version": [1]},
        {"check_shapes": "no"},
    ],
)
def test_a_refused_model_can_be_added_correctly(fake_server, mistake):
    options = {"name": "m"} | SPECS
    with pytest.raises(ConfigError):
        fake_server.add_model(fn=lambda x: x, **(options | mistake))
    fake_server.add_model(fn=lambda x: x, **options)
    with PredictClient(fake_server.target, model="m") as client:
        assert client.predict([1.0]).array.tolist() == [1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"check_shapes": "no"}, "expected check_shapes to be True or False, got 'no'"),
        ({"name": 5}, "expected a name for the model, got 5"),
        ({"name": b"m"}, "expected a name for the model, got b'm'"),
        ({"name": ""}, "expected a name for the model, got an empty one"),
        ({"fn": 0}, "signature 'serving_default' needs a function, got 0"),
        ({"defaults": []}, r"signature 'serving_default' needs defaults by alias, got \[\]"),
    ],
)
def test_arguments_of_other_types_are_refused(fake_server, options, text):
    vector = TensorSpec("float32", (None,))
    given = {"name": "m", "fn": lambda x: x, "inputs": {"x": vector}, "outputs": {"y": vector}}
    with pytest.raises(ConfigError, match=text):
        fake_server.add_model(**{**given, **options})
    assert fake_server.models == []


def test_a_default_that_does_not_fit_is_refused(fake_server):
    with pytest.raises(EncodeError):
        fake_server.add_model("m", lambda x: x, **SPECS, defaults={"x": "text"})


def test_a_removed_version_can_be_added_again(fake_server):
    fake_server.add_model("m", lambda x: x, **SPECS)
    fake_server.remove_model("m")
    with PredictClient(fake_server.target, model="m") as client:
        assert not client.is_ready()
        fake_server.add_model("m", lambda x: 5 * x, **SPECS)
        assert client.predict([1.0]).array.tolist() == [5]
    with pytest.raises(ConfigError, match="no version 3"):
        fake_server.remove_model("m", 3)
    for name, version in ((5, 1), (["m"], 1), ("m", "1")):
        with pytest.raises(ConfigError, match=r"expected a (name|version number)"):
            fake_server.remove_model(name, version)


def test_labels_can_be_set(fake_server):
    for version in (1, 2):
        fake_server.add_model("m", lambda x, n=version: n * x, **SPECS, version=version)
    fake_server.set_label("m", "stable", 1)
    with PredictClient(fake_server.target, model="m", label="stable") as client:
        assert client.predict([1.0]).array.tolist() == [1]
        fake_server.set_label("m", "stable", 2)
        assert client.predict([1.0]).array.tolist() == [2]
    fake_server.states.loading("m", 3)
    fake_server.set_label("m", "next", 3)
    with pytest.raises(ConfigError, match="label 'stable': model 'm' has no version 7; add it first"):
        fake_server.set_label("m", "stable", 7)


def test_calls_are_a_copy_that_does_not_grow(double, client):
    client.predict([1.0])
    calls = double.calls
    client.predict([2.0])
    assert [call.method for call in calls] == ["Predict"]
    assert [call.method for call in double.lookups] == ["GetModelMetadata"]
    assert len(double.calls) == 2
    assert double.calls[-1].inputs["x"].tolist() == [2]
    assert double.calls[-1].outputs["y"].tolist() == [4]


def test_calls_can_still_be_read_when_the_server_has_stopped(double, client):
    client.predict([1.0])
    double.stop()
    double.stop()
    assert (len(double.calls), len(double.lookups)) == (1, 1)
    with pytest.raises(ClosedError):
        _ = double.target


def test_options_of_the_server_can_be_given():
    with FakeServer(ServerConfig(threads=1)) as server:
        assert server.server.config.threads == 1


def test_start_returns_the_server():
    server = FakeServer()
    try:
        assert server.start() is server
    finally:
        server.stop()


def test_calls_can_be_forgotten(double):
    with PredictClient(double.target, model="double") as client:
        client.predict({"x": [1.0]})
        assert len(double.calls) == 1
        double.clear_calls()
        assert double.calls == []
        client.predict({"x": [2.0]})
        assert [call.inputs["x"].tolist() for call in double.calls] == [[2.0]]


# --- shapes ----------------------------------------------------------------------------------------------------------

IMAGE = TensorSpec("float32", (None, 2, 3))
SCORES = TensorSpec("float32", (None,))
TEXT = "Cannot feed value of shape {} for Tensor serving_default_image:0, which has shape (None, 2, 3)"


def scored(server, **options):
    return server.add_model(
        "m", lambda image: np.zeros(len(image)), inputs={"image": IMAGE}, outputs={"y": SCORES}, **options
    )


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.mark.parametrize("shape", [(1, 3, 2), (2, 3), (1, 2, 3, 1), (6,), ()])
def test_inputs_of_another_shape_are_refused_with_tensorflows_text(fake_server, style, shape):
    scored(fake_server)
    with calling(style, fake_server, model="m", timeout=20) as client:
        with pytest.raises(InvalidArgumentError) as caught:
            client.predict({"image": np.zeros(shape, np.float32)})
        assert client.predict({"image": np.zeros((4, 2, 3), np.float32)}).array.shape == (4,)
    assert caught.value.details == TEXT.format(shape)
    refused, good = fake_server.calls
    assert (refused.method, refused.code, refused.details) == (
        "Predict",
        StatusCode.INVALID_ARGUMENT,
        TEXT.format(shape),
    )
    assert refused.inputs["image"].shape == shape
    assert good.code is StatusCode.OK


@pytest.mark.parametrize(
    ("server_options", "model_options", "checked"),
    [
        ({}, {}, True),
        ({"check_shapes": False}, {}, False),
        ({}, {"check_shapes": False}, False),
        ({"check_shapes": False}, {"check_shapes": True}, True),
    ],
)
def test_the_check_can_be_switched_off(server_options, model_options, checked):
    with FakeServer(**server_options) as server, PredictClient(scored(server, **model_options).target) as client:
        image = np.zeros((1, 5, 5), np.float32)
        if checked:
            with pytest.raises(InvalidArgumentError, match="Cannot feed value of shape"):
                client.predict({"image": image}, model="m")
        else:
            assert client.predict({"image": image}, model="m").array.shape == (1,)


def test_unknown_sizes_and_ranks_accept_anything(fake_server):
    for name, shape in (("any", None), ("axes", (None, None))):
        spec = TensorSpec("float32", shape)
        fake_server.add_model(name, lambda x: x, inputs={"x": spec}, outputs={"y": spec})
    with PredictClient(fake_server.target) as client:
        for shape in ((), (3,), (2, 0, 5)):
            assert client.predict({"x": np.zeros(shape, np.float32)}, model="any").array.shape == shape
        assert client.predict({"x": np.zeros((0, 7), np.float32)}, model="axes").array.shape == (0, 7)


def test_the_dtype_is_refused_before_the_shape(fake_server):
    scored(fake_server)
    refused = pytest.raises(InvalidArgumentError, match="to be float but double is provided")
    with PredictClient(fake_server.target, model="m") as client, refused:
        client.predict({"image": np.zeros((1, 9, 9))})


def test_defaults_are_not_checked_but_inputs_that_replace_them_are(fake_server):
    fake_server.add_model(
        "m",
        lambda x, by: x * by.sum(),
        inputs={"x": VECTOR, "by": TensorSpec("float32", ())},
        outputs={"y": VECTOR},
        defaults={"by": [2.0, 1.0]},
    )
    with PredictClient(fake_server.target, model="m") as client:
        assert client.predict({"x": np.float32([1])}).array.tolist() == [3]
        with pytest.raises(InvalidArgumentError, match=r"shape \(1,\) for Tensor serving_default_by:0"):
            client.predict({"x": np.float32([1]), "by": np.float32([5])})


def test_examples_are_not_checked(fake_server):
    """The server makes the vector of examples itself, for any shape in the signature."""
    fake_server.add_model(
        "m",
        lambda inputs: np.zeros(len(inputs), np.float32),
        inputs={"inputs": TensorSpec("string", (None, 1))},
        outputs={"outputs": VECTOR},
        method_name="tensorflow/serving/regress",
    )
    with PredictClient(fake_server.target, model="m") as client:
        assert client.regress([{"a": 1.0}]).values == (0,)


# --- calls, lookups, deadlines ---------------------------------------------------------------------------------------


def test_status_and_metadata_are_not_recorded_as_calls(double, style):
    with calling(style, double, model="double", timeout=20) as client:
        client.wait_until_ready(20)
        client.predict([1.0])
        client.signatures()
        client.status()
        with pytest.raises(InvalidArgumentError):
            client.predict({"x": np.zeros((1, 1), np.float32)})
    assert [(call.method, call.code) for call in double.calls] == [
        ("Predict", StatusCode.OK),
        ("Predict", StatusCode.INVALID_ARGUMENT),
    ]
    assert {call.method for call in double.lookups} == {"GetModelMetadata", "GetModelStatus"}
    double.clear_calls()
    assert double.calls == double.lookups == []


def test_a_call_has_the_timeout_that_was_sent(double, style):
    with calling(style, double, model="double", timeout=20) as client:
        client.predict(np.float32([1]))
        client.predict(np.float32([1]), timeout=7)
    if style.startswith("rest"):
        assert [call.timeout for call in double.calls] == [None, None]
    else:
        default, given = (call.timeout for call in double.calls)
        assert 10 < default <= 21  # the time on the way is off, and gRPC rounds up
        assert 3 < given <= 7.1


def test_a_call_without_a_deadline_has_no_timeout(double):
    request = PredictRequest()
    request.model_spec.name = "double"
    request.inputs["x"].CopyFrom(make_tensor_proto(np.float32([1])))
    with grpc.insecure_channel(double.target) as channel:
        PredictionServiceStub(channel).Predict(request)
    assert [call.timeout for call in double.calls] == [None]


def test_a_call_that_timed_out_is_recorded_at_once_and_only_once(gated, gate, style):
    with calling(style, gated, model="slow", timeout=20) as client:
        client.signatures()
        for count in (1, 2):
            with pytest.raises(DeadlineExceededError):
                client.predict({"x": np.float32([count])}, timeout=0.8)
            calls = gated.calls
            assert len(calls) == count
        assert gate.entered.is_set()
        gate.open.set()
        client.predict({"x": np.float32([3])})  # the server has threads enough, and comes to an end with all of them
    gated.stop()
    code = StatusCode.CANCELLED if style.startswith("rest") else StatusCode.DEADLINE_EXCEEDED
    assert [call.code for call in gated.calls] == [code, code, StatusCode.OK]
    assert [call.inputs["x"].tolist() for call in gated.calls] == [[1], [2], [3]]
    assert all(not call.outputs for call in calls)
    assert all(0.1 < call.seconds < 15 for call in calls)


def test_a_large_rest_request_that_timed_out_is_recorded_at_once(gated):
    with PredictClient(gated.rest_url, model="slow", timeout=20) as client:
        client.signatures()
        with pytest.raises(DeadlineExceededError):
            client.predict({"x": np.zeros(100_000, np.float32)}, timeout=2)
    assert [call.code for call in gated.calls] == [StatusCode.CANCELLED]


def test_every_call_is_recorded_once_however_it_ends():
    """Many threads, and deadlines around the time that the function takes."""
    with FakeServer(ServerConfig(threads=16)) as server:
        server.add_model("m", lambda x: time.sleep(0.03) or x, **SPECS)
        with PredictClient(server.target, model="m") as client, ThreadPoolExecutor(8) as pool:

            def call(number):
                try:
                    return client.predict({"x": np.float32([number])}, timeout=0.01 + number % 40 / 1000).array.item()
                except DeadlineExceededError:
                    return None

            answers = list(pool.map(call, range(200)))
        server.stop()
        numbers = [call.inputs["x"].item() for call in server.calls if call.inputs]
        assert len(numbers) == len(set(numbers))
        assert {answer for answer in answers if answer is not None} <= set(numbers)


# --- REST ------------------------------------------------------------------------------------------------------------


def rest_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("tfs-serve-rest")}


def test_rest_opens_on_first_use(double):
    before = rest_threads()
    url = double.rest_url
    assert len(rest_threads() - before) == 1
    assert double.rest_url == url
    response = httpx.post(f"{url}/v1/models/double:predict", json={"instances": [1, 2]})
    assert response.json() == {"predictions": [2, 4]}
    assert [(call.method, call.transport) for call in double.calls] == [("Predict", "rest")]
    assert double.calls[0].inputs["x"].tolist() == [1, 2]


def test_rest_can_be_opened_by_several_threads_at_once(double):
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: double.rest_url, range(8)))) == 1


def test_rest_ends_with_the_server(double):
    before = rest_threads()
    url = double.rest_url
    double.stop()
    with pytest.raises(ClosedError, match="not running"):
        _ = double.rest_url
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert not {thread for thread in rest_threads() - before if thread.name.endswith("loop")}
    double.start()
    assert httpx.get(f"{double.rest_url}/v1/models/double").status_code == 200


def test_options_of_rest_can_be_given():
    with FakeServer(ServerConfig(rest_port=0, rest_cors=True)) as server:
        assert httpx.get(f"{server.rest_url}/v1/models/m").headers["access-control-allow-origin"] == "*"


def test_a_server_made_of_a_model_takes_every_option():
    assert FakeServerOptions.__annotations__.keys() == inspect.signature(FakeServer).parameters.keys()
    signatures = {"serving_default": Signature({"x": VECTOR}, {"y": VECTOR})}
    with pytest.raises(ConfigError, match="expected one port, got 1 in the config and 2 as an argument"):
        FakeServer.from_signatures(signatures, name="m", config=ServerConfig(port=1), port=2)
    server = FakeServer.from_signatures(signatures, name="m", strict=True, connection_faults=False)
    server.expect("m", [1.0])
    with pytest.raises(AssertionError, match="unused expectations"), server:
        assert server.target == server.server.target
