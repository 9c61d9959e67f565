"""The facts of replies: request id, attempts, metadata, address and raw bytes, on predictions and on errors."""

from __future__ import annotations

import copy
import gc
import pickle
import types

import grpc
import numpy as np
import pytest
from calling import GRPC, REST, STYLES, calling
from scripted import MODEL, Refusal, predict_reply, serving, target_of
from tcp import nobody

from tfs_client import (
    CallError,
    InternalError,
    MicroBatcher,
    ModelConfig,
    ModelServerConfig,
    PredictClient,
    ReplyMetadata,
    RetryPolicy,
    StatusCode,
    UnavailableError,
)
from tfs_client._transports.reply import address, pairs
from tfs_client._transports.targets import checked_target, peer_of
from tfs_client.recordings import Recording

X = {"x": np.float32([1])}
ROW = {"x": np.float32(1)}
SECRET = "s3cret-session"
INITIAL = (("x-served-by", "a"), ("x-served-by", "b"), ("set-session", SECRET))
TRAILING = (("x-cost", "3"), ("x-trace-bin", b"\x00\xff"))
QUICK = RetryPolicy(attempts=3, initial_backoff=0.005)
ROOTS = ("grpc", "httpx", "httpcore", "anyio", "asyncio", "socket", "ssl")
NO_FACTS = ("", 0, ReplyMetadata(), "", None)


def served(style, script=lambda call: None):
    return serving(style, script, initial=INITIAL, trailing=TRAILING)


def client_of(style, server, **options):
    return calling(style, target_of(style, server.port, host="127.0.0.1"), model=MODEL, timeout=60, **options)


def facts_of(prediction):
    return prediction.request_id, prediction.attempts, prediction.metadata, prediction.peer, prediction.raw


def refuse(*numbers, code=StatusCode.UNAVAILABLE):
    def script(call):
        if call.number in numbers:
            raise Refusal(code)

    return script


def check_metadata(style, metadata):
    """The pairs that the server sent, in their order, among those of its HTTP server."""
    names = {key for key, _ in INITIAL}
    assert tuple(pair for pair in metadata.initial if pair[0] in names) == INITIAL
    assert all(key == key.lower() for key, _ in metadata.initial)
    assert metadata.trailing == (TRAILING if style in GRPC else ())


@pytest.mark.parametrize("style", STYLES)
def test_a_prediction_has_the_facts_of_its_reply(style):
    with served(style) as server, client_of(style, server, request_id=lambda: "id-7") as client:
        prediction = client.predict(X)
    assert prediction.request_id == "id-7"
    assert prediction.attempts == 1
    check_metadata(style, prediction.metadata)
    assert prediction.peer == f"127.0.0.1:{server.port}"
    assert prediction.raw == (predict_reply(1) if style in GRPC else b'{"predictions": [2.0]}')
    assert SECRET not in repr(prediction) + str(prediction) + prediction.to_json()


@pytest.mark.parametrize("style", STYLES)
def test_a_call_with_a_token_has_them_too(style):
    """Over gRPC a token takes the call from its straight path into a flow."""
    with served(style) as server, client_of(style, server, token="t", request_id=lambda: "id-8") as client:
        prediction = client.predict(X)
    assert (prediction.request_id, prediction.attempts) == ("id-8", 1)
    check_metadata(style, prediction.metadata)


@pytest.mark.parametrize("style", STYLES)
def test_attempts_are_counted(style):
    with served(style, refuse(1, 2)) as server, client_of(style, server, retry=QUICK) as client:
        assert [client.predict(X).attempts for _ in range(2)] == [3, 1]


@pytest.mark.parametrize("style", STYLES)
def test_an_error_has_the_facts_of_the_reply_that_refused_the_call(style):
    with (
        served(style, refuse(1, code=StatusCode.INTERNAL)) as server,
        client_of(style, server, request_id=lambda: "id-9") as client,
        pytest.raises(InternalError) as caught,
    ):
        client.predict(X)
    error = caught.value
    assert (error.request_id, error.attempts) == ("id-9", 1)
    check_metadata(style, error.metadata)
    assert error.peer == f"127.0.0.1:{server.port}"
    assert error.raw == (None if style in GRPC else b'{"error": "as the script says"}')
    assert SECRET not in str(error) + repr(error)
    same, other = copy.copy(error), pickle.loads(pickle.dumps(error))
    assert (same.metadata, same.peer, same.raw) == (error.metadata, error.peer, error.raw)
    assert (other.metadata, other.peer, other.raw) == (ReplyMetadata(), "", None)
    assert (str(same), str(other)) == (str(error), str(error))
    assert SECRET.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("style", STYLES)
def test_without_a_server_an_error_has_no_facts(style):
    with served(style) as server:
        pass
    with client_of(style, server, request_id=lambda: "id") as client, pytest.raises(UnavailableError) as caught:
        client.predict(X)
    error = caught.value
    assert (error.request_id, error.metadata, error.peer, error.raw) == ("id", ReplyMetadata(), "", None)


