"""Replies through real sockets: HTTP/1.1 for REST, HTTP/2 for gRPC; and requests to a server that runs."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import threading
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import grpc

from tfs_client import PredictClient, TensorSpec
from tfs_client.errors import CallError, StatusCode, call_error
from tfs_client.server import Server
from tfs_client.server.embedded import half_plus_two
from tfs_client.signatures import Signature, Signatures

from . import corpus_messages as corpus
from .engine import Reader
from .mutations_bytes import TEXTS, changed, number, some_bytes
from .mutations_wire import Mutations

SECONDS = 0.4  # for a call whose reply never ends
TIMES = 40  # so many times slower than readers of bytes


class Answering:
    """A server that sends ``reply`` to the first request of each connection, and closes it."""

    def __init__(self, greeting: bytes, request_ends: Callable[[bytes], bool]) -> None:
        self.reply = b""
        self._greeting, self._request_ends = greeting, request_ends
        self._server: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port; asking for it starts the server."""
        if self._server is None:
            self._server = socket.create_server(("127.0.0.1", 0))
            threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()
        port: int = self._server.getsockname()[1]
        return port

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.settimeout(2)
                connection.sendall(self._greeting)
                received = b""
                while not self._request_ends(received):
                    more = connection.recv(1 << 16)
                    if not more:
                        break
                    received += more
                connection.sendall(self.reply)
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    connection.settimeout(0.05)
                    connection.recv(1 << 16)

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the one who accepts
            self._server.close()
            self._server = None


# --- HTTP/1.1

STATUS = ["200 OK", "200", "204 No Content", "304 Not Modified", "404 Not Found", "503 Busy", "429 x", "999 x", "0 x"]
STATUS += ["100 Continue", "101 Switching", "301 Moved", "401 Unauthorized", "407 Proxy", "-1 x", "2 00", "abc", ""]
HEADERS = ["Content-Type: application/json", "Content-Type: text/html", "Connection: close", "Connection: keep-alive"]
HEADERS += [
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "X: " + "y" * 9000,
]
HEADERS += [
    "Content-Encoding: gzip",
    "Content-Encoding: deflate",
    "Content-Encoding: br",
    "Content-Encoding: gzip, gzip",
]
HEADERS += [
    "Content-Length: 5",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Content-Length: x",
    ": x",
]
HEADERS += [
    "Location: http://127.0.0.1:1/",
    "Location: \x00",
    "Set-Cookie: a=b",
    "Retry-After: 9e999",
    "Retry-After: -1",
]
HEADERS += [
    "Retry-After: Fri, 31 Dec 99999 23:59:59 GMT",
    "Content-Type: application/json; charset=utf-99",
    " folded",
    "a b",
]
BODIES = [
    b'{"predictions": [1.5, 2.5]}',
    b'{"error": "no"}',
    b'{"error": {"a": 1}}',
    b"<html><title>x</title></html>",
    b"",
]


def http_replies(rng: Random) -> bytes:
    """A reply whose parts do not belong together, or with other bytes."""
    body = rng.choice(BODIES[:2] if rng.random() < 0.6 else BODIES)
    headers = [rng.choice(HEADERS) for _ in range(int(rng.random() ** 2 * 4))]
    joined = "\n".join(headers)
    if "Encoding: gzip" in joined and rng.random() < 0.8:
        body = gzip.compress(body)
    if "deflate" in joined and rng.random() < 0.8:
        body = zlib.compress(body)
    if "chunked" in joined and rng.random() < 0.9:
        size = (
            f"{len(body):x}" if rng.random() < 0.8 else rng.choice(("-1", "ffffffffffffffffff", "", "5;x=" + "y" * 999))
        )
        body = size.encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"
    elif rng.random() < 0.7:
        headers.append(f"Content-Length: {len(body) + rng.choice((0, 0, 0, 1, -1))}")
    line = f"HTTP/1.{rng.choice('1110')} {rng.choice(STATUS) if rng.random() < 0.2 else '200 OK'}"
    if rng.random() < 0.05:
        line = rng.choice(("HTTP/2 200", "ICY 200 OK", "", "SSH-2.0-x", "HTTP/1.1"))
    head = "\r\n".join([line, *headers]).encode("latin-1", "replace")
    data = head + rng.choice((b"\r\n\r\n", b"\r\n\r\n", b"\r\n\r\n", b"\n\n")) + body
    return changed(data, rng) if rng.random() < 0.25 else data


