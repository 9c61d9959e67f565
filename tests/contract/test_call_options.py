"""Options of clients and calls, for every way of calling."""

from __future__ import annotations

import threading
import warnings

import grpc
import numpy as np
import pytest
from calling import GRPC, REST, STYLES, Awaited, all_calls, calling

from tfs_client import ConfigError, InvalidArgumentError, TensorSpec
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        server.add_model("double", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        yield server


@pytest.fixture(autouse=True)
def no_calls(server):
    server.clear_calls()


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.fixture
def client(server, style):
    with calling(style, server, model="double", timeout=20) as client:
        yield client


def predictions(server):
    return [call for call in server.calls if call.method == "Predict"]


def test_metadata_of_the_client_and_of_the_call_are_sent(server, style):
    with calling(style, server, model="double", metadata={"who": "me", "why": "so"}) as client:
        client.predict({"x": [1.0]}, metadata={"why": "because"})
    (call,) = predictions(server)
    assert (call.metadata["who"], call.metadata["why"]) == ("me", "because")


def test_every_call_sends_the_token(server, style):
    with calling(style, server, model="double", token="secret") as client:
        client.predict([1.0])
        client.predict({"x": [1.0]}, metadata={"authorization": "mine"})
    *calls, last = all_calls(server)
    assert {call.metadata["authorization"] for call in calls} == {"Bearer secret"}
    assert last.metadata["authorization"] == "mine"


def test_a_token_function_runs_for_every_call(server, style):
    tokens = iter(["first", "second", "third"])
    with calling(style, server, model="double", token=lambda: next(tokens)) as client:
        client.status()
        client.status()
    assert [call.metadata["authorization"] for call in server.lookups] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("style", [style for style in STYLES if style.endswith("aio")])
def test_a_token_function_may_be_a_coroutine_function(server, style):
    async def token():
        return "awaited"

    with calling(style, server, model="double", token=token) as client:
        client.predict({"x": [1.0]})
    assert predictions(server)[0].metadata["authorization"] == "Bearer awaited"


def test_every_call_gets_its_own_id(server, style):
    with calling(style, server, model="double", request_id=True) as client:
        for _ in range(3):
            client.predict({"x": [1.0]})
        client.predict({"x": [1.0]}, metadata={"x-request-id": "mine"})
    ids = [call.metadata["x-request-id"] for call in predictions(server)]
    assert len(set(ids)) == 4
    assert ids[-1] == "mine"
    assert all(len(one) == 32 for one in ids[:-1])


def test_requests_may_be_compressed(server, style):
    x = np.zeros(100_000, np.float32)
    with calling(style, server, model="double", compression="gzip") as client:
        np.testing.assert_array_equal(client.predict({"x": x}).array, x)
        np.testing.assert_array_equal(client.predict({"x": x}, compression=None).array, x)
    if style in REST:
        assert [call.metadata.get("content-encoding") for call in predictions(server)] == ["gzip", None]


def test_deflate_is_refused_over_rest(server, style, client):
    if style in GRPC:
        assert client.predict({"x": [1.0]}, compression="deflate").array.tolist() == [2.0]
        return
    with pytest.raises(ConfigError, match="a REST server reads gzip only"):
        client.predict({"x": [1.0]}, compression="deflate")
    with (
        pytest.raises(ConfigError, match="a REST server reads gzip only"),
        calling(style, server, compression="deflate"),
    ):
        pass


def test_a_call_may_name_another_model_and_label(server, client):
    server.set_label("double", "stable", 1)
    assert client.predict({"x": [1.0]}, label="stable").array.tolist() == [2.0]
    assert client.is_ready(label="stable")
    assert not client.is_ready(label="nobody")


# --- signatures that change -------------------------------------------------------------------------------------------


@pytest.fixture
def changing(style):
    """A server whose model has another signature in version 2, and a client that has called version 1."""
    with FakeServer() as server:
        server.add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        with calling(style, server, model="m", timeout=20) as client:
            assert client.predict([1.5]).array.tolist() == [1.5]
            integers = TensorSpec("int64", (None,))
            server.add_model(
                "m",
                lambda z: {"a": z, "b": -z},
                inputs={"z": integers},
                outputs={"a": integers, "b": integers},
                version=2,
            )
            yield server, client


def test_single_values_follow_a_new_version(changing):
    _, client = changing
    prediction = client.predict([2**40])
    assert {alias: array.tolist() for alias, array in prediction.items()} == {"a": [2**40], "b": [-(2**40)]}


def test_named_inputs_follow_a_new_version(changing):
    _, client = changing
    assert client.predict({"z": np.int64([3])})["b"].tolist() == [-3]


def test_outputs_are_read_by_the_version_that_answered(changing, style):
    server, client = changing
    server.remove_model("m", 2)
    assert client.predict({"x": np.float32([1])}).array.tolist() == [1.0]
    server.add_model(
        "m",
        lambda x: {"other": x.astype(np.int64)},
        inputs={"x": VECTOR},
        outputs={"other": TensorSpec("int64", (None,))},
        version=3,
    )
    prediction = client.predict({"x": np.float32([7])})
    assert [(alias, array.dtype.name, array.tolist()) for alias, array in prediction.items()] == [
        ("other", "int64", [7])
    ]


def test_inputs_that_a_new_version_refuses_are_compared_with_its_signature(changing):
    _, client = changing
    with pytest.raises(InvalidArgumentError) as caught:
        client.predict({"x": [1.0]})
    assert "'x' is not an input" in caught.value.hint
    assert "'z' is missing: int64 (?,)" in caught.value.hint


def test_inputs_may_be_left_to_their_defaults(style):
    with FakeServer() as server:
        scalar = TensorSpec("float32", ())
        server.add_model(
            "m",
            lambda x, by: x * by,
            inputs={"x": VECTOR, "by": scalar},
            outputs={"y": VECTOR},
            defaults={"by": np.float32(3)},
        )
        with calling(style, server, model="m", timeout=20) as client:
            if style in GRPC:
                assert client.predict([2.0]).array.tolist() == [6.0]
                assert client.predict({"x": [2.0]}, validate=True).array.tolist() == [6.0]
            else:  # the model server's REST side knows no defaults
                with pytest.raises(InvalidArgumentError):
                    client.predict([2.0])
            assert client.predict({"x": [2.0], "by": 2.0}).array.tolist() == [4.0]


# --- REST -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", REST)
def test_the_form_may_be_chosen(server, style):
    for form in ("auto", "row", "columnar"):
        with calling(style, server, model="double", rest_format=form) as client:
            assert client.predict({"x": [1.0, 2.0]}).array.tolist() == [2.0, 4.0]
    with pytest.raises(ConfigError, match="expected rest_format"), calling(style, server, rest_format="rows"):
        pass


@pytest.mark.parametrize("style", REST)
def test_outputs_without_a_common_batch_size_are_received_in_columns(server, style):
    server.add_model(
        f"uneven-{style}",
        lambda x: {"y": x, "first": x[:1]},
        inputs={"x": VECTOR},
        outputs={"y": VECTOR, "first": VECTOR},
    )
    with calling(style, server, model=f"uneven-{style}", timeout=20) as client:
        for _ in range(2):
            prediction = client.predict({"x": [1.0, 2.0, 3.0]})
            assert {alias: array.tolist() for alias, array in prediction.items()} == {"y": [1, 2, 3], "first": [1]}
    assert len(predictions(server)) == 3  # the second call knew


@pytest.mark.parametrize("style", REST)
def test_a_large_tensor_warns_once(server, style):
    x = np.full(100_000, 0.12345679, np.float32)  # 1.2 MB of JSON
    with calling(style, server, model="double", timeout=20) as client, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            client.predict({"x": x})
    assert len(caught) == 1
    assert "gRPC carries the same tensors" in str(caught[0].message)


# --- interceptors -----------------------------------------------------------------------------------------------------


class Counts(grpc.UnaryUnaryClientInterceptor):
    """gRPC's own kind of interceptor."""

    def __init__(self):
        self.paths = []

    def intercept_unary_unary(self, continuation, details, request):
        self.paths.append(details.method)
        return continuation(details, request)


class CountsAwaited(grpc.aio.UnaryUnaryClientInterceptor):
    """The same for grpc.aio."""

    def __init__(self):
        self.paths = []

    async def intercept_unary_unary(self, continuation, details, request):
        path = details.method
        self.paths.append(path.decode() if isinstance(path, bytes) else path)
        return await continuation(details, request)


class Hook:
    """httpx's kind: a function that gets the request."""

    def __init__(self):
        self.paths = []

    def __call__(self, request):
        self.paths.append(request.url.path)
        request.headers["x-hook"] = "seen"


class HookAwaited(Hook):
    async def __call__(self, request):
        super().__call__(request)


INTERCEPTORS = dict(zip(STYLES, (Counts, Counts, CountsAwaited, Hook, Hook, HookAwaited), strict=True))


def test_interceptors_see_every_call(server, style):
    interceptor = INTERCEPTORS[style]()
    with calling(style, server, model="double", interceptors=[interceptor], timeout=20) as client:
        assert client.predict([1.0]).array.tolist() == [2.0]
        client.status()
    if style in GRPC:
        assert [path.rpartition("/")[2] for path in interceptor.paths] == [
            "GetModelMetadata",
            "Predict",
            "GetModelStatus",
        ]
    else:
        model = "/v1/models/double"
        assert interceptor.paths == [f"{model}/metadata", f"{model}:predict", model]
        assert predictions(server)[0].metadata["x-hook"] == "seen"


# --- many at once -----------------------------------------------------------------------------------------------------


def test_many_threads_share_a_client(client, style):
    failed = []

    def call(first):
        for n in range(first, first + 5):
            if client.predict({"x": np.float32([n])}).array.tolist() != [2.0 * n]:
                failed.append(n)

    threads = [threading.Thread(target=call, args=(100 * n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed


def test_asyncio_clients_end_with_their_loop(server):
    client = Awaited(server.target, model="double")
    client.predict({"x": [1.0]})
    client.end()
    assert not client._thread.is_alive()