@pytest.mark.parametrize("style", REST)
def test_the_error_body_that_is_kept_is_bounded(style):
    def refuse_at_length(call):
        raise Refusal(StatusCode.INTERNAL, "x" * (3 << 20))

    with (
        served(style, refuse_at_length) as server,
        client_of(style, server) as client,
        pytest.raises(InternalError) as caught,
    ):
        client.predict(X)
    assert len(caught.value.raw) == 1 << 20


def test_pickles_drop_the_facts_and_copies_keep_them():
    with served("grpc") as server, client_of("grpc", server, request_id=True) as client:
        prediction = client.predict(X)
    dropped = pickle.loads(pickle.dumps(prediction))
    assert dropped == prediction
    assert facts_of(dropped) == NO_FACTS
    assert SECRET.encode() not in pickle.dumps(prediction)
    assert facts_of(copy.copy(prediction)) == facts_of(prediction)
    deep = copy.deepcopy(prediction)
    assert facts_of(deep) == facts_of(prediction)
    assert not np.shares_memory(deep.array, prediction.array)
    row, other = (prediction.with_outputs({"y": prediction["y"][0:1].reshape(())}, number) for number in (4, 5))
    assert facts_of(row) == (*facts_of(prediction)[:-1], None)  # it does not keep the whole reply
    assert row._facts is other._facts
    assert prediction.raw is not None
    assert (row.example, copy.copy(row).example) == (4, 4)


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_rows_have_the_facts_of_their_request(style):
    with served(style, refuse(1)) as server, client_of(style, server, retry=QUICK, request_id=True) as client:
        rows = list(client.predict_many([ROW, ROW], batch_size=1, in_flight=1))
        assert [row.attempts for row in rows] == [2, 1]
        assert len({row.request_id for row in rows}) == 2
        for row in rows:
            check_metadata(style, row.metadata)
            assert row.raw is None
            assert row.peer == f"127.0.0.1:{server.port}"
        with MicroBatcher(client, max_batch_size=1) as batcher:
            check_metadata(style, batcher.predict(ROW).metadata)


@pytest.mark.parametrize("style", ["grpc", "rest", "grpc-aio", "rest-aio"])
def test_joined_outputs_have_what_their_requests_have_in_common(style):
    three = {"x": np.float32([1, 2, 3])}
    with served(style, refuse(1, 2)) as server, client_of(style, server, retry=QUICK, request_id=True) as client:
        joined = client.predict_batched(three, batch_size=1, in_flight=1)
        same = client.predict_batched(three, batch_size=1, metadata={"x-request-id": "common"})
        whole = client.predict_batched({"x": np.float32([1])}, batch_size=2)
    assert facts_of(joined) == ("", 3, ReplyMetadata(), f"127.0.0.1:{server.port}", None)
    assert (same.request_id, same.attempts) == ("common", 1)
    assert whole.raw is not None
    check_metadata(style, whole.metadata)


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_attempts_that_a_busy_server_refused_count(style):
    busy, three = refuse(2, 3, 6, code=StatusCode.RESOURCE_EXHAUSTED), {"x": np.float32([1, 2, 3])}
    with served(style, busy) as server, client_of(style, server) as client:
        joined = client.predict_batched(three, batch_size=1, in_flight=1)
        assert (len(server.calls), joined.attempts) == (5, 3)
        rows = list(client.predict_many([ROW, ROW], batch_size=1, in_flight=1))
        assert [row.attempts for row in rows] == [2, 1]


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_errors_of_rows_keep_their_facts(style):
    with served(style, refuse(1, code=StatusCode.INTERNAL)) as server, client_of(style, server) as client:
        (error,) = client.predict_many([ROW], on_error="return")
    assert isinstance(error, InternalError)
    check_metadata(style, error.metadata)


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_recorded_replies_have_no_facts(style, tmp_path):
    with served(style) as server:
        with client_of(style, server, record=Recording(tmp_path / "calls"), request_id=True) as client:
            live = client.predict(X)
        assert live.attempts == 1
        check_metadata(style, live.metadata)
        with client_of(style, server, record=Recording(tmp_path / "calls", mode="none"), request_id=True) as client:
            replayed = client.predict(X)
    assert replayed == live
    assert facts_of(replayed) == NO_FACTS


@pytest.mark.parametrize("style", ["grpc", "grpc-aio", "rest", "rest-aio"])
def test_every_failed_call_names_its_request(style):
    features, config = [{"a": 1.0}], ModelServerConfig([ModelConfig("m", "/models/m")])
    with nobody() as port, calling(style, target_of(style, port), model=MODEL, request_id=lambda: "id-1") as client:
        calls = {
            "predict": lambda: client.predict(X),
            "predict of numbers": lambda: client.predict([1.0]),
            "predict, validated": lambda: client.predict(X, validate=True),
            "predict_batched": lambda: client.predict_batched(X, batch_size=1),
            "classify": lambda: client.classify(features),
            "regress": lambda: client.regress(features),
            "multi_inference": lambda: client.multi_inference(features, tasks={"c": "classify"}),
            "signatures": client.signatures,
            "status": client.status,
            "is_ready": lambda: client.is_ready(timeout=5, label="stable"),
            "wait_until_ready": lambda: client.wait_until_ready(0.01),
            "reload_config": lambda: client.reload_config(config),
            "models": client.models,
            "current_config": client.current_config,
            "health": client.health,
        }
        unnamed = []
        for name, call in calls.items():
            try:
                call()
            except CallError as error:
                if error.request_id != "id-1":
                    unnamed.append((name, error))
        assert unnamed == []


