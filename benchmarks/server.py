"""Compare the tiny server with a bare gRPC server in Python, and measure it over REST.

Both servers run in separate processes and get the same requests, ten float32 each. The bare one answers with fixed
bytes, the tiny one runs a model of one line of Python, and both send the same bytes. The load is raw calls with
prepared requests from several threads. The servers alternate; the figures are medians of the rounds, and the ratio is
the median of the rounds' ratios. A few threads mostly wait for their calls; many threads keep the servers busy and show
their limits. "CPU a call" is the CPU time of the server's process. The REST row sends prepared requests over plain
sockets, with one connection for each thread.

    python benchmarks/server.py [--rounds N] [--threads N ...] [--calls N] [--batching]

``--batching`` also runs server_batching.py, which measures batching on the server.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import bare_server
import grpc
import numpy as np
from bare_server import UNLIMITED
from measure import duration, machine, median
from processes import started

from tfs_client import TensorSpec
from tfs_client._calls.predict import Predict
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.server import FunctionSignature, Server, ServerConfig

AIM = 0.7  # of the bare server's calls per second
X = np.arange(10, dtype=np.float32)
REQUEST = predict_messages.write_request(ModelSpec("m"), {"x": X})
REPLY = predict_messages.write_response(ModelSpec("m", 1, None, "serving_default"), {"y": 2 * X}, typed=True)
BODY = b'{"instances": [' + b", ".join(str(float(value)).encode() for value in X) + b"]}"
POST = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Contender:
    """A server under load. ``calls`` returns the function for one thread; the stack closes its connection."""

    name: str
    pid: int
    calls: Callable[[ExitStack], Callable[[], Any]]
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def round(self, threads: int, calls: int) -> None:
        """Time a number of calls, and record the calls per second and the server's CPU seconds for each call."""
        with ExitStack() as stack:
            made = [self.calls(stack) for _ in range(threads)]
            used, started = cpu_seconds(self.pid), perf_counter()
            from_threads(made, calls)
            self.rates.append(calls / (perf_counter() - started))
            self.costs.append((cpu_seconds(self.pid) - used) / calls)


def serve() -> None:
    """Serve a model that doubles; prints the ports, and stops at the end of standard input."""
    vector = TensorSpec("float32", (None,))
    with Server(ServerConfig(rest_port=0)) as server:
        server.add_model("m", {"serving_default": FunctionSignature(lambda x: 2 * x, {"x": vector}, {"y": vector})})
        print(server.port, server.rest_url.rpartition(":")[2], flush=True)
        sys.stdin.read()


def cpu_seconds(pid: int) -> float:
    """The CPU seconds of a process so far, in user and system mode (proc(5), /proc/pid/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def from_threads(calls: list[Callable[[], Any]], total: int) -> None:
    """Make a number of calls in all, spread over the threads."""
    numbers = count()

    def work(call: Callable[[], Any]) -> None:
        while next(numbers) < total:
            call()

    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def grpc_calls(port: str) -> Callable[[ExitStack], Callable[[], bytes]]:
    """Raw calls; all threads share a connection, as in a client."""
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED)
    raw = channel.unary_unary(Predict.path)
    return lambda stack: lambda: raw(REQUEST, timeout=30)


def rest_calls(port: int) -> Callable[[ExitStack], Callable[[], bytes]]:
    """Calls on plain sockets, one for each thread."""

    def connected(stack: ExitStack) -> Callable[[], bytes]:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = stack.enter_context(connection.makefile("rb"))
        return lambda: exchange(connection, stream)

    return connected


def exchange(connection: socket.socket, stream: Any) -> bytes:
    """One request, and the body of its reply."""
    connection.sendall(POST)
    status, length = stream.readline(), 0
    assert b" 200 " in status, status
    while header := stream.readline().strip().lower():
        if header.startswith(b"content-length:"):
            length = int(header.partition(b":")[2])
    return bytes(stream.read(length))


def contenders(stack: ExitStack) -> tuple[Contender, Contender, Contender]:
    """The bare server, and the tiny one over gRPC and over REST; their answers have been checked."""
    bare_process, (bare_port,) = stack.enter_context(started(bare_server.__file__))
    tiny_process, (tiny_port, rest_port) = stack.enter_context(started(__file__, "--serve"))
    with grpc.insecure_channel(f"127.0.0.1:{bare_port}") as channel:
        channel.unary_unary("/bench/Reply")(REPLY)
    bare, tiny, rest = grpc_calls(bare_port), grpc_calls(tiny_port), rest_calls(int(rest_port))
    for calls in (bare, tiny):
        assert calls(stack)() == REPLY
    assert b'"predictions": [0.0, 2.0, 4.0' in rest(stack)()
    return (
        Contender("bare gRPC", bare_process.pid, bare),
        Contender("tiny gRPC", tiny_process.pid, tiny),
        Contender("tiny REST", tiny_process.pid, rest),
    )


def measure(rivals: Sequence[Contender], rounds: int, threads: int, calls: int) -> None:
    """Run rounds of all contenders, whose order rotates with the round, after one warm-up round."""
    for turn in range(-1, rounds):
        for offset in range(len(rivals)):
            rivals[(turn + offset) % len(rivals)].round(threads, calls)
        if turn < 0:
            for rival in rivals:
                rival.rates.clear()
                rival.costs.clear()


def show(rivals: Sequence[Contender]) -> None:
    """Print a row for each contender, and the ratio."""
    for rival in rivals:
        print(f"  {rival.name}  {median(rival.rates):6.0f} calls/s   CPU a call {duration(median(rival.costs)):>7}")
    bare, tiny, _ = rivals
    ratio = median([ours / theirs for ours, theirs in zip(tiny.rates, bare.rates, strict=True)])
    print(f"  tiny / bare over gRPC: {ratio:.2f} (target: {AIM} or more)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--batching", action="store_true", help="run server_batching.py as well")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    print(machine("grpcio", "numpy", "uvicorn", "tfs-client"))
    with ExitStack() as stack:
        rivals = contenders(stack)
        for threads in options.threads:
            print(f"{threads} threads, {options.calls} calls a round, {options.rounds} rounds")
            measure(rivals, options.rounds, threads, options.calls)
            show(rivals)
    if options.batching:
        print("\nbatching:", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name("server_batching.py"))], check=True)
    return None


if __name__ == "__main__":
    main()