def _rest() -> Reader:
    def ended(received: bytes) -> bool:
        head, found, body = received.partition(b"\r\n\r\n")
        sizes = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return bool(found) and len(body) >= (sizes[0] if sizes else 0)

    server = Answering(b"", ended)
    signature = Signature({"x": TensorSpec("float32", (None,))}, {"y": TensorSpec("float32", (None,))})
    known = Signatures({"serving_default": signature}, model="m", version=1)
    clients: list[PredictClient] = []

    def read(data: bytes) -> Any:
        if not clients:
            target = f"http://127.0.0.1:{server.port}"
            clients.append(PredictClient(target, model="m", signatures=known, timeout=SECONDS))
        server.reply = data
        return clients[0].predict({"x": [1.0]})

    def wrong(data: bytes, value: Any, error: Exception | None) -> str:
        if error is None and value["y"].tolist() != [1.5, 2.5] and b"1.5, 2.5" in data:
            return f"other values: {value['y'].tolist()}"
        return ""

    def close() -> None:
        while clients:
            clients.pop().close()
        server.close()

    return Reader("http-reply", http_replies, read, wrong, growth=0, cost=TIMES // 2, close=close)  # few are readable


# --- HTTP/2 (RFC 9113; headers without compression, RFC 7541)

DATA, HEADER, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, MORE = range(10)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", size: int | None = None) -> bytes:
    """A frame, whose length may lie."""
    length = (len(payload) if size is None else size) & 0xFFFFFF
    return (
        length.to_bytes(3, "big")
        + bytes((kind & 0xFF, flags & 0xFF))
        + (stream & 0xFFFFFFFF).to_bytes(4, "big")
        + payload
    )


def header(name: bytes, value: bytes) -> bytes:
    """A header as it stands."""
    return b"\0" + b"".join(bytes((min(len(text), 126),)) + text[:126] for text in (name, value))


NAMES = [
    b"grpc-message",
    b"grpc-encoding",
    b"grpc-status-details-bin",
    b"content-type",
    b"x",
    b":status",
    b"grpc-status",
]
NAMES += [b"grpc-retry-pushback-ms", b"content-length", b"te", b"X-Upper", b""]
VALUES = [
    b"0",
    b"5",
    b"16",
    b"17",
    b"99",
    b"-1",
    b"x",
    b"gzip",
    b"%41%",
    b"%ff%00",
    b"application/grpc",
    b"200",
    b"503",
]


def http2_replies(reply: Mutations) -> Callable[[Random], bytes]:
    """gRPC's reply to the first call of a connection: other headers, frames and messages."""

    def make(rng: Random) -> bytes:
        message = reply(rng) if rng.random() < 0.5 else corpus.responses()[0] if rng.random() < 0.1 else GOOD
        first = [header(b":status", b"200"), header(b"content-type", b"application/grpc")]
        last = [header(b"grpc-status", b"0" if rng.random() < 0.7 else rng.choice(VALUES))]
        for block in (first, last):
            if rng.random() < 0.35:
                value = rng.choice(VALUES + TEXTS)
                block.insert(int(rng.random() * (len(block) + 1)), header(rng.choice(NAMES), value))
            if rng.random() < 0.05:
                block.pop()
        said = len(message) if rng.random() < 0.85 else number(rng) & 0xFFFFFFFF
        flag = 0 if rng.random() < 0.9 else int(rng.random() * 3)
        body = bytes((flag,)) + said.to_bytes(4, "big") + (gzip.compress(message) if flag == 1 else message)
        frames = [
            frame(HEADER, 4, 1, b"".join(first)),
            frame(DATA, 0, 1, body),
            frame(HEADER, 5, 1, b"".join(last)),
        ]
        pick = rng.random()
        at = int(rng.random() * 3)
        if pick < 0.08:
            del frames[at]
        elif pick < 0.16:
            frames.insert(at, frames[at])
        elif pick < 0.34:
            kind = int(rng.random() * 12)
            stream = rng.choice((0, 1, 2, 3, 0x80000001))
            frames.insert(at, frame(kind, rng.choice((0, 1, 4, 5, 255)), stream, some_bytes(rng, 16)))
        elif pick < 0.42:
            frames[at] = changed(frames[at], rng)
        elif pick < 0.46:
            frames.insert(at, frame(RESET, 0, 1, rng.choice((0, 2, 7, 8, 11, 99)).to_bytes(4, "big")))
        elif pick < 0.50:
            frames.insert(
                at,
                frame(GOAWAY, 0, 0, bytes(3) + b"\x01" + bytes(3) + bytes((int(rng.random() * 13),)) + some_bytes(rng)),
            )
        data = b"".join(frames)
        return make(rng) if aborts(data) else data

    return make


def aborts(data: bytes) -> bool:
    """Whether the bytes have a GOAWAY of an error code above 12, at which grpcio 1.85 ends the process."""
    at = 0
    while at + 9 <= len(data):
        size = int.from_bytes(data[at : at + 3], "big")
        if data[at + 3] == GOAWAY and int.from_bytes(data[at + 13 : at + 17], "big") > 12:
            return True
        at += 9 + size
    return False


GOOD = corpus.responses()[0]


def _grpc() -> Reader:
    server = Answering(frame(SETTINGS, 0, 0), lambda received: b"/tensorflow.serving." in received)
    options = {"grpc.enable_http_proxy": 0, "grpc.initial_reconnect_backoff_ms": 1, "grpc.max_reconnect_backoff_ms": 1}
    options |= {"grpc.min_reconnect_backoff_ms": 1}

    def read(data: bytes) -> Any:
        server.reply = data
        # A connection takes one reply here, and gRPC waits a while before it makes another: a client for each.
        with PredictClient(f"127.0.0.1:{server.port}", model="m", timeout=SECONDS, channel_options=options) as client:
            return client.predict({"x": [1.0]})

    return Reader(
        "http2-reply",
        http2_replies(Mutations(corpus.responses(), corpus.predict_pb2.PredictResponse.DESCRIPTOR)),
        read,
        growth=0,
        cost=TIMES // 2,  # few of these are readable
        close=server.close,
    )


# --- a server that runs


class Unforeseen(logging.Handler):
    """What the server logs as an exception that it did not foresee."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None and not isinstance(record.exc_info[1], CallError):
            self.found.append(f"{record.getMessage()}: {record.exc_info[1]!r}"[:500])


def _server_readers() -> list[Reader]:
    """Requests of every method, to a server over gRPC; and JSON to the same over REST is in ``readers_rest``."""
    unforeseen = Unforeseen()
    state: dict[str, Any] = {}

    def channel() -> Any:
        if not state:
            server = state["server"] = Server()
            server.add_model("half_plus_two", half_plus_two.signatures())
            server.start()
            logging.getLogger("tfs_client.server").addHandler(unforeseen)
            state["channel"] = grpc.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)])
        return state["channel"]

    def close() -> None:
        if state:
            state.pop("channel").close()
            state.pop("server").stop()
            logging.getLogger("tfs_client.server").removeHandler(unforeseen)

    def reader(label: str, service: str, method: str, valid: list[bytes], schema: Any) -> Reader:
        def read(data: bytes) -> Any:
            call = channel().unary_unary(f"/tensorflow.serving.{service}/{method}")
            try:
                return call(data, timeout=20)
            except grpc.RpcError as error:
                raise call_error(_code(error), error.details() or "") from None

        def wrong(data: bytes, value: Any, error: Exception | None) -> str:
            found, unforeseen.found = unforeseen.found, []
            return f"the server did not foresee {found[0]}" if found else ""

        return Reader(label, Mutations(valid, schema.DESCRIPTOR), read, wrong, growth=0, cost=TIMES, close=close)

    apis, models = "PredictionService", "ModelService"
    return [
        reader("grpc-predict", apis, "Predict", corpus.server_requests(), corpus.predict_pb2.PredictRequest),
        reader(
            "grpc-classify",
            apis,
            "Classify",
            corpus.example_requests(),
            corpus.classification_pb2.ClassificationRequest,
        ),
        reader(
            "grpc-multi",
            apis,
            "MultiInference",
            corpus.inference_requests(),
            corpus.inference_pb2.MultiInferenceRequest,
        ),
        reader(
            "grpc-metadata",
            apis,
            "GetModelMetadata",
            corpus.metadata_requests(),
            corpus.get_model_metadata_pb2.GetModelMetadataRequest,
        ),
        reader(
            "grpc-status",
            models,
            "GetModelStatus",
            corpus.status_requests(),
            corpus.get_model_status_pb2.GetModelStatusRequest,
        ),
    ]


def _code(error: Any) -> Any:

    return StatusCode(error.code().value[0])


def socket_readers() -> list[Reader]:
    """All of them."""
    return [_rest(), _grpc(), *_server_readers()]
