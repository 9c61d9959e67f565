"""A bare gRPC server for the benchmarks: it accepts any bytes and replies with prepared bytes.

It runs in a separate process. Its first line of output is its port. A call to ``/bench/Reply`` sets the reply of every
other method; ``/bench/Request`` returns the last request. The server stops at the end of its standard input.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from processes import started

UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg, unused-ignore]
    def __init__(self) -> None:
        self._reply = self._request = b""
        own = {"/bench/Reply": self._set, "/bench/Request": self._last}
        self._own = {path: grpc.unary_unary_rpc_method_handler(function) for path, function in own.items()}
        self._other = grpc.unary_unary_rpc_method_handler(self._answer)

    def service(self, call: Any) -> Any:
        return self._own.get(call.method, self._other)

    def _set(self, request: bytes, context: Any) -> bytes:
        self._reply = request
        return b""

    def _last(self, request: bytes, context: Any) -> bytes:
        return self._request

    def _answer(self, request: bytes, context: Any) -> bytes:
        self._request = request
        return self._reply


@contextmanager
def running() -> Iterator[str]:
    """Run the server in a separate process; yields its target."""
    with started(__file__) as (_, (port,)):
        yield f"127.0.0.1:{port}"


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(2), options=UNLIMITED)
    server.add_generic_rpc_handlers((_Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(1).wait()


if __name__ == "__main__":
    main()
