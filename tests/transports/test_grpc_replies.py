"""Replies of gRPC that are compressed, or too large: read, or refused within the limits, in every way of calling."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from calling import GRPC, calling
from scripted import MODEL, predict_reply

from tfs_client import AsyncPredictClient, DeadlineExceededError, DecodeError, ResourceExhaustedError
from tfs_client._transports.grpc_messages import Message

X = {"x": np.float32([1.0])}
PREDICT = "tensorflow.serving.PredictionService"


@pytest.fixture(params=GRPC)
def style(request):
    return request.param


@pytest.fixture
def serving():
    """Starts gRPC servers that answer Predict with a message, in a compression of gRPC's."""
    servers = []

    def start(reply, compression=grpc.Compression.NoCompression):
        server = grpc.server(ThreadPoolExecutor(4), compression=compression, options=[("grpc.so_reuseport", 0)])
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: reply)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PREDICT, {"Predict": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for stopped in [server.stop(0) for server in servers]:
        stopped.wait()


def predict(style, target, **options):
    with calling(style, target, model=MODEL, **{"timeout": 20, **options}) as client:
        return client.predict(X)


# A reply of any size: an unknown field of bytes, which readers pass over.
def large(size):
    length = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21])
    return predict_reply(1) + b"\x7a" + length + bytes(size)


COMPRESSIONS = [grpc.Compression.Gzip, grpc.Compression.Deflate]


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=["gzip", "deflate"])
def test_compressed_replies_are_read(style, serving, compression):
    reply = large(2 << 20)
    target = serving(reply, compression)
    for options in ({}, {"max_reply_bytes": len(reply)}, {"max_inflated_bytes": None}, {"compression": "deflate"}):
        assert predict(style, target, **options).array.tolist() == [2]


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=["gzip", "deflate"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_inflated_bytes": 1 << 20}, "the reply has more than 1048576 bytes once inflated\nmax_inflated_bytes="),
        ({"max_reply_bytes": 1 << 20}, "the reply has more than 1048576 bytes once inflated\nmax_reply_bytes="),
        (
            {"channel_options": {"grpc.max_receive_message_length": 1 << 20}},
            "the reply has more than 1048576 bytes once inflated\n'grpc.max_receive_message_length'",
        ),
    ],
)
def test_a_compressed_reply_becomes_no_larger_than_the_limit(style, serving, compression, options, words):
    with pytest.raises(ResourceExhaustedError) as caught:
        predict(style, serving(large(2 << 20), compression), **options)
    assert words in str(caught.value).replace("Predict: RESOURCE_EXHAUSTED: ", "")


def test_a_plain_reply_over_the_limit_is_refused(style, serving):
    target = serving(large(1 << 20))
    with pytest.raises(ResourceExhaustedError, match="message larger than max") as caught:
        predict(style, target, max_reply_bytes=1 << 20)
    assert "raise max_reply_bytes=" in caught.value.hint
    assert predict(style, target, max_reply_bytes=1 << 32).array.tolist() == [2]


DAMAGED = [
    (gzip.compress(predict_reply(1))[:-1], "the gzip data ends too early"),
    (gzip.compress(predict_reply(1)) + b"x", "bytes follow the end of the gzip data"),
    (b"\x1f\x8b", "the gzip data ends too early"),
    (b"\x1f\x8b" + bytes(30), "the gzip data is damaged"),
    (b"\x78\x9c" + b"\xff" * 30, "the deflate data is damaged"),
    (gzip.compress(gzip.compress(predict_reply(1))), None),
    (b"\x1f", None),
    (b"\x1f\x8c", None),
]


@pytest.mark.parametrize(("reply", "words"), DAMAGED, ids=range(len(DAMAGED)))
def test_a_reply_that_is_damaged_cannot_be_read(style, serving, reply, words):
    with pytest.raises(DecodeError, match=words):
        predict(style, serving(reply))


class Watching(grpc.UnaryUnaryClientInterceptor, grpc.aio.UnaryUnaryClientInterceptor):
    """Notes the replies."""

    def __init__(self):
        self.seen = []

    def intercept_unary_unary(self, continuation, details, request):
        call = continuation(details, request)
        if asyncio.iscoroutine(call):
            return self._awaited(call)
        self.seen.append(call.result())
        return call

    async def _awaited(self, call):
        self.seen.append(await (await call))
        return self.seen[-1]


def test_interceptors_see_replies_as_the_server_wrote_them(style, serving):
    watching = Watching()
    target = serving(predict_reply(1), grpc.Compression.Gzip)
    assert predict(style, target, interceptors=[watching]).array.tolist() == [2]
    assert watching.seen == [predict_reply(1)]
    assert isinstance(watching.seen[0], Message)


def test_a_reply_hidden_from_interceptors_is_still_read_or_refused(style, serving):
    target = serving(large(9 << 20), grpc.Compression.Gzip)
    assert predict(style, target, interceptors=[Watching()]).array.tolist() == [2]
    with pytest.raises(ResourceExhaustedError, match="once inflated"):
        predict(style, target, interceptors=[Watching()], max_inflated_bytes=1 << 20)


def megabytes_of_zeros(count):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, more = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + more * (count - 1)


def test_inflating_ends_in_time(style, serving):
    target = serving(megabytes_of_zeros(2000))
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        predict(style, target, timeout=0.2, max_inflated_bytes=None)
    assert time.monotonic() - began < 2


def test_inflating_lets_other_tasks_run(serving):
    target = serving(megabytes_of_zeros(40))

    async def main():
        longest, last = 0.0, time.thread_time()

        async def ticks():
            nonlocal longest, last
            while True:
                await asyncio.sleep(0)
                now = time.thread_time()
                longest, last = max(longest, now - last), now

        async with AsyncPredictClient(target, model=MODEL, timeout=20, max_inflated_bytes=30 << 20) as client:
            other = asyncio.ensure_future(ticks())
            with pytest.raises(ResourceExhaustedError):
                await client.predict(X)
            other.cancel()
        return longest

    assert asyncio.run(main()) < 0.05  # seconds of this thread's own work
