"""A server in its own process, which may be killed: ``-m transports.replica VERSION GRPC_PORT REST_PORT``.

It prints a line when both ports answer, and ends with its standard input.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripted import serving
from tcp import free_port


class Replica:
    """A running process, from the side of the tests; its version is the one that its gRPC replies name."""

    def __init__(self, version: int, grpc_port: int, rest_port: int) -> None:
        self.version = version
        self._process = subprocess.Popen(
            [sys.executable, "-m", "transports.replica", *map(str, (version, grpc_port, rest_port))],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ports = (grpc_port, rest_port)

    def wait_until_ready(self) -> None:
        """Wait until both ports answer."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """End it at once, without a chance to say good-bye."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def again(self) -> Replica:
        """Another one at the same ports."""
        return Replica(self.version, *self.ports)


@contextlib.contextmanager
def replicas(count: int) -> Iterator[list[Replica]]:
    """Servers that are running; those that the test has put in their places are ended."""
    running = [Replica(version, free_port(), free_port()) for version in range(1, count + 1)]
    try:
        for replica in running:
            replica.wait_until_ready()
        yield running
    finally:
        for replica in running:
            replica.kill()


def main() -> None:
    version, grpc_port, rest_port = map(int, sys.argv[1:])
    with serving("grpc", port=grpc_port, version=version), serving("rest", port=rest_port):
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