@pytest.mark.parametrize("style", STYLES)
def test_a_prediction_refers_to_no_call_and_no_connection(style):
    with served(style) as server, client_of(style, server, request_id=True) as client:
        prediction = client.predict(X)
        assert prediction.metadata.initial
        found, left = {}, [prediction]
        while left:
            one = left.pop()
            if id(one) not in found and not isinstance(one, (type, types.ModuleType, types.FunctionType)):
                found[id(one)] = one
                left += gc.get_referents(one)
        kinds = {type(one).__module__ for one in found.values()}
        assert not [kind for kind in kinds if kind.partition(".")[0] in ROOTS]
        assert len(found) < 200


# --- interceptors ------------------------------------------------------------------------------------------------


class Through(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details, request)


class Replaced:
    """Not a call of gRPC: it has the answer only."""

    def __init__(self, answer):
        self.answer = answer

    def result(self, timeout=None):
        return self.answer

    def initial_metadata(self):
        raise RuntimeError("not here")

    def trailing_metadata(self):
        return 7


class Replacing(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation, details, request):
        return Replaced(continuation(details, request).result())


class Unary:
    """The interface that OpenTelemetry adopted from OpenTracing."""

    def __init__(self):
        self.seen = []

    def intercept_unary(self, request, metadata, info, invoker):
        self.seen.append(invoker(request, metadata))
        return self.seen[-1]


class Unasked(Unary):
    def intercept_unary(self, request, metadata, info, invoker):
        return predict_reply(1)


class ThroughAio(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation, details, request):
        return await continuation(details, request)


class ReplacingAio(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation, details, request):
        return await (await continuation(details, request))


@pytest.mark.parametrize(
    ("style", "interceptors", "kept"),
    [
        ("grpc", [Through(), Through()], True),
        ("grpc-futures", [Through()], True),
        ("grpc", [Replacing()], False),
        ("grpc", [Through(), Replacing()], False),
        ("grpc", [Unary()], True),
        ("grpc", [Through(), Unary()], True),
        ("grpc", [Unary(), Through()], True),
        ("grpc", [Unasked()], False),
        ("grpc-futures", [Unary()], True),
        ("grpc-aio", [ThroughAio()], True),
        ("grpc-aio", [ThroughAio(), ReplacingAio()], False),
    ],
)
def test_interceptors_may_hide_the_metadata_but_nothing_fails(style, interceptors, kept):
    with served(style) as server, client_of(style, server, interceptors=interceptors) as client:
        prediction = client.predict(X)
    assert prediction.array.tolist() == [2]
    assert prediction.raw == predict_reply(1)
    if kept:
        check_metadata(style, prediction.metadata)
    else:
        assert prediction.metadata == ReplyMetadata()
    for one in interceptors:
        if isinstance(one, Unary) and style == "grpc":
            assert all(isinstance(reply, bytes) for reply in one.seen)


# --- addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "peer"),
    [
        ("localhost:{}", "localhost:{}"),
        ("dns:///localhost:{}", "localhost:{}"),
        ("ipv4:127.0.0.1:{}", "127.0.0.1:{}"),
        ("http://localhost:{}", "127.0.0.1:{}"),
    ],
)
def test_the_address_of_the_server(target, peer):
    style = "rest" if target.startswith("http") else "grpc"
    with served(style) as server, PredictClient(target.format(server.port), model=MODEL) as client:
        assert client.predict(X).peer == peer.format(server.port)


def test_one_of_several_replicas_has_no_known_address():
    with served("grpc") as one, served("grpc") as two:
        target = [f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}"]
        with PredictClient(target, model=MODEL) as client:
            assert client.predict(X).peer == ""


@pytest.mark.parametrize(
    ("target", "peer"),
    [
        ("unix:/run/tf.sock", "unix:/run/tf.sock"),
        ("ipv6:[::1]:8500", "[::1]:8500"),
        ("[::1]:8500", "[::1]:8500"),
        ("ipv4:127.0.0.1:8500,127.0.0.1:8501", ""),
        ("xds:///service", ""),
    ],
)
def test_a_grpc_target_as_an_address(target, peer):
    assert peer_of(checked_target(target)) == peer


@pytest.mark.parametrize(
    ("socket_address", "text"),
    [
        (("127.0.0.1", 8501), "127.0.0.1:8501"),
        (("::1", 8501, 0, 0), "[::1]:8501"),
        ("/run/tf.sock", "unix:/run/tf.sock"),
        ("", ""),
        (None, ""),
        ((), ""),
    ],
)
def test_the_address_of_a_socket(socket_address, text):
    assert address(socket_address) == text


@pytest.mark.parametrize("found", [None, 7, [("a",)], object(), [1, 2]])
def test_objects_that_are_not_metadata_give_no_pairs(found):
    assert pairs(found) == ()
