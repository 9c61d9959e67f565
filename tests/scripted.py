"""Servers that follow a script, over gRPC or REST, in the clear or with TLS. They share no code with the tiny server.

Each serves the model ``m``: x, float32 of any length, gives y = [2.0]. What a script raises is the answer instead.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import ssl
import tempfile
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from certificates import Pair

from tfs_client import StatusCode, make_tensor_proto
from tfs_client.protos.tensorflow_serving.apis import predict_pb2

MODEL = "m"
HTTP_STATUS = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.NOT_FOUND: 404,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.INTERNAL: 500,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}


class Refusal(Exception):
    """What a script raises. ``pause``: seconds after which the client may try again, as each protocol says it."""

    def __init__(self, code: StatusCode, details: str = "as the script says", pause: float | None = None) -> None:
        super().__init__(code, details)
        self.code, self.details, self.pause = code, details, pause


@dataclass(frozen=True)
class Call:
    """A Predict call that arrived: which one it is, from 1, its metadata or headers, and its request."""

    number: int
    metadata: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the request."""
        return len(self.body)


Script = Callable[[Call], None]
Pairs = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True)
class ServerTls:
    """A server's certificate and, where it asks clients for theirs, the authority it trusts."""

    own: Pair
    client_ca: bytes | None = None


@dataclass
class Scripted:
    """A server that runs, and the calls it has seen.

    Attributes:
        port: at loopback.
        script: raises what a call gets instead of its answer.
        version: of the model, as named in gRPC's replies.
        initial, trailing: metadata of all replies; REST sends the initial ones as headers.
        calls: Predict calls so far.
        stop: over gRPC, lets calls finish for so many seconds and takes no more; returns an event.
    """

    script: Script
    version: int = 1
    initial: Pairs = ()
    trailing: Pairs = ()
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    stop: Callable[[float], Any] | None = None
    _lock: Any = field(default_factory=threading.Lock)

    def answer(self, metadata: dict[str, str], body: bytes) -> None:
        """Note a call and do what the script says."""
        with self._lock:
            call = Call(len(self.calls) + 1, metadata, body)
            self.calls.append(call)
        self.script(call)


def answer_all(call: Call) -> None:
    """A script without trouble."""


@contextlib.contextmanager
def serving(
    style: str,
    script: Script = answer_all,
    tls: ServerTls | None = None,
    port: int = 0,
    version: int = 1,
    initial: Pairs = (),
    trailing: Pairs = (),
) -> Iterator[Scripted]:
    """A server for a style of calling."""
    scripted = Scripted(script, version, initial, trailing)
    with (_rest if style.startswith("rest") else _grpc)(scripted, tls, port):
        yield scripted


def target_of(style: str, port: int, *, host: str = "localhost", secure: bool = False) -> str:
    """What a client of that style takes as its target."""
    return f"http{'s' if secure else ''}://{host}:{port}" if style.startswith("rest") else f"{host}:{port}"


# --- gRPC --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _grpc(scripted: Scripted, tls: ServerTls | None, port: int) -> Iterator[Scripted]:
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(16), options=options)
    method = grpc.unary_unary_rpc_method_handler(lambda request, context: _grpc_answer(scripted, request, context))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": method}),)
    )
    address = f"127.0.0.1:{port}"
    scripted.port = (
        server.add_secure_port(address, _server_credentials(tls)) if tls else server.add_insecure_port(address)
    )
    server.start()
    scripted.stop = server.stop
    try:
        yield scripted
    finally:
        server.stop(0).wait()


def _server_credentials(tls: ServerTls) -> Any:
    pairs = [(tls.own.key, tls.own.certificate)]
    return grpc.ssl_server_credentials(pairs, tls.client_ca, require_client_auth=tls.client_ca is not None)


def _grpc_answer(scripted: Scripted, request: bytes, context: grpc.ServicerContext) -> bytes:
    if scripted.initial:  # otherwise they go with the answer
        context.send_initial_metadata(scripted.initial)
    context.set_trailing_metadata(scripted.trailing)
    try:
        scripted.answer(dict[str, Any](context.invocation_metadata()), request)
    except Refusal as refusal:
        if refusal.pause is not None:
            pause = ("grpc-retry-pushback-ms", str(int(refusal.pause * 1000)))
            context.set_trailing_metadata((*scripted.trailing, pause))
        context.abort(grpc_code(refusal.code), refusal.details)
    return predict_reply(scripted.version)


def grpc_code(code: StatusCode) -> grpc.StatusCode:
    """gRPC's own enum member for a code."""
    return next(member for member in grpc.StatusCode if member.value[0] == code)


@functools.cache
def predict_reply(version: int) -> bytes:
    """What Predict answers."""
    reply = predict_pb2.PredictResponse()
    reply.model_spec.name = MODEL
    reply.model_spec.version.value = version
    reply.outputs["y"].CopyFrom(make_tensor_proto([2.0], "float32"))
    return reply.SerializeToString()


# --- REST --------------------------------------------------------------------------------------------------------


def _tensor(name: str) -> dict[str, Any]:
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    return {name: {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": f"{name}:0"}}


SIGNATURE = {"inputs": _tensor("x"), "outputs": _tensor("y"), "method_name": "tensorflow/serving/predict"}
METADATA_REPLY = json.dumps(
    {
        "model_spec": {"name": MODEL, "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": SIGNATURE}}},
    }
).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body go together: apart, the second waits for the acknowledgement of the first
    server: _HttpServer

    def do_GET(self) -> None:
        self._reply(200, METADATA_REPLY)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            self.server.scripted.answer({key.lower(): value for key, value in self.headers.items()}, body)
        except Refusal as refusal:
            headers = {} if refusal.pause is None else {"retry-after": str(refusal.pause)}
            self._reply(HTTP_STATUS[refusal.code], json.dumps({"error": refusal.details}).encode(), headers)
        else:
            self._reply(200, b'{"predictions": [2.0]}')

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        for name, pair in self.server.scripted.initial:
            self.send_header(name, pair if isinstance(pair, str) else b64encode(pair).decode())
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


class _HttpServer(ThreadingHTTPServer):
    scripted: Scripted

    def handle_error(self, *arguments: Any) -> None:
        """Say nothing: clients that hang up belong to the script."""


@contextlib.contextmanager
def _rest(scripted: Scripted, tls: ServerTls | None, port: int) -> Iterator[Scripted]:
    with _HttpServer(("127.0.0.1", port), _Handler) as server:
        server.scripted = scripted
        scripted.port = server.server_port
        if tls is not None:
            # Handshakes belong to the threads of the connections, not to the one that accepts them.
            server.socket = server_context(tls).wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield scripted
        finally:
            server.shutdown()
            thread.join()


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """A server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # ssl reads certificates from files only
        path = os.path.join(folder, "server.pem")
        with open(path, "wb") as file:
            file.write(tls.own.certificate + tls.own.key)
        context.load_cert_chain(path)
    if tls.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=tls.client_ca.decode())
    return context
