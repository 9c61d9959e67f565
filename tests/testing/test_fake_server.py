"""FakeServer: the test double as its users use it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tfs_client import ClosedError, ConfigError, EncodeError, PredictClient, TensorSpec
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

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
    with pytest.raises(ConfigError, match="model 'm' version 1 has a signature 'serving_default' already"):
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
    ],
)
def test_a_model_that_was_refused_can_be_added_right(fake_server, mistake):
    options = {"name": "m"} | SPECS
    with pytest.raises(ConfigError):
        fake_server.add_model(fn=lambda x: x, **(options | mistake))
    fake_server.add_model(fn=lambda x: x, **options)
    with PredictClient(fake_server.target, model="m") as client:
        assert client.predict([1.0]).array.tolist() == [1]


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


def test_labels_can_be_set(fake_server):
    for version in (1, 2):
        fake_server.add_model("m", lambda x, n=version: n * x, **SPECS, version=version)
    fake_server.set_label("m", "stable", 1)
    with PredictClient(fake_server.target, model="m", label="stable") as client:
        assert client.predict([1.0]).array.tolist() == [1]
        fake_server.set_label("m", "stable", 2)
        assert client.predict([1.0]).array.tolist() == [2]


def test_calls_are_a_copy_that_does_not_grow(double, client):
    client.predict([1.0])
    calls = double.calls
    client.predict([2.0])
    assert [call.method for call in calls] == ["GetModelMetadata", "Predict"]
    assert len(double.calls) == 3
    assert double.calls[-1].inputs["x"].tolist() == [2]
    assert double.calls[-1].outputs["y"].tolist() == [4]


def test_calls_can_still_be_read_when_the_server_has_stopped(double, client):
    client.predict([1.0])
    double.stop()
    double.stop()
    assert len(double.calls) == 2
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


# --- REST ------------------------------------------------------------------------------------------------------------


def rest_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("tfs-serve-rest")}


def test_rest_opens_when_it_is_first_asked_for(double):
    before = rest_threads()
    url = double.rest_url
    assert len(rest_threads() - before) == 1
    assert double.rest_url == url
    response = httpx.post(f"{url}/v1/models/double:predict", json={"instances": [1, 2]})
    assert response.json() == {"predictions": [2, 4]}
    assert [(call.method, call.transport) for call in double.calls] == [("Predict", "rest")]
    assert double.calls[0].inputs["x"].tolist() == [1, 2]


def test_rest_is_asked_for_by_several_threads_at_once(double):
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
        assert server.rest_url == server.server.rest_url
        assert httpx.get(f"{server.rest_url}/v1/models/m").headers["access-control-allow-origin"] == "*"
