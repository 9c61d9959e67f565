"""Interceptors and wrappers of gRPC's channels: code of others between gRPC and this client."""

from __future__ import annotations

import functools
import gc

import grpc
import grpc.aio
import numpy as np
import pytest
from calling import GRPC, calling
from scripted import MODEL, Refusal, serving, target_of

from tfs_client import AsyncPredictClient, ConfigError, NotFoundError, PredictClient, StatusCode
from tfs_client._transports.grpc_messages import Message
from tfs_client.errors import InternalError, UnknownError

X = {"x": np.float32([1.0])}
BLOCKING = ("grpc", "grpc-futures")


@pytest.fixture(params=GRPC)
def style(request):
    return request.param


def predict(style, server, **options):
    with calling(style, target_of(style, server.port), model=MODEL, timeout=20, **options) as client:
        return client.predict(X).array.tolist()


class Tags(grpc.UnaryUnaryClientInterceptor, grpc.aio.UnaryUnaryClientInterceptor):
    """gRPC's own kind, for both: notes the messages, and adds to x-way."""

    def __init__(self, tag="own"):
        self.tag = tag
        self.requests = []

    def intercept_unary_unary(self, continuation, details, request):
        self.requests.append(request)
        pairs = [tuple(pair) for pair in details.metadata or ()]
        way = dict(pairs).get("x-way", "")
        pairs = [pair for pair in pairs if pair[0] != "x-way"] + [("x-way", f"{way}{self.tag} ")]
        metadata = grpc.aio.Metadata(*pairs) if isinstance(details.metadata, grpc.aio.Metadata) else tuple(pairs)
        changed = grpc.aio.ClientCallDetails(details.method, details.timeout, metadata, None, details.wait_for_ready)
        return continuation(changed, request)


class Traces:
    """The kind that OpenTelemetry has: a method for calls with one reply, blocking or not."""

    def __init__(self, tag="trace"):
        self.tag = tag
        self.seen = []

    def intercept_unary(self, request, metadata, client_info, invoker):
        pairs = dict(metadata or ())
        pairs["x-way"] = f"{pairs.get('x-way', '')}{self.tag} "
        try:
            result = invoker(request, tuple(pairs.items()))
        except grpc.RpcError as error:
            self.seen.append((client_info.full_method.rpartition("/")[2], error.code()))
            raise
        if isinstance(result, grpc.Future):
            result.add_done_callback(lambda ended: self.seen.append(("done", ended.code())))
        else:
            self.seen.append((client_info.full_method.rpartition("/")[2], client_info.timeout > 0, type(result)))
        return result


@pytest.mark.parametrize("style", BLOCKING)
def test_interceptors_of_both_kinds_run_in_their_order(style):
    with serving(style) as server:
        own = [Tags("a"), Traces("b"), Tags("c"), Traces("d")]
        assert predict(style, server, interceptors=own, metadata={"x-team": "vision"}) == [2]
        assert server.calls[0].metadata["x-way"] == "a b c d "
        assert server.calls[0].metadata["x-team"] == "vision"


@pytest.mark.parametrize("style", BLOCKING)
def test_an_interceptor_of_the_other_kind_sees_how_calls_end(style):
    def script(call):
        if call.number == 2:
            raise Refusal(StatusCode.NOT_FOUND)

    traces = Traces()
    with (
        serving(style, script) as server,
        calling(style, target_of(style, server.port), model=MODEL, timeout=20, interceptors=[traces]) as client,
    ):
        client.predict(X)
        with pytest.raises(NotFoundError):
            client.predict(X)
    ok, refused = grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND
    if style == "grpc":
        assert traces.seen == [("Predict", True, Message), ("Predict", refused)]
    else:
        assert traces.seen == [("done", ok), ("done", refused)]


def test_interceptors_see_messages_that_can_be_written_and_read(style):
    tags = Tags()
    with serving(style) as server:
        assert predict(style, server, interceptors=[tags]) == [2]
    (request,) = tags.requests
    assert type(request).FromString(request.SerializeToString()) == request
    assert type(request.SerializeToString()) is bytes
    assert MODEL.encode() in request


@pytest.mark.parametrize("one", [object(), print, Tags], ids=["object", "function", "class"])
@pytest.mark.parametrize("kind", [PredictClient, AsyncPredictClient])
def test_an_object_that_is_not_an_interceptor_is_refused_when_the_client_is_made(kind, one):
    for target in ("localhost:1", ["nowhere.invalid:1", "nowhere.invalid:2"]):
        with pytest.raises(ConfigError, match="expected interceptors of"):
            kind(target, interceptors=[one])


