"""Clients that with_options() derives: they have their own options and share a connection."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from calling import GRPC, REST, STYLES, all_calls, calling, derived, target_of
from retrying import QUICK, X, client_of, failing
from scripted import Refusal, serving

from tfs_client import (
    AsyncMicroBatcher,
    AsyncPredictClient,
    ClosedError,
    ConfigError,
    MicroBatcher,
    NotFoundError,
    PredictClient,
    RetryPolicy,
    Signature,
    Signatures,
    StatusCode,
    TensorSpec,
    UnavailableError,
)
from tfs_client.telemetry.records import CallEnded
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))


@pytest.fixture(scope="module")
def running():
    with FakeServer() as server:
        for name, factor in (("m", 2), ("n", 3)):
            server.add_model(name, lambda x, by=factor: by * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        yield server


@pytest.fixture
def server(running):
    running.clear_calls()
    return running


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


def test_it_uses_the_connection_with_its_own_options(style, server):
    common = {"a": "client's", "b": "client's"}
    with calling(style, server, model="m", version=1, timeout=20, metadata=common) as client:
        assert client.predict(X).array.tolist() == [2]
        other = derived(client, model="n", metadata={"b": "own"}, token="t", request_id="r-1")
        assert other.predict(X).array.tolist() == [3]
        third = derived(other, model="m", metadata={"c": "third's"}, token=None, request_id=False)
        assert third.predict(X).array.tolist() == [2]
        assert client.predict(X).array.tolist() == [2]
    first, second, third, last = (call for call in server.calls if call.method == "Predict")
    assert len({call.peer for call in all_calls(server)}) == 1
    keys = ("a", "b", "c", "authorization", "x-request-id")
    sent = [[call.metadata.get(key) for key in keys] for call in (first, second, third, last)]
    assert sent == [
        ["client's", "client's", None, None, None],
        ["client's", "own", None, "Bearer t", "r-1"],
        ["client's", "own", "third's", None, None],
        ["client's", "client's", None, None, None],
    ]


def test_its_timeout_validate_and_cast_are_its_own(style, server):
    with calling(style, server, model="m", timeout=20) as client:
        assert derived(client, cast=True).predict({"x": np.array([1], np.float64)}).array.tolist() == [2]
        with pytest.raises(ConfigError, match="expected validate to be True or False"):
            derived(client, validate="yes")
        with pytest.raises(ConfigError, match="timeout in seconds above 0"):
            derived(client, timeout=0)
        with pytest.raises(NotFoundError):
            derived(client, version=9).predict({"x": np.float32([1])})


def test_clients_with_the_same_headers_fetch_signatures_once(style, server):
    headers, later = {"tenant": "a", "traceparent": "1"}, {"traceparent": "2", "x-request-id": "r"}
    with calling(style, server, model="m", timeout=20) as client:
        first = derived(client, metadata=headers)
        for each in (
            first,
            derived(first, metadata=later),
            derived(client, metadata=headers, timeout=10, version=None),
        ):
            assert each.predict(X, token="t").array.tolist() == [2]
    assert [call.metadata["tenant"] for call in server.lookups] == ["a"]


def test_clients_with_other_headers_fetch_their_own(style, server):
    with calling(style, server, model="m", timeout=20, token="t") as client:
        others = [derived(client, metadata={"tenant": tenant}) for tenant in "ab"]
        for each in (client, *others, derived(client, token="u"), *others, client):
            assert each.predict(X).array.tolist() == [2]
    assert [call.method for call in server.lookups] == ["GetModelMetadata"] * 4


def test_stated_signatures_stay_with_their_model(style, server):
    stated = Signatures({"serving_default": Signature({"x": VECTOR}, {"stated": VECTOR})}, model="m", version=None)
    with calling(style, server, model="m", signatures=stated, timeout=20) as client:
        other = derived(client, model="n")
        assert list(other.signatures()["serving_default"].outputs) == ["y"]
        assert list(derived(other, model="m").signatures()["serving_default"].outputs) == ["stated"]
        raw = pickle.dumps(getattr(other, "client", other)._settings)
    copy = pickle.loads(raw)
    assert (copy.signatures.model, copy.defaults.spec.name) == ("m", "n")


@pytest.mark.parametrize("style", STYLES)
def test_equal_policies_share_a_budget(style):
    policy = RetryPolicy(initial_backoff=0.005, max_backoff=0.005, budget=4)
    with serving(style, failing(99)) as server, client_of(style, server, policy) as client:
        attempts = []
        for each, retry in (
            (client, policy),
            (derived(client, timeout=10), RetryPolicy(**vars(policy))),
            (client, QUICK),
        ):
            with pytest.raises(UnavailableError) as caught:
                each.predict(X, retry=retry)
            attempts.append(caught.value.attempts)
            assert "retry=" not in caught.value.hint  # it is retried already
    assert attempts == [2, 1, 5]  # the budget of one policy is used up after two failures


# --- closing -----------------------------------------------------------------------------------------------------


def test_closing_it_closes_nothing_else(style, server):
    with calling(style, server, model="m", timeout=20) as client:
        other, sibling = derived(client, model="n"), derived(client, timeout=10)
        other.close()
        other.close()
        named = {"x": np.float32([1])}
        for use in (other.predict, other.predict_batched):
            for inputs in (named, X):
                with pytest.raises(ClosedError, match=r"PredictClient\('.*'\)\.with_options\(model='n'\) was closed"):
                    use(inputs)
        with pytest.raises(ClosedError, match="was closed"):
            derived(other, timeout=1)
        for each in (client, sibling):
            assert each.predict(named).array.tolist() == [2]
    for inputs in (named, X):
        with pytest.raises(
            ClosedError, match=r"shares a connection, which is closed: \w+\('.*', model='m'\) was closed"
        ):
            _unlooped(sibling).predict(inputs)
    assert len({call.peer for call in all_calls(server)}) == 1


def _unlooped(client):
    """A client whose loop ``calling`` has ended, with methods that run in another loop."""
    if not isinstance(getattr(client, "client", None), AsyncPredictClient):
        return client

    class Client:
        def predict(self, inputs):
            return asyncio.run(client.client.predict(inputs))

    return Client()


def test_calls_that_have_begun_finish(style):
    arrived, closed = threading.Event(), threading.Event()

    def script(call):
        if call.number == 1:
            arrived.set()
            closed.wait(20)
            raise Refusal(StatusCode.UNAVAILABLE)

    with (
        serving(style, script) as server,
        client_of(style, server, None) as client,
        ThreadPoolExecutor() as pool,
    ):
        other = derived(client, retry=QUICK)
        running = pool.submit(other.predict, {"x": np.float32([1])})
        assert arrived.wait(20)
        other.close()
        closed.set()
        assert running.result(20).array.tolist() == [2]
    assert len(server.calls) == 2


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_dropping_it_warns_of_nothing_and_closes_nothing(way, server):
    with PredictClient(target_of(way, server), model="m") as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert client.with_options(timeout=9).predict(X).array.tolist() == [2]
        gc.collect()
        with client.with_options(timeout=9) as other:
            assert other.predict(X).array.tolist() == [2]
        assert client.predict(X).array.tolist() == [2]
        gc.collect()
        assert len(client._performer._session._members) == 2  # the client, and the closed one that still has a name


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_the_connection_lives_as_long_as_any_client(way, server):
    client = PredictClient(target_of(way, server), model="m")
    other = client.with_options(model="n")
    with pytest.warns(ResourceWarning, match="unclosed PredictClient"):
        del client  # nothing refers to it any more
    assert other.predict(X).array.tolist() == [3]
    assert other.with_options(model="m").predict(X).array.tolist() == [2]
    other._performer._session.close()
    assert len({call.peer for call in all_calls(server)}) == 1


def test_asyncio_clients_share_the_connection_of_each_loop(server):
    client = AsyncPredictClient(server.target, model="m", timeout=20)
    other = client.with_options(model="n")

    async def both():
        results = [await each.predict(X) for each in (client, other)]
        async with AsyncMicroBatcher(other) as batcher:
            results.append(await batcher.predict({"x": np.float32(1)}))
        return [float(result.array.sum()) for result in results]

    for _ in range(2):
        assert asyncio.run(both()) == [2, 3, 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.with_options(timeout=9)
        gc.collect()
    asyncio.run(client.close())
    assert len({call.peer for call in all_calls(server)}) == 2  # one for each loop


# --- other ways of calling ---------------------------------------------------------------------------------------


def test_batches_go_through_it(style, server):
    with calling(style, server, model="m", timeout=20) as client:
        other = derived(client, model="n", metadata={"a": "b"}, request_id=True)
        rows = {"x": np.arange(6, dtype=np.float32)}
        assert other.predict_batched(rows, batch_size=2).array.tolist() == [0, 3, 6, 9, 12, 15]
        if not style.endswith("aio"):
            found = other.predict_many([{"x": np.float32(1)}] * 4, batch_size=2, model="m", request_id="r", token="t")
            assert [one.array.tolist() for one in found] == [2] * 4
            with MicroBatcher(getattr(other, "client", other), request_id="r", token="t") as batcher:
                assert batcher.predict({"x": np.float32(1)}).array.tolist() == 3
    batched, later = server.calls[:3], server.calls[3:]
    assert all(call.metadata["a"] == "b" for call in server.calls)
    assert len({call.metadata["x-request-id"] for call in batched}) == 3
    assert {(call.metadata["x-request-id"], call.metadata["authorization"]) for call in later} <= {("r", "Bearer t")}
    assert len(later) == (0 if style.endswith("aio") else 3)


@pytest.mark.parametrize("kind", [PredictClient, AsyncPredictClient])
def test_it_has_the_class_and_the_attributes_of_its_client(kind):
    class Own(kind):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.limit = 5

    client = Own("localhost:1", model="m")
    other = client.with_options(model="n")
    assert (type(other), other.limit, client.limit) == (Own, 5, 5)
    assert repr(other) == f"{kind.__name__}('localhost:1', model='m').with_options(model='n')"
    if kind is PredictClient:
        client.close()
    else:
        asyncio.run(client.close())


def test_it_prints_its_options_without_secrets():
    with PredictClient("localhost:1", model="m", token="first-secret") as client:
        shown = "PredictClient('localhost:1', model='m')"
        assert repr(client.with_options()) == f"{shown}.with_options()"
        other = client.with_options(
            timeout=2.0,
            version=3,
            metadata={"x-team": "secret", "x-key": "secret"},
            token="secret",
            retry=QUICK,
            request_id="secret",
            hooks=lambda record: None,
            cast=True,
        )
        assert "secret" not in repr(other)
        assert repr(other) == (
            f"{shown}.with_options(version=3, timeout=2.0, cast=True, retry=..., token=..., request_id=..., hooks=..., "
            "metadata={'x-team': ..., 'x-key': ...})"
        )
        plain = client.with_options(version=3).with_options(label="stable").with_options(token=None, hooks=())
        assert repr(plain) == f"{shown}.with_options(label='stable', token=None, hooks=())"
        assert (
            repr(plain.with_options(model="m"))
            == f"{shown}.with_options(label='stable', token=None, hooks=(), model='m')"
        )
        assert repr(plain.with_options(model="n")) == f"{shown}.with_options(token=None, hooks=(), model='n')"
        more = client.with_options(metadata={"a": "b"}).with_options(metadata=iter([("c", "d")]))
        assert repr(more) == f"{shown}.with_options(metadata={{'a': ..., 'c': ...}})"
        assert dict(more._settings.defaults.metadata) == {"a": "b", "c": "d"}
        with pickle.loads(pickle.dumps(plain)) as copy:
            assert repr(copy) == repr(plain)
        assert repr(client.with_options(model="\x1b[31m")) == f"{shown}.with_options(model='\\x1b[31m')"


def test_a_pickled_one_has_its_own_connection(server):
    with PredictClient(server.target, model="m", metadata={"a": "b"}) as client:
        other = client.with_options(model="n", token="t", compression="gzip")
        raw = pickle.dumps(other)
        other.predict({"x": np.float32([1])})
    with pickle.loads(raw) as copy:
        assert copy.predict({"x": np.float32([1])}).array.tolist() == [3]
    one, two = server.calls
    assert one.peer != two.peer
    assert (two.metadata["a"], two.metadata["authorization"]) == ("b", "Bearer t")


FORK = """
import os, sys
import numpy as np
from tfs_client import PredictClient

