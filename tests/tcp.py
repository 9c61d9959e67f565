"""Plain TCP servers that misbehave: a function of its socket conducts each connection."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator

Conversation = Callable[[socket.socket, threading.Event], None]


@contextlib.contextmanager
def listening(conversation: Conversation) -> Iterator[int]:
    """A server on a free loopback port, which it yields; every connection has its own thread.

    A conversation gets the socket and an event that is set when the test is over; it returns to close the connection.
    """
    over = threading.Event()
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []

    def converse(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            conversation(connection, over)

    def accept() -> None:
        while not over.is_set():
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets.append(connection)
            threads.append(threading.Thread(target=converse, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            socket.create_connection(server.getsockname()).close()  # wakes the one who accepts
            accepting.join()
            for connection in sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port without a listener, which no other process gets meanwhile; afterwards a server may have it."""
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        yield port


@contextlib.contextmanager
def full() -> Iterator[int]:
    """A port whose server accepts no connection and whose queue is full, so that connecting never ends (on Linux)."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as waiting:
        for _ in range(4):
            queued = waiting.enter_context(socket.socket())
            queued.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                queued.connect(server.getsockname())
        yield server.getsockname()[1]


def free_port() -> int:
    """A free port for a server that stops and starts; not an ephemeral one, which others could get meanwhile."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def silence(connection: socket.socket, over: threading.Event) -> None:
    """Accept, read nothing and say nothing."""
    over.wait()


def hang_up(connection: socket.socket, over: threading.Event) -> None:
    """Close at once."""


def garbage(connection: socket.socket, over: threading.Event) -> None:
    """Say what is neither HTTP/1 nor HTTP/2."""
    connection.recv(1 << 16)
    connection.sendall(b"\x00\xffSSH-2.0-nonsense\r\n\r\n" * 20)
    over.wait()


def saying(reply: bytes, get: bytes = b"") -> Conversation:
    """Answer every HTTP/1 request with the same bytes, GET with others where there are such, and close."""

    def converse(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(get if _read_request(connection) == b"GET" and get else reply)

    return converse


def dripping(reply: bytes, pause: float = 0.02) -> Conversation:
    """Answer an HTTP/1 request byte by byte from where the reply has a form feed on, again and again from the last."""

    def converse(connection: socket.socket, over: threading.Event) -> None:
        _read_request(connection)
        at_once, last, slowly = reply.rpartition(b"\f")
        connection.sendall(at_once.replace(last, b""))
        while not over.is_set():
            for byte in slowly:
                if over.wait(pause):
                    return
                connection.sendall(bytes([byte]))

    return converse


def _read_request(connection: socket.socket) -> bytes:
    """Read a request with its body; its method."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0:
        missing -= len(_more(connection))
    return head.partition(b" ")[0]


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise ConnectionResetError
    return data


def http_reply(
    body: bytes, *, status: str = "200 OK", kind: str = "application/json", length: int | None = None, more: str = ""
) -> bytes:
    """An HTTP/1.1 reply; ``length`` is a false Content-Length."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body) if length is None else length}\r\n"
    return f"{head}{more}Connection: close\r\n\r\n".encode() + body


# --- HTTP/2, as much as it takes to say one thing: https://www.rfc-editor.org/rfc/rfc9113, and rfc7541 for the headers

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header(name: str, value: str) -> bytes:
    """A header that is neither indexed nor compressed."""
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def saying_in_http2(*frames: bytes, pause: float = 0.0) -> Conversation:
    """Answer the first call of a connection with frames, one every ``pause`` seconds, and close."""

    def converse(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(frame(SETTINGS, 0, 0))
        received = b""
        while b"/tensorflow.serving." not in received:
            received += _more(connection)
        for data in frames:
            connection.sendall(data)
            if over.wait(pause):
                return

    return converse


def answering_in_http2(*frames: tuple[int, int, bytes]) -> Conversation:
    """Answer every call of a connection with the same frames, each given as kind, flags and payload."""

    def converse(connection: socket.socket, over: threading.Event) -> None:
        received = _more(connection)
        while len(received) < 24:  # the client's preface
            received += _more(connection)
        received = received[24:]
        connection.sendall(frame(SETTINGS, 0, 0))
        while True:
            while len(received) < 9 or len(received) < 9 + int.from_bytes(received[:3], "big"):
                received += _more(connection)
            size, kind, flags = int.from_bytes(received[:3], "big"), received[3], received[4]
            stream, payload = int.from_bytes(received[5:9], "big"), received[9 : 9 + size]
            received = received[9 + size :]
            if kind in (SETTINGS, PING) and not flags & ACK:
                connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind in (DATA, HEADERS) and flags & END_STREAM:
                connection.sendall(b"".join(frame(*one[:2], stream, one[2]) for one in frames))

    return converse


def http2_page(status: int, more: bytes = b"") -> bytes:
    """An HTTP status and a page in place of a gRPC reply, as gateways send them; ``more`` are further headers."""
    page = frame(DATA, END_STREAM, 1, b"<html></html>")
    return frame(HEADERS, END_HEADERS, 1, header(":status", str(status)) + more) + page


def request_head(path: str) -> bytes:
    """The header block of a gRPC request."""
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x"}
    headers |= {"te": "trailers", "content-type": "application/grpc"}
    return b"".join(header(name, value) for name, value in headers.items())
