"""GrpcTransport: bytes out, bytes in, and gRPC's errors as ours."""

from __future__ import annotations

import time
from concurrent.futures import Future

import grpc
import pytest

from tfs_client._transports.connection import Connection
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.grpc import GrpcTransport
from tfs_client._transports.grpc_channel import DEFAULT_OPTIONS, arguments
from tfs_client._transports.grpc_errors import GrpcErrors
from tfs_client._transports.steps import Send
from tfs_client._transports.targets import checked_target
from tfs_client.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    NotFoundError,
    StatusCode,
    TFServingError,
    UnavailableError,
)

PATH = "/tensorflow.serving.PredictionService/Predict"


def connection(target, options=None):
    return Connection(checked_target(target), channel_options=options or {})


def send(body, timeout=10.0, metadata=(), path=PATH, **options):
    return Send(path, body, Deadline(timeout), metadata, **options)


def started(transport, step):
    """The reply or the error of a call that was started."""
    found = Future()
    transport.start(step, lambda reply, error: found.set_result(reply) if error is None else found.set_exception(error))
    return found.result(10).body


def hint_of(code, details, options=None):
    """The hint for what gRPC says."""
    link = connection("localhost:1", options)
    return GrpcErrors(link, arguments(link)).made_of(code, details, PATH, Deadline(5), (), closed=False).hint


@pytest.fixture
def transport(raw_server):
    """A transport to a server that returns the request with its metadata and deadline."""

    def handle(request, context):
        if request == b"abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "not here")
        if request == b"sleep":
            time.sleep(0.5)
        if request == b"metadata":
            return repr(sorted(dict(context.invocation_metadata()).items())).encode()
        if request == b"time":
            return str(context.time_remaining()).encode()
        return request * 2

    transport = GrpcTransport(connection(raw_server(Predict=handle)))
    yield transport
    transport.close()


@pytest.mark.parametrize("request_bytes", [b"", b"x", b"\x00\xff" * 900_000], ids=["empty", "small", "1.8 MB"])
def test_bytes_are_sent_and_returned_unchanged(transport, request_bytes):
    assert transport.call(send(request_bytes)).body == request_bytes * 2
    assert started(transport, send(request_bytes)) == request_bytes * 2


def test_metadata_and_deadline_are_sent(transport):
    received = transport.call(send(b"metadata", metadata=(("a", "1"), ("b-bin", b"\x00")))).body
    assert b"('a', '1')" in received
    assert b"('b-bin', b'\\x00')" in received
    assert 3 < float(transport.call(send(b"time", 5)).body) < 6


def test_no_timeout_means_no_deadline(transport):
    received = transport.call(send(b"time", None)).body
    assert received == b"None" or float(received) > 1e6


def test_errors_are_translated_and_keep_their_cause(transport):
    with pytest.raises(NotFoundError) as caught:
        transport.call(send(b"abort"))
    assert (caught.value.details, caught.value.method, caught.value.hint) == ("not here", "Predict", "")
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    with pytest.raises(DeadlineExceededError):
        transport.call(send(b"sleep", 0.05))


def test_waiting_for_the_server_lasts_until_the_timeout():
    transport = GrpcTransport(connection("127.0.0.1:1"))
    try:
        with pytest.raises(UnavailableError, match="Nothing that speaks gRPC"):
            transport.call(send(b"", 5))
        before = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            transport.call(send(b"", 0.2, wait_for_ready=True))
        assert 0.15 < time.monotonic() - before < 5
    finally:
        transport.close()


def test_a_closed_transport_says_so_and_may_be_closed_again(transport):
    transport.call(send(b""))
    transport.close()
    transport.close()
    for path in (PATH, "/another/Path"):
        with pytest.raises(ClosedError, match=r"the client of 127.0.0.1:\d+ was closed"):
            transport.call(send(b"", path=path))
        with pytest.raises(ClosedError):
            started(transport, send(b"", path=path))


def test_calls_that_grpc_itself_refuses_raise_an_error_of_this_package(transport):
    with pytest.raises(TFServingError):
        transport.call(send(b"", metadata=(("Not Lower", "x"),)))
    with pytest.raises(TFServingError):
        started(transport, send(b"", metadata=(("Not Lower", "x"),)))


