"""Error meanings: what servers, gRPC and proxies say, against what it means for the request."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import write_request
from tfs_client._transports.error_meanings import TABLE, Meaning, meaning_of, row_limit
from tfs_client.errors import (
    BY_CODE,
    ClosedError,
    ConfigError,
    DecodeError,
    EncodeError,
    SignatureError,
    StatusCode,
    call_error,
)

S = StatusCode
FULL = "The batch scheduling queue to which this task was submitted is full; "
SPLIT = (
    "task size is {rows} but scheduling capacity is only {room} (num_enqueued_batches=4, max_enqueued_batches=4, "
    "open_batch_size=30, max_execution_batch_size=32)"
)

TOO_LARGE = [
    (S.INVALID_ARGUMENT, "Task size 8 is larger than maximum input batch size 3"),
    (S.INVALID_ARGUMENT, "Task size 8 was larger than maximum input batch size 3"),
    (S.UNAVAILABLE, FULL + SPLIT.format(rows=129, room=2)),
    (S.RESOURCE_EXHAUSTED, "Received message larger than max (5000001 vs. 4194304)"),
    (S.RESOURCE_EXHAUSTED, "the reply has more than 1000 bytes once inflated"),
    (S.RESOURCE_EXHAUSTED, "Sent message larger than max (5000001 vs. 4194304)"),
    (S.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (5000001 vs. 4194304)"),
    (S.RESOURCE_EXHAUSTED, "SERVER: Sent message larger than max (5000001 vs. 4194304)"),
    (S.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5000001 vs. 4194304)"),
    (S.RESOURCE_EXHAUSTED, "grpc: trying to send message larger than max (5000001 vs. 4194304)"),
    (S.RESOURCE_EXHAUSTED, "gRPC message exceeds maximum size 4194304: 5118829"),
    (S.RESOURCE_EXHAUSTED, "Received message exceeds the maximum configured message size."),
    (S.RESOURCE_EXHAUSTED, "OOM when allocating tensor with shape[64,1024,1024] and type float on /device:GPU:0"),
    (S.RESOURCE_EXHAUSTED, "failed to allocate memory\n\t [[{{node conv}}]]"),
    (S.RESOURCE_EXHAUSTED, "Out of memory while trying to allocate 17179869184 bytes."),
    (S.RESOURCE_EXHAUSTED, "MemoryError: Unable to allocate 7.45 GiB for an array"),
    (S.INTERNAL, "Failed to allocate request for 2.0GiB on device ordinal 0"),
    (S.UNKNOWN, "Received http2 header with status: 413"),
    (S.RESOURCE_EXHAUSTED, "HTTP 413 Request Entity Too Large: 413 Request Entity Too Large"),
]
BUSY = [
    (S.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"),
    (S.RESOURCE_EXHAUSTED, ""),
    (S.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"),
    (S.RESOURCE_EXHAUSTED, "quota of the tenant"),
    (S.RESOURCE_EXHAUSTED, "HTTP 429 Too Many Requests: slow down"),
    (S.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue"),
    (S.UNAVAILABLE, FULL + "currently 4 batches enqueued and max_enqueued_batches is 4"),
    (S.UNAVAILABLE, FULL + SPLIT.format(rows=128, room=2)),
    (
        S.UNAVAILABLE,
        "This task would start a fresh batch, but all batch threads are busy, so at present there is no processing "
        "capacity available for this task",
    ),
    (S.UNAVAILABLE, "Received http2 header with status: 429"),
    (S.UNAVAILABLE, "upstream connect error or disconnect/reset before headers. reset reason: overflow"),
    (S.UNAVAILABLE, "HTTP 503 Service Unavailable: pending request queue full"),
    (S.UNAVAILABLE, "HTTP 503 Service Unavailable: 503 Service Temporarily Unavailable"),
    (S.INTERNAL, "Server Threadpool Exhausted"),
    (S.CANCELLED, "CANCELLED"),
]
GONE = [
    (S.UNAVAILABLE, "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:8500: Connection refused"),
    (S.UNAVAILABLE, "Socket closed"),
    (S.UNAVAILABLE, "Cancelling all calls"),
    (S.UNAVAILABLE, "GOAWAY received; Error code: 0; Debug Text: server shutting down"),
    (S.UNAVAILABLE, "the server is stopping"),
    (S.UNAVAILABLE, "Model labels does not init yet.stable"),
    (S.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is closed"),
    (S.UNAVAILABLE, "Received http2 header with status: 502"),
    (S.UNAVAILABLE, "Received http2 header with status: 503"),
    (S.UNAVAILABLE, "Received http2 header with status: 504"),
    (S.UNAVAILABLE, "HTTP 502 Bad Gateway: 502 Bad Gateway"),
    (S.DEADLINE_EXCEEDED, "HTTP 504 Gateway Time-out: 504 Gateway Time-out"),
    (S.UNAVAILABLE, ""),
    (S.UNKNOWN, "Stream removed"),
]
INPUTS = [
    (S.INVALID_ARGUMENT, "You must feed a value for placeholder tensor 'x' with dtype float"),
    (S.INVALID_ARGUMENT, "Task size 8 is larger than maximum input batch size 0"),
    (S.INVALID_ARGUMENT, "indices[0] = 11 is not in [0, 10)"),
    (S.INTERNAL, "Tensor concat operation failed: mixed dtypes"),
    (S.UNKNOWN, "ZeroDivisionError: division by zero"),
    (S.OUT_OF_RANGE, "StopIteration"),
    (S.DATA_LOSS, "Invalid PNG data, size 3"),
    (S.UNIMPLEMENTED, ""),
]
OTHER = [
    (S.INTERNAL, "The server answered OK without a message"),
    (S.CANCELLED, "Locally cancelled by application!"),
    (S.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    (S.NOT_FOUND, "Servable not found for request: Latest(m)"),
    (S.PERMISSION_DENIED, "no"),
    (S.UNAUTHENTICATED, "no"),
    (S.FAILED_PRECONDITION, 'Serving signature key "x" not found.'),
    (S.ABORTED, "once more"),
    (S.ALREADY_EXISTS, "twice"),
    (S.RESOURCE_EXHAUSTED, "received initial metadata size exceeds hard limit (20485 vs. 16384)"),
    (S.RESOURCE_EXHAUSTED, "Insufficient resources to load servable {name: m version: 1}"),
]
SAID = [
    (code, text, meaning)
    for meaning, said in zip(Meaning, (TOO_LARGE, BUSY, GONE, INPUTS, OTHER), strict=True)
    for code, text in said
]


@pytest.mark.parametrize(("code", "text", "meaning"), SAID, ids=[f"{code.name}-{text[:40]}" for code, text, _ in SAID])
def test_a_status_and_its_text_mean(code, text, meaning):
    assert meaning_of(call_error(code, text, "Predict", "a hint is not a text")) is meaning


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.source[:40])
def test_every_row_of_the_table_is_met_by_some_error(row):
    def errors():
        for code, text, _ in SAID:
            yield call_error(code, text)
        for status in (413, 431):
            yield over_rest(status, "in JSON")
        yield asking_to_wait(call_error(S.UNAVAILABLE, "restarting"), 1.0)

    first = [next((other for other in TABLE if other.match(error) is not None), None) for error in errors()]
    assert row in first


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.source[:40])
def test_every_row_names_its_source(row):
    assert len(row.source) > 20


def over_rest(status, text, code=S.RESOURCE_EXHAUSTED):
    error = call_error(code, text)
    error.http_status = status
    return error


def asking_to_wait(error, seconds):
    error.retry_after = seconds
    return error


def test_over_rest_the_status_counts_where_the_text_says_nothing():
    assert meaning_of(over_rest(413, "the body has more than 100 bytes")) is Meaning.TOO_LARGE
    assert meaning_of(over_rest(429, "slower")) is Meaning.BUSY
    assert meaning_of(over_rest(429, "OOM when allocating tensor")) is Meaning.TOO_LARGE
    assert meaning_of(over_rest(431, "headers")) is Meaning.OTHER
    assert meaning_of(over_rest(503, FULL, S.UNAVAILABLE)) is Meaning.BUSY
    assert meaning_of(over_rest(503, "upstream", S.UNAVAILABLE)) is Meaning.GONE


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_a_server_that_asks_to_wait_is_busy(code):
    assert meaning_of(asking_to_wait(call_error(code, "in a moment"), 0.0)) is Meaning.BUSY


def test_a_request_that_is_too_large_is_a_permanent_error():
    error = asking_to_wait(call_error(S.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)"), 2.0)
    assert meaning_of(error) is Meaning.TOO_LARGE


def test_the_text_gives_the_largest_number_of_rows():
    assert row_limit(call_error(*TOO_LARGE[0])) == row_limit(call_error(*TOO_LARGE[1])) == 3
    assert row_limit(call_error(*TOO_LARGE[2])) == 4 * 32
    for code, text, _ in SAID[3:]:
        assert row_limit(call_error(code, text)) is None


def test_errors_without_a_servers_answer():
    over = EncodeError("expected a request of at most 2147483647 bytes, got 3000000000; send it in smaller batches")
    assert meaning_of(over) is Meaning.TOO_LARGE
    for error in (EncodeError("ragged"), DecodeError("cut off"), SignatureError("no input 'z'")):
        assert meaning_of(error) is Meaning.INPUTS
    for other in (ClosedError("closed"), ConfigError("which model?"), ValueError("x"), KeyboardInterrupt()):
        assert meaning_of(other) is Meaning.OTHER


def test_the_meaning_survives_pickle():
    error = pickle.loads(pickle.dumps(over_rest(413, "the body has more than 100 bytes")))
    assert meaning_of(error) is Meaning.TOO_LARGE


def test_a_request_over_2_gib_is_too_large():
    array = np.zeros(1 << 26, np.uint8)  # many times the same memory
    with pytest.raises(EncodeError) as caught:
        write_request(ModelSpec("m"), {f"x{number}": array for number in range(33)})
    assert meaning_of(caught.value) is Meaning.TOO_LARGE


@pytest.mark.parametrize(
    "details",
    [
        f"Task size 5 is larger than maximum input batch size {'9' * 5000}",
        FULL + SPLIT.format(rows="9" * 5000, room=2),
        (FULL + "task size is 1 max_enqueued_batches=1,") * 10_000,
        "task size is " * 100_000,
    ],
)
def test_hostile_texts_are_read_in_bounded_time(details: str) -> None:
    error = call_error(S.UNAVAILABLE, details)
    assert meaning_of(error) in (Meaning.BUSY, Meaning.GONE)
    assert row_limit(error) is None
