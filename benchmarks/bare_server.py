"""A bare gRPC server for the benchmarks: any bytes in, ready-made bytes out. Runs in a process of its own.

The first line it prints is its port. A call to ``/bench/Reply`` sets the bytes that every other method answers with.
It ends when its standard input does.
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
        self._reply = b""

    def service(self, call: Any) -> Any:
        setting = call.method == "/bench/Reply"
        return grpc.unary_unary_rpc_method_handler(self._set if setting else self._answer)

    def _set(self, request: bytes, context: Any) -> bytes:
        self._reply = request
        return b""

    def _answer(self, request: bytes, context: Any) -> bytes:
        return self._reply


@contextmanager
def running() -> Iterator[str]:
    """The server in a process of its own; yields its target."""
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