x = {"x": np.float32([1])}
client = PredictClient(sys.argv[1], model="m", timeout=20)
other = client.with_options(model="n")
closed = client.with_options(model="n")
closed.close()
def results():
    return [client.predict(x).array.tolist(), other.predict_future(x).result().array.tolist()]
assert results() == [[2], [3]]
child = os.fork()
if child == 0:
    assert other.predict(x).array.tolist() == [3]
    assert results() == [[2], [3]]
    try:
        closed.predict(x)
    except Exception as error:
        assert type(error).__name__ == "ClosedError"
    else:
        raise AssertionError("it is closed")
    client.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert results() == [[2], [3]]
client.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_shares_a_new_connection(server):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", FORK, server.target]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    peers = [call.peer for call in server.calls]
    assert [peers[:2], peers[2:5], peers[5:]] == [[peers[0]] * 2, [peers[2]] * 3, [peers[0]] * 2]
    assert peers[0] != peers[2]


def test_hooks_replace_those_of_the_client(style, server):
    first, second = [], []
    with calling(style, server, model="m", timeout=20, hooks=first.append) as client:
        derived(client, hooks=second.append).predict(X)
        derived(client, hooks=()).predict(X)
        assert (first, [one.model for one in second if isinstance(one, CallEnded)]) == ([], ["m"])
        derived(client, timeout=9).predict(X)
        assert [one.model for one in first if isinstance(one, CallEnded)] == ["m"]
        with pytest.raises(ConfigError, match="expected hooks= as a function"):
            derived(client, hooks=[1])


