"""A model server that is a queue, so that theory knows its latencies: M/M/1, M/D/1, or the same with more servers.

It computes when a request would be done, from the time it arrived and the service times of a seed, and replies at that
moment. It sleeps instead of working, and a reply that is late by a timer does not delay the ones after it. So the
latencies are those of the queue plus the way there and back, also on a busy machine.

The models are those of ``slots_server``. The server runs in a separate process; its first line of output has its gRPC
port and its REST port, and it stops at the end of its standard input.

    python benchmarks/server_with_known_knee.py [--seconds S] [--servers N] [--service exponential|fixed] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import exp

import grpc
from processes import started
from slots_server import UNLIMITED, Handlers, serve_rest


class Queue:
    """One line of requests for several servers; takes the place of ``slots_server.Slots``."""

    def __init__(self, seconds: float, servers: int, service: str, seed: int) -> None:
        self._random = random.Random(seed)
        self._seconds = seconds
        self._exponential = service == "exponential"
        self._free = [0.0] * servers  # when each server is free

    async def taken(self) -> bool:
        """Return when the request is done."""
        now = asyncio.get_running_loop().time()
        service = self._random.expovariate(1 / self._seconds) if self._exponential else self._seconds
        done = max(now, self._free[0]) + service
        heapq.heapreplace(self._free, done)
        await asyncio.sleep(done - now)
        return True


def late(seconds: float, rate: float, service: float, servers: int) -> float:
    """The share of requests that M/M/c answers later than ``seconds``; ``service`` is the mean service time."""
    busy = rate * service
    if busy >= servers:
        return 1.0
    blocked = 1.0  # Erlang's B, by its recursion, and from it C: the share that waits
    for number in range(1, servers + 1):
        blocked = busy * blocked / (number + busy * blocked)
    waits = blocked / (1 - busy / servers * (1 - blocked))
    spare = servers - busy - 1  # the rate at which the line empties less that of one server, in services
    passed = seconds / service
    both = passed if abs(spare) < 1e-9 else (1 - exp(-spare * passed)) / spare
    return exp(-passed) * (1 + waits * both)


def quantile(share: float, rate: float, service: float, servers: int) -> float:
    """The latency, in seconds, that ``share`` of the requests to M/M/c do not exceed."""
    return _crossing(lambda seconds: late(seconds, rate, service, servers) <= 1 - share, 1000 * service)


def knee(bound: float, share: float, service: float, servers: int) -> float:
    """The rate at which that quantile of M/M/c equals the bound."""
    return _crossing(lambda rate: late(bound, rate, service, servers) > 1 - share, servers / service)


def _crossing(beyond: Callable[[float], bool], high: float) -> float:
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high


@contextmanager
def running(seconds: float, servers: int = 1, service: str = "exponential", seed: int = 0) -> Iterator[tuple[str, str]]:
    """Run the server in a separate process; yields its targets for gRPC and REST."""
    options = ["--seconds", seconds, "--servers", servers, "--service", service, "--seed", seed]
    with started(__file__, *map(str, options)) as (_, (port, rest_port)):
        yield f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.005, help="mean service time (default: 0.005)")
    parser.add_argument("--servers", type=int, default=1, help="servers (default: 1)")
    parser.add_argument("--service", choices=["exponential", "fixed"], default="exponential")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    queue = Queue(options.seconds, options.servers, options.service, options.seed)
    server = grpc.aio.server(options=UNLIMITED)
    server.add_generic_rpc_handlers((Handlers(queue),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    rest = await asyncio.start_server(lambda *both: serve_rest(queue, *both), "127.0.0.1", 0, limit=1 << 24)
    print(port, rest.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    rest.close()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
