"""An HTTP proxy: tunnels by CONNECT, and requests with whole URLs, passed on. It records the requests."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tcp import listening

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy")


@dataclass
class Proxy:
    """A proxy that runs.

    Attributes:
        port: at loopback.
        heads: of the requests that came, in lower case.
    """

    port: int = 0
    heads: list[str] = field(default_factory=list)

    def converse(self, client: socket.socket, over: threading.Event) -> None:
        """One connection: its first request says where it leads."""
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := client.recv(1 << 16)):
                return
            head += data
        self.heads.append(head.partition(b"\r\n\r\n")[0].decode().lower())
        found = re.match(rb"(?:CONNECT |\w+ http://)(\[[^\]]*\]|[^:/ ]+):(\d+)", head)
        assert found is not None, head
        host, port = found[1].decode().strip("[]"), int(found[2])
        with socket.create_connection((host, port), timeout=30) as server:
            server.settimeout(None)
            if head.startswith(b"CONNECT "):
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                server.sendall(re.sub(rb" http://[^/]*", b" ", head, count=1))
            back = threading.Thread(target=_pass_on, args=(server, client))
            back.start()
            _pass_on(client, server)
            back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxying() -> Iterator[Proxy]:
    """A proxy at a free port."""
    proxy = Proxy()
    with listening(proxy.converse) as proxy.port:
        yield proxy
