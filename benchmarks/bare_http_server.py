"""A bare HTTP server for the benchmarks: it accepts any prediction and replies with ten numbers.

It runs in a separate process. Its first line of output is its port. ``GET /bench/request`` returns the last request;
every other GET returns the metadata of a model that takes float32. The server stops at the end of its standard input.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from processes import started

VALUES = b"[[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]]"
METADATA = b"""{"model_spec": {"name": "m", "version": "1"}, "metadata": {"signature_def": {"signature_def":
{"serving_default": {"inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": {"unknown_rank": true}}}, "outputs": {"y":
{"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "10"}]}}},
"method_name": "tensorflow/serving/predict"}}}}}"""


class _Server:
    def __init__(self) -> None:
        self._request = b""

    def answer(self, connection: socket.socket) -> None:
        """Answer the requests of one connection."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                length = 0
                while header := stream.readline().strip().lower():
                    if header.startswith(b"content-length:"):
                        length = int(header.partition(b":")[2])
                body = self._reply(line, stream.read(length))
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)

    def _reply(self, line: bytes, request: bytes) -> bytes:
        if line.startswith(b"GET /bench/request "):
            return self._request
        if line.startswith(b"GET"):
            return METADATA
        self._request = request
        columnar = request[:16].lstrip(b"{ ").startswith(b'"inputs"')  # TensorFlow Serving answers in the same form
        return b'{"%s": %s}' % (b"outputs" if columnar else b"predictions", VALUES)


@contextmanager
def running() -> Iterator[str]:
    """Run the server in a separate process; yields its host and port."""
    with started(__file__) as (_, (port,)):
        yield f"127.0.0.1:{port}"


def main() -> None:
    server, listening = _Server(), socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            threading.Thread(target=server.answer, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
