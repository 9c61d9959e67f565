"""A gRPC server in its own process, which answers every call with the request of the last call to ``/fixed/Reply``.

In another process, because the memory of a server in the test's own would count. Its first line of output is its port;
it stops at the end of its standard input.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


class Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg, unused-ignore]
    def __init__(self) -> None:
        self.reply = b""

    def service(self, call: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self.fix if call.method == "/fixed/Reply" else self.answer)

    def fix(self, request: bytes, context: Any) -> bytes:
        self.reply = request
        return b""

    def answer(self, request: bytes, context: Any) -> bytes:
        return self.reply


def main() -> None:
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Handlers()], options=unlimited)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
