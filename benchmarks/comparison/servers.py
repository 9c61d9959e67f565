"""The servers of the rows, each in its own process; they start when the first row needs them."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import bare_http_server
import bare_server
import grpc
from processes import started

from comparison.messages import Messages
from comparison.rows import Call

HERE = Path(__file__).parent


class Servers:
    """Addresses of servers that give the answers of the current row."""

    def __init__(self, running: ExitStack) -> None:
        self._running = running
        self._bare: dict[bool, tuple[str, grpc.Channel]] = {}
        self._http: str | None = None
        self._tiny: tuple[str, str] | None = None

    def answer(self, call: Call, messages: Messages) -> None:
        """Give the bare servers the replies of a row."""
        if call.server == "grpc":
            for kserve, reply in ((False, messages.reply), (True, messages.kserve_reply)):
                self._bare_server(kserve)[1].unary_unary("/bench/Reply")(reply, timeout=60)

    def target(self, call: Call, kserve: bool = False) -> str:
        """Host and port for the clients of a row."""
        if call.server == "tiny":
            return self.tiny[1]
        return self._http_server() if call.server == "rest" else self._bare_server(kserve)[0]

    def last_request(self, call: Call, kserve: bool) -> bytes | None:
        """The last request that a bare server received; None for the tiny server, which checks requests itself."""
        if call.server == "tiny":
            return None
        if call.server == "rest":
            with urllib.request.urlopen(f"http://{self._http_server()}/bench/request", timeout=60) as reply:
                found: bytes = reply.read()
                return found
        return bytes(self._bare_server(kserve)[1].unary_unary("/bench/Request")(b"", timeout=60))

    @property
    def tiny(self) -> tuple[str, str]:
        """The addresses of the tiny servers: "colors" over gRPC, and "m" over REST."""
        if self._tiny is None:
            _, ports = self._running.enter_context(started(str(HERE / "tiny_server.py")))
            self._tiny = (f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}")
        return self._tiny

    def _bare_server(self, kserve: bool) -> tuple[str, grpc.Channel]:
        if kserve not in self._bare:
            target = self._running.enter_context(bare_server.running())
            channel = self._running.enter_context(grpc.insecure_channel(target, options=bare_server.UNLIMITED))
            self._bare[kserve] = (target, channel)
        return self._bare[kserve]

    def _http_server(self) -> str:
        if self._http is None:
            self._http = self._running.enter_context(bare_http_server.running())
        return self._http


@contextmanager
def running() -> Iterator[Servers]:
    """Yield the servers, and stop those that were started."""
    with ExitStack() as stack:
        yield Servers(stack)