def test_interceptors_for_blocking_calls_are_refused_for_asyncio():
    with pytest.raises(ConfigError, match=r"OpenTelemetry has aio_client_interceptors\(\)"):
        AsyncPredictClient("localhost:1", interceptors=[Traces()])


# --- what interceptors give back ---------------------------------------------------------------------------------


class Replaces(grpc.UnaryUnaryClientInterceptor):
    """Hands back something in place of gRPC's call."""

    def __init__(self, make):
        self.make = make

    def intercept_unary_unary(self, continuation, details, request):
        return self.make(continuation(details, request))


class OnlyResult:
    """A call that knows its result, and nothing else."""

    def __init__(self, call):
        self.result = call.result


class OnlyCallback(OnlyResult):
    def __init__(self, call):
        super().__init__(call)
        self.add_done_callback = lambda function: call.add_done_callback(lambda _: function(self))
        self.cancel = call.cancel


@pytest.mark.parametrize("style", BLOCKING)
@pytest.mark.parametrize("make", [OnlyResult, OnlyCallback])
def test_calls_replaced_by_minimal_objects_are_accepted(style, make):
    def script(call):
        if call.number == 2:
            raise Refusal(StatusCode.NOT_FOUND)

    with (
        serving(style, script) as server,
        calling(style, target_of(style, server.port), model=MODEL, timeout=20, interceptors=[Replaces(make)]) as client,
    ):
        assert client.predict(X).array.tolist() == [2]
        with pytest.raises((NotFoundError, UnknownError)):
            client.predict(X)


class Raises(grpc.UnaryUnaryClientInterceptor, grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, error):
        self.error = error

    def intercept_unary_unary(self, continuation, details, request):
        raise self.error


# The call objects of grpcio 1.60 raise the interceptor's error again when they are taken apart.
taken_apart = pytest.mark.filterwarnings(
    "ignore:Exception ignored in.*InterceptedCall:pytest.PytestUnraisableExceptionWarning"
)


@taken_apart
def test_an_interceptors_error_reaches_the_caller_unchanged(style):
    with serving(style) as server, pytest.raises(ZeroDivisionError, match="mine"):
        predict(style, server, interceptors=[Raises(ZeroDivisionError("mine"))])
    gc.collect()


@taken_apart
def test_an_error_of_grpc_without_a_status_is_typed_too(style):
    """For a future gRPC itself calls it an internal error."""
    with serving(style) as server, pytest.raises((UnknownError, InternalError), match=r"mine|while intercepting"):
        predict(style, server, interceptors=[Raises(grpc.RpcError("mine"))])
    gc.collect()


# --- channels that others wrap -----------------------------------------------------------------------------------


class WrappedChannel:
    """A channel as recorders wrap it: it calls the functions that turn messages into bytes and back."""

    def __init__(self, channel, seen):
        self._channel = channel
        self._seen = seen

    def unary_unary(self, method, request_serializer=None, response_deserializer=None, **more):
        inner = self._channel.unary_unary(method, request_serializer, response_deserializer, **more)

        def call(request, *, timeout=None, metadata=None, credentials=None, wait_for_ready=None, compression=None):
            self._seen.append(request_serializer(request))
            return inner(request, timeout=timeout, metadata=metadata)

        call.future = lambda request, **options: inner.future(request_serializer(request), **options)
        return call

    def close(self):
        return self._channel.close()


def test_channels_may_be_wrapped_by_functions_that_add_their_own_by_keyword(style, monkeypatch):
    seen, tags = [], Tags("theirs")

    def wrapping(function, extra):
        @functools.wraps(function)
        def wrapped(*args, interceptors=None, **kwargs):
            assert len(args) == 1
            return WrappedChannel(function(*args, **kwargs, **extra(interceptors)), seen)

        return wrapped

    monkeypatch.setattr(grpc, "insecure_channel", wrapping(grpc.insecure_channel, lambda _: {}))
    monkeypatch.setattr(
        grpc.aio,
        "insecure_channel",
        wrapping(grpc.aio.insecure_channel, lambda own: {"interceptors": [tags, *(own or ())]}),
    )
    with serving(style) as server:
        assert predict(style, server) == [2]
        if style == "grpc-aio":
            assert server.calls[0].metadata["x-way"] == "theirs "
    assert style == "grpc-futures" or MODEL.encode() in seen[0]
