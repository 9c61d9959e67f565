"""The faults of chaos.py: a tfs-serve process that can be killed and stopped, and a TCP link that can fail."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

START = 60  # seconds within which a server must start

VERSION = """
    from pathlib import Path

    from tfs_client import TensorSpec
    from tfs_client.server import FunctionSignature

    VECTOR = TensorSpec("float64", (None,))


    def signatures(path):
        version = int(Path(path).name)
        return {"serving_default": FunctionSignature(lambda x: {"y": version * x}, {"x": VECTOR}, {"y": VECTOR})}
"""


def put(base: Path, version: int) -> None:
    """Add a version of the model, which multiplies by its number. The directory appears complete."""
    hidden = base.parent / f".{base.name}-{version}"
    hidden.mkdir(parents=True)
    (hidden / "servable.py").write_text(textwrap.dedent(VERSION))
    base.mkdir(exist_ok=True)
    hidden.rename(base / str(version))


def free_port() -> int:
    """A free loopback port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Serve:
    """A tfs-serve with the model "m", whose ports stay the same across restarts.

    Args:
        folder: the directory for versions and the log.
        flags: additional flags.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        self.base = folder / "m"
        if not self.base.exists():
            put(self.base, 1)
        self.port, self.rest_port = free_port(), free_port()
        self._log = folder / "log"
        self._command = [
            *(
                sys.executable,
                "-m",
                "tfs_client.cli.serve",
                f"--port={self.port}",
                f"--rest_api_port={self.rest_port}",
            ),
            *("--model_name=m", f"--model_base_path={self.base}", "--model_platform=python", *flags),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and return once it serves."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + START
        while "Exporting HTTP/REST API at:" not in self._log.read_text():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"tfs-serve did not come up: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server's process."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Link:
    """A TCP link to a loopback port that can be reset or slowed down.

    Attributes:
        port: the port to connect to.
        piece, pause: bytes of a reply to send at once, and seconds between two pieces; 0 forwards bytes as they arrive.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._server.getsockname()[1]
        self.piece, self.pause = 1 << 16, 0.0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> int:
        """Reset every connection, in both directions; returns their number."""
        with self._lock:
            found, self._open = self._open, set()
        for sock in found:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                socket.socket.shutdown(sock, socket.SHUT_RD)  # wakes the thread that reads
        return len(found) // 2

    def close(self) -> None:
        """Stop accepting connections and reset the open ones."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._to), timeout=10)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= {client, server}
        back = threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True)
        back.start()
        self._pass_on(client, server, False)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket, slowly: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                step = self.piece if slowly and self.pause else len(data)
                for start in range(0, len(data), step):
                    sink.sendall(data[start : start + step])
                    if slowly and self.pause:
                        time.sleep(self.pause)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