@pytest.mark.parametrize("style", STYLES)
def test_a_recording_is_shared_and_keeps_no_token(style, server, tmp_path):
    path = tmp_path / "calls"
    secret, other_secret = "secret-of-the-derived", "secret-of-the-call"
    for _ in range(2):  # the second time, the recording answers
        with calling(style, server, model="m", timeout=20, record=path) as client:
            other = derived(client, model="n", token=secret)
            assert client.predict(X).array.tolist() == [2]
            assert other.predict(X).array.tolist() == [3]
            assert other.predict({"x": [2.0]}, token=lambda: other_secret).array.tolist() == [6]
    assert len(server.calls) == 3
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"Bearer" in written or b"authorization" not in written
    assert not any(one.encode() in written for one in (secret, other_secret))


# --- contradictions ----------------------------------------------------------------------------------------------


def test_the_nearer_option_wins(style, server):
    with calling(style, server, model="m", timeout=20, metadata={"authorization": "client's"}) as client:
        other = derived(client, token="t")
        client.predict(X, token="t")
        other.predict(X)
        other.predict(X, metadata={"authorization": "call's"})
        derived(other, metadata={"authorization": "third's"}).predict(X)
        other.predict(X, token=None)
        client.predict(X, token=None)
    sent = [call.metadata.get("authorization") for call in server.calls]
    assert sent == ["Bearer t", "Bearer t", "call's", "third's", None, None]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "t", "metadata": {"authorization": "x"}}, "token= and 'authorization' in metadata= contradict"),
        ({"request_id": "r", "metadata": {"x-request-id": "x"}}, "request_id= and 'x-request-id' in metadata="),
        ({"request_id": True, "metadata": {"x-request-id": "x"}}, "request_id= and 'x-request-id' in metadata="),
        ({"version": 1, "label": "a"}, "expected a version or a label, got both"),
        ({"token": ""}, "token= as printable ASCII text"),
        ({"token": "a\nb"}, "token= as printable ASCII text"),
        ({"request_id": ""}, "expected request_id=True, a string, or a function that returns one, got ''"),
        ({"request_id": "a\nb"}, "printable ASCII"),
        ({"request_id": 7}, "expected request_id=True, a string, or a function that returns one, got 7"),
        ({"retry": 3}, "expected retry=RetryPolicy"),
        ({"compression": "zip"}, "expected compression 'gzip'"),
        ({"metadata": {"content-length": "1"}}, "'content-length' contradicts other settings"),
    ],
)
@pytest.mark.parametrize("style", ["grpc", "grpc-aio", "rest"])
def test_options_that_contradict_each_other_are_refused(style, options, words):
    target = "http://localhost:1" if style in REST else "localhost:1"
    with calling(style, target, model="m") as client:
        for use in (
            lambda **options: derived(client, **options),
            lambda **options: client.predict(X, **options),
            lambda **options: client.predict_batched(X, **options),
        ):
            with pytest.raises(ConfigError, match=words):
                use(**options)


@pytest.mark.parametrize("style", GRPC)
def test_retries_of_the_channel_exclude_a_policy(style):
    with calling(style, "localhost:1", model="m", channel_options={"grpc.enable_retries": 0}) as client:
        for use in (lambda **options: derived(client, **options), lambda **options: client.predict(X, **options)):
            with pytest.raises(ConfigError, match=r"retry= and 'grpc\.enable_retries' in"):
                use(retry=QUICK)


@pytest.mark.parametrize("style", REST)
def test_a_user_in_the_url_excludes_a_token(style):
    with calling(style, "http://me:secret@localhost:1", model="m") as client:
        for use in (lambda **options: derived(client, **options), lambda **options: client.predict(X, **options)):
            with pytest.raises(ConfigError, match="token= and the user's name in the target's URL contradict"):
                use(token="t")
        with pytest.raises(ConfigError, match="reads gzip only"):
            derived(client, compression="deflate")
