"""Hostile replies over HTTP/1.1: a call ends in time, with a reply or an error of this package.

And nothing of it reaches the next call, which may be another tenant's.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import statistics
import threading
import time
import zlib

import numpy as np
import pytest
from calling import REST, STYLES, calling
from certificates import certificates
from scripted import ServerTls, server_context
from tcp import http_reply, listening, saying

from tfs_client import (
    TLS,
    CallError,
    DeadlineExceededError,
    DecodeError,
    ResourceExhaustedError,
    TensorSpec,
    TFServingError,
    UnavailableError,
)
from tfs_client.testing import FakeServer

DIRECT = ("rest", "rest-aio")  # futures make calls as the blocking client does
STATUS = b'{"model_version_status": [{"version": "7", "state": "AVAILABLE", "status": {}}]}'


def status_at(style, conversation, **options):
    """What ``status`` gives, or its error, in time."""
    options = {"timeout": 10, **options}
    with listening(conversation) as port, calling(style, f"http://127.0.0.1:{port}", model="m", **options) as client:
        began = time.monotonic()
        try:
            return client.status()
        except TFServingError as error:
            return error
        finally:
            assert time.monotonic() - began < options["timeout"] + 5


def encoded(body, encoding, **more):
    return http_reply(body, more=f"Content-Encoding: {encoding}\r\n", **more)


def megabytes_of_zeros():
    """How they begin in gzip, and what goes on with another of them any number of times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return [packer.compress(b"0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)]


BOMB, MORE = megabytes_of_zeros()
RAW = zlib.compress(STATUS)[2:-4]
TWO_LENGTHS = f"Content-Length: {len(STATUS)}\r\n"


@pytest.mark.parametrize("style", DIRECT)
@pytest.mark.parametrize(
    "reply",
    [
        encoded(gzip.compress(STATUS), "gzip"),
        encoded(gzip.compress(STATUS), "X-GZIP"),
        encoded(gzip.compress(STATUS), "identity, gzip"),
        encoded(zlib.compress(STATUS), "deflate"),
        encoded(RAW, "deflate"),
        encoded(STATUS, "identity"),
        http_reply(STATUS, more=TWO_LENGTHS),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + http_reply(STATUS),
        b"HTTP/1.0 200 \xff\xfe\r\n\r\n" + STATUS,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in STATUS)
        + b"0\r\nTrailer: x\r\n\r\n",
    ],
    ids=range(10),
)
def test_unusual_replies_are_read(style, reply):
    assert status_at(style, saying(reply)).versions[0].version == 7


UNREADABLE = [
    (
        encoded(gzip.compress(gzip.compress(STATUS)), "gzip, gzip"),
        DecodeError,
        "one content encoding.*'gzip, gzip'",
    ),
    (encoded(b"?", "gzip\r\nContent-Encoding: deflate"), DecodeError, "one content encoding at most"),
    (encoded(b"?", "br"), DecodeError, "one content encoding.*'br'"),
    (encoded(b"?", "gzip", status="500 No"), DecodeError, "gzip data ends too early"),
    (encoded(gzip.compress(STATUS)[:-3], "gzip"), DecodeError, "gzip data ends too early"),
    (encoded(gzip.compress(STATUS)[:-8] + b"\1" * 8, "gzip"), DecodeError, "gzip data is damaged"),
    (encoded(gzip.compress(STATUS) + b"x", "gzip"), DecodeError, "bytes follow the end of the gzip data"),
    (encoded(gzip.compress(STATUS) * 2, "gzip"), DecodeError, "bytes follow the end of the gzip data"),
    (encoded(RAW[:-1], "deflate"), DecodeError, "deflate data ends too early"),
    (encoded(b"\xff\xff\xff", "deflate"), DecodeError, "deflate data is damaged"),
    (encoded(b"", "gzip"), DecodeError, "expected JSON"),
    (http_reply(STATUS, length=-5), UnavailableError, ""),
    (http_reply(STATUS, more="Content-Length: 3\r\n"), UnavailableError, ""),
    (http_reply(STATUS, more="Transfer-Encoding: gzip, chunked\r\n"), UnavailableError, ""),
    (
        http_reply(STATUS, more="A: " + "x" * 200_000 + "\r\n"),
        UnavailableError,
        "headers of a reply .* are larger than 100 kB",
    ),
    (http_reply(STATUS, more="A: x\r\n" * 40_000), UnavailableError, "headers of a reply .* are larger than 100 kB"),
    (http_reply(STATUS, more="A: \0\r\n"), UnavailableError, ""),
    (http_reply(STATUS, more="A\r\n"), UnavailableError, ""),
    (http_reply(STATUS, status="999"), CallError, ""),
    (http_reply(STATUS, status="99999 no"), UnavailableError, ""),
    (http_reply(STATUS, status="101 Switching Protocols", more="Upgrade: h2c\r\n"), UnavailableError, ""),
    (http_reply(STATUS, status="302 Found", more="Location: http://[::1\r\n"), CallError, ""),
    (http_reply(STATUS, status="302 Found", more="Location: //\xff:x\r\n"), CallError, ""),
    (http_reply(STATUS, status="302 Found", more="Location: a: b//c\r\n"), DecodeError, "cannot be read: InvalidURL"),
    (http_reply(STATUS, status="307 Found", more="Location: x://y:99999999/\r\n"), CallError, ""),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", UnavailableError, ""),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", UnavailableError, ""),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 400 + b"\r\n", UnavailableError, ""),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n", UnavailableError, ""),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"A: b\r\n" * 30_000,
        TFServingError,
        "",
    ),
    (b"", UnavailableError, ""),
    (b"\r\n" * 1000, UnavailableError, ""),
    (b"HTTP/2.0 200 OK\r\n\r\n", DecodeError, ""),
    (b"\0" * 200_000, UnavailableError, ""),
]