def test_the_users_options_extend_the_defaults():
    with pytest.raises(ConfigError):
        connection("localhost:1", {"grpc.x": object()})
    own = {"grpc.max_send_message_length": 5, "grpc.enable_retries": 0}
    assert arguments(connection("localhost:1", own)) == DEFAULT_OPTIONS | own


NOBODY = "Nothing that speaks gRPC answered at localhost:1"
NO_NAME = "The host name of localhost:1 cannot be resolved"
BROKE = "The connection to localhost:1 broke"


# The words of several gRPC releases, and of servers.
@pytest.mark.parametrize(
    ("details", "hint"),
    [
        ("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused", NOBODY),
        ("connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused", NOBODY),
        ("errors resolving nowhere.invalid:1: [field:hostname lookup error]", NO_NAME),
        ("DNS resolution failed for nowhere.invalid:1: C-ares status is not ARES_SUCCESS", NO_NAME),
        ("Socket closed", BROKE),
        ("recvmsg:Connection reset by peer", BROKE),
        ("Received http2 GOAWAY frame", BROKE),
        ("Stream removed (recvmsg:Connection reset by peer (104))", BROKE),
        ("GOAWAY received; Error code: 11; Debug Text: too_many_pings", "The server disconnects clients"),
        ("Too many pings", "The server disconnects clients"),
        ("Model labels does not init yet.stable", ""),
        ("The batch scheduling queue to which this task was submitted is full", "The server is busy"),
        ("the server cannot connect to its database: connection refused", ""),
        ("the proxy model is loading", ""),
        ("", ""),
    ],
)
def test_grpcs_own_errors_are_distinguished_from_the_servers(details, hint):
    error = GrpcErrors(connection("localhost:1"), {}).made_of(
        StatusCode.UNAVAILABLE, details, PATH, Deadline(5), (), closed=False
    )
    assert error.hint.startswith(hint)
    assert bool(error.hint) == bool(hint)
    assert error.unreached is (hint in (NOBODY, NO_NAME))


@pytest.mark.parametrize(("value", "seconds"), [("1500", 1.5), ("0", 0.0), ("-1", None), ("soon", None), (None, None)])
def test_push_back_is_converted_to_seconds(value, seconds):
    trailing = (("grpc-retry-pushback-ms", value),) if value is not None else ()
    error = GrpcErrors(connection("localhost:1"), {}).made_of(
        StatusCode.UNAVAILABLE, "busy", PATH, Deadline(5), trailing, closed=False
    )
    assert error.retry_after == seconds


# The words of several gRPC releases; the side is named since 1.70 or so, before it follows from our own limits.
@pytest.mark.parametrize(
    ("details", "hint"),
    [
        ("CLIENT: Received message larger than max (99 vs. 10)", "The client refused the reply"),
        ("CLIENT: Sent message larger than max (99 vs. 20)", "The client refused the request"),
        ("SERVER: Received message larger than max (99 vs. 10)", "The server refused the request"),
        ("SERVER: Sent message larger than max (99 vs. 20)", "The server refused the reply"),
        ("Received message larger than max (99 vs. 10)", "The client refused the reply"),
        ("Received message larger than max (99 vs. 4194304)", "The server refused the request"),
        ("Sent message larger than max (99 vs. 20)", "The client refused the request"),
        ("Sent message larger than max (99 vs. 77)", "The server refused the reply"),
        ("out of memory", ""),
    ],
)
def test_the_side_that_refused_a_message_for_its_size_is_named(details, hint):
    limits = {"grpc.max_receive_message_length": 10, "grpc.max_send_message_length": 20}
    found = hint_of(StatusCode.RESOURCE_EXHAUSTED, details, limits)
    assert found.startswith(hint)
    assert bool(found) == bool(hint)


def test_closing_does_not_wait_for_a_call_whose_beginning_was_interrupted(raw_server, monkeypatch):
    """As if Ctrl-C arrives between two lines of grpc, which then waits forever for the end of a call."""
    management = pytest.importorskip("grpc._channel")
    if not hasattr(management, "_run_channel_spin_thread"):
        pytest.skip("another grpc")

    def interrupt(state):
        raise KeyboardInterrupt

    monkeypatch.setattr(management, "_run_channel_spin_thread", interrupt)
    transport = GrpcTransport(connection(raw_server(Predict=lambda request, context: request)))
    with pytest.raises(KeyboardInterrupt):
        transport.start(send(b""), lambda reply, error: None)
    began = time.monotonic()
    transport.close()
    assert time.monotonic() - began < 10
