"""GrpcTransport: bytes out, bytes in, and gRPC's errors as ours."""

from __future__ import annotations

import time

import grpc
import pytest

from tfs_client.errors import (
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    NotFoundError,
    StatusCode,
    TFServingError,
    UnavailableError,
)
from tfs_client.transports.grpc import DEFAULT_OPTIONS, GrpcTransport

PATH = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture
def transport(raw_server):
    """A transport to a server that sends back the request, and what it was told with it."""

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

    transport = GrpcTransport(raw_server(Predict=handle))
    yield transport
    transport.close()


@pytest.mark.parametrize("request_bytes", [b"", b"x", b"\x00\xff" * 900_000], ids=["empty", "small", "1.8 MB"])
def test_bytes_go_out_and_come_back_as_they_are(transport, request_bytes):
    assert transport.call(PATH, request_bytes, 10) == request_bytes * 2
    assert transport.start(PATH, request_bytes, 10, (), len).result(10) == 2 * len(request_bytes)


def test_metadata_and_deadline_travel_along(transport):
    told = transport.call(PATH, b"metadata", 10, (("a", "1"), ("b-bin", b"\x00")))
    assert b"('a', '1')" in told
    assert b"('b-bin', b'\\x00')" in told
    assert 3 < float(transport.call(PATH, b"time", 5)) < 6


def test_no_timeout_means_no_deadline(transport):
    told = transport.call(PATH, b"time", None)
    assert told == b"None" or float(told) > 1e6


def test_errors_are_translated_and_keep_their_cause(transport):
    with pytest.raises(NotFoundError) as caught:
        transport.call(PATH, b"abort", 10)
    assert (caught.value.details, caught.value.method, caught.value.hint) == ("not here", "Predict", "")
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    with pytest.raises(DeadlineExceededError):
        transport.call(PATH, b"sleep", 0.05)


def test_what_read_raises_is_raised_by_the_future(transport):
    def read(reply):
        raise LookupError("cannot read it")

    with pytest.raises(LookupError, match="cannot read it"):
        transport.start(PATH, b"x", 10, (), read).result(10)


def test_waiting_for_the_server_takes_the_time_it_was_given():
    transport = GrpcTransport("127.0.0.1:1")
    try:
        with pytest.raises(UnavailableError, match="Nothing that speaks gRPC"):
            transport.call(PATH, b"", 5)
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            transport.call(PATH, b"", 0.2, wait_for_ready=True)
        assert 0.15 < time.monotonic() - started < 5
    finally:
        transport.close()


def test_a_closed_transport_says_so_and_may_be_closed_again(transport):
    transport.call(PATH, b"", 10)
    transport.close()
    transport.close()
    for path in (PATH, "/another/Path"):
        with pytest.raises(ClosedError, match=f"the client of {transport.target} was closed"):
            transport.call(path, b"", 10)
        with pytest.raises(ClosedError):
            transport.start(path, b"", 10, (), len)


def test_what_grpc_itself_refuses_is_our_error_too(transport):
    with pytest.raises(TFServingError):
        transport.call(PATH, b"", 10, (("Not Lower", "x"),))
    with pytest.raises(TFServingError):
        transport.start(PATH, b"", 10, (("Not Lower", "x"),), len).result(10)


def test_the_users_options_come_on_top_of_the_defaults():
    with pytest.raises(ConfigError):
        GrpcTransport("localhost:1", {"grpc.x": object()})
    transport = GrpcTransport("localhost:1", {"grpc.max_send_message_length": 5, "grpc.enable_retries": 0})
    transport.close()
    assert transport._options == DEFAULT_OPTIONS | {"grpc.max_send_message_length": 5, "grpc.enable_retries": 0}


# The words of several gRPC releases, and of TensorFlow Serving.
@pytest.mark.parametrize(
    ("details", "unreached"),
    [
        ("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused", True),
        ("errors resolving nowhere.invalid:1: [field:hostname lookup error]", True),
        ("DNS resolution failed for nowhere.invalid:1: C-ares status is not ARES_SUCCESS", True),
        ("Socket closed", True),
        ("recvmsg:Connection reset by peer", True),
        ("Received http2 GOAWAY frame", True),
        ("Model labels does not init yet.stable", False),
        ("The batch scheduling queue to which this task was submitted is full", False),
        ("", False),
    ],
)
def test_only_a_server_that_was_not_reached_is_said_to_be_absent(details, unreached):
    transport = GrpcTransport("localhost:1")
    try:
        hint = transport._hint(StatusCode.UNAVAILABLE, details, None)
    finally:
        transport.close()
    assert bool(hint) is unreached
    assert ("Nothing that speaks gRPC answered at localhost:1" in hint) is unreached


# The words of several gRPC releases; the side is named since 1.70 or so, before it follows from our own limits.
@pytest.mark.parametrize(
    ("details", "hint"),
    [
        ("CLIENT: Received message larger than max (99 vs. 10)", "The client refused its reply"),
        ("CLIENT: Sent message larger than max (99 vs. 20)", "The client refused its request"),
        ("SERVER: Received message larger than max (99 vs. 10)", "The server refused the request"),
        ("SERVER: Sent message larger than max (99 vs. 20)", "The server refused the reply"),
        ("Received message larger than max (99 vs. 10)", "The client refused its reply"),
        ("Received message larger than max (99 vs. 4194304)", "The server refused the request"),
        ("Sent message larger than max (99 vs. 20)", "The client refused its request"),
        ("Sent message larger than max (99 vs. 77)", "The server refused the reply"),
        ("out of memory", ""),
    ],
)
def test_the_side_that_refused_a_message_for_its_size_is_named(details, hint):
    limits = {"grpc.max_receive_message_length": 10, "grpc.max_send_message_length": 20}
    transport = GrpcTransport("localhost:1", limits)
    try:
        found = transport._hint(StatusCode.RESOURCE_EXHAUSTED, details, None)
    finally:
        transport.close()
    assert found.startswith(hint)
    assert bool(found) == bool(hint)
