"""Check that many threads can share one client without errors and without growing memory.

Every reply is checked. Resident memory is measured after a tenth of the calls, when pools and caches are filled, and at
the end.

    python benchmarks/endurance.py [--threads 64] [--calls 50000] [--rest]
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from time import perf_counter

import numpy as np
from measure import machine, resident_memory
from processes import started

from tfs_client import PredictClient, TensorSpec
from tfs_client.testing import FakeServer


def serve() -> None:
    """Serve a model that doubles; prints the addresses, and stops at the end of standard input."""
    vector = TensorSpec("float32", (None,))
    with FakeServer() as server:
        server.add_model("m", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})
        print(server.target, server.rest_url, flush=True)
        sys.stdin.read()


@contextmanager
def running() -> Iterator[tuple[str, str]]:
    """Run the server in a separate process; yields its gRPC and REST addresses."""
    with started(__file__, "--serve") as (_, (target, url)):
        yield target, url


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--rest", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    print(machine("grpcio", "httpx", "numpy", "tfs-client"))
    numbers, failures, early = count(), [], []

    def call() -> None:
        while (number := next(numbers)) < options.calls:
            x = np.full(16 + number % 64, number, np.float32)
            try:
                if not np.array_equal(client.predict({"x": x}).array, 2 * x):
                    failures.append(f"call {number}: a wrong answer")
            except Exception as error:
                failures.append(f"call {number}: {error}")
            if number == options.calls // 10:
                early.append(resident_memory() / 1e6)

    with running() as addresses, PredictClient(addresses[options.rest], model="m") as client:
        started = perf_counter()
        threads = [threading.Thread(target=call) for _ in range(options.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = perf_counter() - started
        late = resident_memory() / 1e6
    print(f"{options.calls} calls by {options.threads} threads in {took:.1f} s, {options.calls / took:.0f} a second")
    print(f"resident memory: {early[0]:.1f} MB after a tenth of them, {late:.1f} MB at the end")
    print(f"failures: {len(failures)}", *failures[:5], sep="\n  " if failures else "")
    return sys.exit(1) if failures else None


if __name__ == "__main__":
    main()
