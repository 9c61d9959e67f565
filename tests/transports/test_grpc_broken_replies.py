"""gRPC servers that break the protocol: every reply ends in an error of this package, in every style of calling."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from calling import GRPC, calling
from tcp import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, answering_in_http2, header, listening

from tfs_client import (
    DecodeError,
    InternalError,
    MicroBatcher,
    ModelConfig,
    ModelServerConfig,
    PredictClient,
    RetryPolicy,
    TFServingError,
)
from tfs_client._transports.error_meanings import Meaning, meaning_of
from tfs_client._transports.grpc_errors import NEVER, _pushback

X = {"x": np.float32([1, 2])}
GRPC_HEAD = header(":status", "200") + header("content-type", "application/grpc")
HEAD = (HEADERS, END_HEADERS, GRPC_HEAD)


def tail(status: str = "0", more: bytes = b"") -> tuple[int, int, bytes]:
    return HEADERS, END_HEADERS | END_STREAM, header("grpc-status", status) + more


def message(payload: bytes, *, flag: int = 0, size: int | None = None) -> tuple[int, int, bytes]:
    return DATA, 0, struct.pack(">BI", flag, len(payload) if size is None else size) + payload


NO_MESSAGE = (HEAD, tail())
BROKEN = {
    "no message": NO_MESSAGE,
    "half a message": (HEAD, message(b"abc", size=10), tail()),
    "unknown compression flag": (HEAD, message(b"abc", flag=7), tail()),
    "no such compression": (HEAD, message(b"abc", flag=1), tail()),
    "trailers alone": ((HEADERS, END_HEADERS | END_STREAM, GRPC_HEAD + header("grpc-status", "0")),),
    "no trailers": (HEAD, (DATA, END_STREAM, b"\0\0\0\0\0")),
    "no status": (HEAD, message(b""), (HEADERS, END_HEADERS | END_STREAM, header("x", "y"))),
    "an unknown status": (HEAD, message(b""), tail("99")),
    "a negative status": (HEAD, message(b""), tail("-1")),
    "a text as status": (HEAD, message(b""), tail("abc")),
    "a message that is not UTF-8": (HEAD, tail("3", header("grpc-message", "%FF%C0%ZZ%"))),
    "details that are not base64": (HEAD, tail("3", header("grpc-status-details-bin", "!!"))),
    "a huge push-back": (HEAD, tail("14", header("grpc-retry-pushback-ms", "9" * 100))),
    "a reset": (HEAD, (RST_STREAM, 0, b"\xff\xff\xff\xff")),
    "another message": (HEAD, message(b"\xff\xff\xff\x00garbage"), tail()),
}


@pytest.mark.parametrize("style", GRPC)
@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
def test_broken_replies_are_errors(style: str, frames: Any) -> None:
    with listening(answering_in_http2(*frames)) as port, calling(style, f"127.0.0.1:{port}", model="m") as client:
        with pytest.raises(TFServingError):
            client.predict(X, timeout=20)
        for call in (client.status, client.signatures):
            with pytest.raises(TFServingError):
                call(timeout=20)


CALLS: dict[str, Callable[[PredictClient], Any]] = {
    "predict": lambda client: client.predict(X),
    "predict_future": lambda client: client.predict_future(X).result(),
    "predict_batched": lambda client: client.predict_batched(X, batch_size=1),
    "status": lambda client: client.status(),
    "signatures": lambda client: client.signatures(),
    "health": lambda client: client.health(),
    "wait_until_ready": lambda client: client.wait_until_ready(timeout=5),
    "classify": lambda client: client.classify([{}]),
    "regress": lambda client: client.regress([{}]),
    "multi_inference": lambda client: client.multi_inference([{}], tasks={"a": "classify"}),
    "reload_config": lambda client: client.reload_config(ModelServerConfig([ModelConfig("m", "/models/m")])),
    "micro": lambda client: micro(client),
}


def micro(client: PredictClient) -> Any:
    with MicroBatcher(client, max_delay=0.001) as batcher:
        return batcher.predict({"x": np.float32(1)})


def test_ok_without_a_message_is_internal_in_every_call() -> None:
    with (
        listening(answering_in_http2(*NO_MESSAGE)) as port,
        PredictClient(f"127.0.0.1:{port}", model="m", timeout=20) as client,
    ):
        for name, call in CALLS.items():
            with pytest.raises(InternalError, match="OK without a message") as caught:
                call(client)
            assert caught.value.method, name


def test_ok_without_a_message_is_returned_for_every_example() -> None:
    with (
        listening(answering_in_http2(*NO_MESSAGE)) as port,
        PredictClient(f"127.0.0.1:{port}", model="m", timeout=20) as client,
    ):
        found = list(client.predict_many(({"x": 1.0} for _ in range(4)), batch_size=2, on_error="return"))
    assert [type(error) for error in found] == [InternalError] * 4


def test_ok_without_a_message_is_not_retried() -> None:
    with (
        listening(answering_in_http2(*NO_MESSAGE)) as port,
        PredictClient(f"127.0.0.1:{port}", model="m", timeout=20, retry=RetryPolicy()) as client,
        pytest.raises(InternalError) as caught,
    ):
        client.predict(X)
    assert caught.value.attempts == 1
    assert meaning_of(caught.value) is Meaning.OTHER


def test_a_reply_that_an_interceptor_made_of_something_else() -> None:
    class Answer:
        def result(self) -> Any:
            return {"y": 1}

    class Replacing(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            return Answer()

    with (
        listening(answering_in_http2(*NO_MESSAGE)) as port,
        PredictClient(f"127.0.0.1:{port}", model="m", timeout=20, interceptors=[Replacing()]) as client,
        pytest.raises(DecodeError, match="got dict from an interceptor"),
    ):
        client.predict(X)


@pytest.mark.parametrize("value", ["-1", "x", "", "9" * 400, "9" * 5000, str(1 << 32), b"\xff"])
def test_push_back_that_is_not_a_32_bit_number_forbids_another_attempt(value: Any) -> None:
    assert _pushback([("grpc-retry-pushback-ms", value)]) == NEVER