@pytest.mark.parametrize("style", DIRECT)
@pytest.mark.parametrize(("reply", "kind", "words"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_unreadable_replies_raise_errors_of_this_package(style, reply, kind, words):
    error = status_at(style, saying(reply))
    assert isinstance(error, kind), repr(error)
    assert re.search(words, str(error)), str(error)


def forever(piece):
    def converse(connection, over):
        connection.recv(1 << 16)
        while not over.is_set():
            connection.sendall(piece)

    return converse


@pytest.mark.parametrize("style", DIRECT)
@pytest.mark.parametrize(
    "piece",
    [b"HTTP/1.1 102 Processing\r\n\r\n" * 500, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n0\r\n0"],
    ids=["interim replies", "zeros"],
)
def test_an_endless_reply_exceeds_the_deadline(style, piece):
    head, _, rest = piece.partition(b"1\r\n0")
    conversation = forever(b"1\r\n0\r\n" * 5000) if rest else forever(piece)

    def converse(connection, over):
        if rest:
            connection.sendall(head)
        conversation(connection, over)

    assert isinstance(status_at(style, converse, timeout=0.3), DeadlineExceededError)


# --- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", DIRECT)
@pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
def test_a_compressed_reply_becomes_no_larger_than_the_limit(style, status):
    error = status_at(style, saying(encoded(BOMB + MORE * 2, "gzip", status=status)), max_inflated_bytes=2 << 20)
    assert isinstance(error, ResourceExhaustedError)
    assert "the reply has more than 2097152 bytes once inflated" in str(error)
    assert "max_inflated_bytes=" in error.hint


@pytest.mark.parametrize("style", DIRECT)
@pytest.mark.parametrize(
    ("reply", "limit"),
    [
        (http_reply(b"", length=1 << 40), 1000),
        (http_reply(STATUS), len(STATUS) - 1),
        (b"HTTP/1.1 200 OK\r\n\r\n" + STATUS, len(STATUS) - 1),
        (encoded(gzip.compress(STATUS), "gzip"), len(STATUS) - 1),
        (http_reply(b"x" * 2000, status="404 Not Found"), 1000),
    ],
    ids=["length", "one byte too many", "no length", "compressed", "error"],
)
def test_a_reply_over_the_limit_is_refused(style, reply, limit):
    error = status_at(style, saying(reply), max_reply_bytes=limit)
    assert isinstance(error, ResourceExhaustedError), repr(error)
    assert f"more than {limit} bytes" in str(error)
    assert "max_reply_bytes=" in error.hint


@pytest.mark.parametrize("style", DIRECT)
def test_a_reply_within_the_limits_is_read(style):
    for reply in (http_reply(STATUS), encoded(gzip.compress(STATUS), "gzip")):
        found = status_at(style, saying(reply), max_reply_bytes=len(STATUS), max_inflated_bytes=None)
        assert found.versions[0].version == 7


def test_inflating_lets_other_tasks_run_and_ends_in_time():
    """The text is endless; it is inflated until the time is over, and no other task waits for that."""
    import asyncio

    from tfs_client import AsyncPredictClient

    def converse(connection, over):
        connection.recv(1 << 16)
        connection.sendall(encoded(BOMB, "gzip", length=1 << 40))
        while not over.is_set():
            connection.sendall(MORE * 100)

    async def main(port):
        turns, last = [], time.thread_time()  # seconds of this thread's own work from turn to turn

        async def take_turns():
            nonlocal last
            while True:
                await asyncio.sleep(0)
                now = time.thread_time()
                turns.append(now - last)
                last = now

        async with AsyncPredictClient(
            f"http://127.0.0.1:{port}", model="m", timeout=0.2, max_inflated_bytes=1 << 30
        ) as client:
            other = asyncio.ensure_future(take_turns())
            with pytest.raises(DeadlineExceededError):
                await client.status()
            other.cancel()
        return turns

    with listening(converse) as port:
        turns = asyncio.run(main(port))
    # A single turn may be long, when the buffer is moved; without turns all are 0.1 s or more.
    assert statistics.median(turn for turn in turns if turn > 0.005) < 0.05


# --- the next call -----------------------------------------------------------------------------------------------


def answering(*replies):
    """Return a conversation that gives each connection these replies in turn, and the list of its requests."""
    asked, lock = [], threading.Lock()

    def converse(connection, over):
        for reply in replies:
            head = connection.recv(1 << 20)
            if not head:
                return
            with lock:
                asked.append(head.decode())
            connection.sendall(reply)
        over.wait()

    return converse, asked


def kept(body, more="", status="200 OK"):
    return http_reply(body, more=more, status=status).replace(b"Connection: close\r\n", b"")


OTHER = kept(STATUS.replace(b'"7"', b'"666"'))
FULL = STATUS + b" " * (65536 - len(kept(STATUS)) - 3)  # with its head one read of a socket


@pytest.mark.parametrize("style", REST)
@pytest.mark.parametrize(
    "reply",
    [
        kept(STATUS) + OTHER,
        kept(FULL) + OTHER,
        kept(STATUS) + b"x",
        kept(STATUS)[:-5] + kept(STATUS)[-5:] + b"\r\n",
        kept(STATUS, status="404 Not Found") + OTHER,
        kept(b"", status="204 No Content") + STATUS + OTHER,
        kept(b"0\r\n\r\n", more="Transfer-Encoding: chunked\r\n"),
    ],
    ids=["two replies", "two in two reads", "a byte", "an empty line", "after an error", "a body of none", "two ends"],
)
def test_bytes_after_a_reply_do_not_answer_the_next_call(style, reply):
    conversation, asked = answering(reply, kept(STATUS.replace(b'"7"', b'"1"')))
    with listening(conversation) as port, calling(style, f"http://127.0.0.1:{port}", model="m", timeout=10) as client:
        for _ in range(2):
            with contextlib.suppress(CallError, DecodeError):  # whatever comes, it is no answer to another request
                assert client.status().versions[0].version == 7
    assert len(asked) == 2


@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="two records cannot be sent at once here")
@pytest.mark.parametrize("style", DIRECT)
def test_a_tls_record_after_a_reply_does_not_answer_the_next_call(style):
    made = certificates()
    context = server_context(ServerTls(made.server))
    asked = []

    def converse(connection, over):
        with context.wrap_socket(connection, server_side=True) as secure:
            asked.append(secure.recv(1 << 16))
            secure.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            secure.sendall(kept(STATUS))
            secure.sendall(OTHER)
            secure.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
            over.wait()

    with (
        listening(converse) as port,
        calling(style, f"https://localhost:{port}", model="m", tls=TLS(ca=made.ca), timeout=10) as client,
    ):
        assert [client.status().versions[0].version for _ in range(2)] == [7, 7]
    assert len(asked) == 2


@pytest.mark.parametrize("style", REST)
def test_a_connection_is_kept_after_a_reply_without_more(style):
    conversation, _ = answering(kept(FULL), kept(STATUS.replace(b'"7"', b'"8"')))
    with listening(conversation) as port, calling(style, f"http://127.0.0.1:{port}", model="m", timeout=10) as client:
        assert [client.status().versions[0].version for _ in range(2)] == [7, 8]


SESSION = "Set-Cookie: session=of-alice; Path=/\r\nWWW-Authenticate: Basic realm=x\r\nLocation: /v1/models/alice\r\n"


@pytest.mark.parametrize("style", REST)
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized"])
def test_a_call_keeps_nothing_of_the_previous_one(style, status):
    conversation, asked = answering(kept(STATUS, more=SESSION, status=status), kept(STATUS))
    tenant = ["alice"]
    with (
        listening(conversation) as port,
        calling(style, f"http://127.0.0.1:{port}", token=lambda: tenant[0], timeout=10) as client,
    ):
        with contextlib.suppress(CallError):  # of the status
            client.status(model="a", metadata={"x-tenant": "alice"})
        tenant[0] = "bob"
        assert client.status(model="b").versions[0].version == 7
    first, second = asked
    assert "alice" in first
    assert "alice" not in second
    assert "Bearer bob" in second
    assert {line.partition(":")[0].lower() for line in second.splitlines()[1:] if line} == {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "user-agent",
        "authorization",
    }


@pytest.mark.parametrize("style", STYLES)
def test_two_tenants_share_a_client_and_nothing_else(style):
    vector = TensorSpec("float32", (None,))
    tenant = ["alice"]
    with FakeServer() as server:
        server.add_model("m", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})
        with calling(style, server, model="m", token=lambda: tenant[0], timeout=20) as client:
            for name in ("alice", "bob", "alice"):
                tenant[0] = name
                server.clear_calls()
                client.predict({"x": np.float32([1])}, metadata={f"x-{name}": name})
                assert server.calls[-1].metadata["authorization"] == f"Bearer {name}"
                other = {"alice": "bob", "bob": "alice"}[name]
                assert other not in str(server.calls[-1].metadata)
