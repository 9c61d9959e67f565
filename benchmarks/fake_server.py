"""Measure FakeServer: its start, its relay, and what start and stop leave behind.

    python benchmarks/fake_server.py [--cycles 1000] [--quick] [--only start|calls|cycles|rest-cycles]

- Start and first answer: from nothing to the reply of the first call, over a new channel, compared with a bare
  ``grpc.server`` with a generic handler. Both run in this process, as in a test. Runs alternate; the figure is the
  ratio of the medians, and the target 3.
- Calls and large replies with the relay that makes faults of connections, and without it.
- Cycles of start and stop, gRPC only and with REST; every tenth has a call. Threads, files, sockets and temporary files
  are counted before and after.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter, sleep

import grpc
import numpy as np
from bare_server import UNLIMITED
from measure import alternating, duration, machine, median

from tfs_client import PredictClient, TensorSpec
from tfs_client._calls.predict import Predict
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
REQUEST = predict_messages.write_request(ModelSpec("m"), {"x": np.float32([1, 2])})
LIMIT = 3.0  # the project's target for the start
LARGE = 64 << 20  # bytes of a large reply
SETTLE = 10.0  # seconds in which threads and sockets of stopped servers may end


def serving(**options: bool) -> FakeServer:
    """A fake server with a model that returns its input, not started."""
    return FakeServer(**options).add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})


@contextmanager
def bare() -> Iterator[str]:
    """A gRPC server that answers every call with the same bytes; yields its target."""
    reply = predict_messages.write_response(ModelSpec("m", 1, None, "serving_default"), {"y": np.float32([1, 2])})

    class Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg, unused-ignore]
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: reply)

    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(1).wait()


def first_answer(target: str) -> None:
    """Call once over a new channel."""
    with grpc.insecure_channel(target) as channel:
        assert channel.unary_unary(Predict.path)(REQUEST, timeout=30)


def time_of_start(make: Callable[[], object]) -> float:
    """Seconds until the first answer; the stop is not counted."""
    started = perf_counter()
    with make() as server:  # type: ignore[attr-defined]
        first_answer(server if isinstance(server, str) else server.target)
        return perf_counter() - started


def starts(rounds: int) -> bool:
    """Print the times of starts. Returns whether the target is met."""
    kinds: dict[str, Callable[[], object]] = {
        "bare grpc.server": bare,
        "FakeServer": serving,
        "FakeServer without relay": lambda: serving(connection_faults=False),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(-3, rounds):
        names = list(kinds)
        for name in names[turn % 3 :] + names[: turn % 3]:
            took = time_of_start(kinds[name])
            if turn >= 0:
                times[name].append(took)
    base = median(times["bare grpc.server"])
    print(f"\nStart and first answer, {rounds} alternating runs:")
    for name, found in times.items():
        print(f"  {name:26} {duration(median(found)):>8}   {median(found) / base:.2f} x")
    print(f"  The target is at most {LIMIT:g} x.")
    return median(times["FakeServer"]) / base <= LIMIT


def calls(rounds: int) -> bool:
    """Print the times of small calls and of large replies, with and without the relay. They have no target."""
    rows = [("call of 8 bytes, gRPC", False), ("call of 8 bytes, REST", True)]
    print("\nCalls, alternating:             with relay   without")
    with serving() as relayed, serving(connection_faults=False) as plain:
        reply = np.zeros(LARGE // 4, np.float32)
        for server in (relayed, plain):
            server.add_model("large", lambda x: reply, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        x = np.float32([1, 2])
        for name, rest in rows:
            targets = [server.rest_url if rest else server.target for server in (relayed, plain)]
            with (
                PredictClient(targets[0], model="m", timeout=60) as one,
                PredictClient(targets[1], model="m", timeout=60) as two,
            ):
                times = alternating(lambda: one.predict({"x": x}), lambda: two.predict({"x": x}), rounds=rounds)
            print(f"  {name:28} {duration(median(times[0])):>10} {duration(median(times[1])):>10}")
        request = predict_messages.write_request(ModelSpec("large"), {"x": np.float32([1])})
        with (
            grpc.insecure_channel(relayed.target, options=UNLIMITED) as first,
            grpc.insecure_channel(plain.target, options=UNLIMITED) as second,
        ):
            methods = [channel.unary_unary(Predict.path) for channel in (first, second)]
            times = alternating(
                lambda: methods[0](request, timeout=60), lambda: methods[1](request, timeout=60), rounds=rounds // 50
            )
        rates = [f"{LARGE / median(found) / 1e6:.0f} MB/s" for found in times]
        print(f"  {'replies of 64 MiB, gRPC':28} {rates[0]:>10} {rates[1]:>10}")
    return True


def left() -> dict[str, int]:
    """What this process and its temporary folder have now."""
    gc.collect()
    own = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            own.add(os.readlink(link))
        except FileNotFoundError:  # the folder that is being read
            continue
    sockets = {link.removeprefix("socket:[").removesuffix("]") for link in own if link.startswith("socket:[")}
    listening = sum(
        fields[3] == "0A" and fields[9] in sockets
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/self/net/{table}").read_text().splitlines()[1:])
    )
    return {
        "threads of Python": threading.active_count(),
        "threads of the process": len(os.listdir("/proc/self/task")),
        "open files": len(os.listdir("/proc/self/fd")),
        "listening ports": listening,
        "temporary files": len(os.listdir(tempfile.gettempdir())),
    }


def cycle(*, rest: bool, call: bool) -> None:
    """Start and stop a server."""
    with serving() as server:
        target = server.rest_url if rest else server.target
        if call:
            with PredictClient(target, model="m", timeout=60) as client:
                assert client.predict([1.0]).array.tolist() == [1]


def cycles(count: int, *, rest: bool) -> bool:
    """Print the counts before and after start and stop. Returns whether nothing is left."""
    for number in range(20):
        cycle(rest=rest, call=number % 2 == 0)  # what gRPC and uvicorn keep
    before, started = left(), perf_counter()
    for number in range(count):
        cycle(rest=rest, call=number % 10 == 0)
    took = perf_counter() - started
    after, end = left(), monotonic() + SETTLE
    while any(after[name] > before[name] for name in before) and monotonic() < end:
        sleep(0.1)
        after = left()
    print(f"\n{count} cycles of {'gRPC and REST' if rest else 'gRPC'}, {duration(took / count)} each: before -> after")
    for name, number in before.items():
        print(f"  {name:24} {number:4} -> {after[name]}")
    return all(after[name] <= before[name] for name in before)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    parser.add_argument("--only", choices=("start", "calls", "cycles", "rest-cycles"))
    arguments = parser.parse_args()
    part = 10 if arguments.quick else 1
    print(machine("grpcio", "numpy", "uvicorn", "httpx"))
    with tempfile.TemporaryDirectory() as folder:  # others' temporary files are not counted
        tempfile.tempdir = folder
        parts: dict[str, Callable[[], bool]] = {
            "start": lambda: starts(300 // part),
            "calls": lambda: calls(1000 // part),
            "cycles": lambda: cycles(arguments.cycles // part, rest=False),
            "rest-cycles": lambda: cycles(arguments.cycles // part, rest=True),
        }
        met = [run() for name, run in parts.items() if arguments.only in (None, name)]
    print(f"\n{'All targets are met' if all(met) else 'A target is MISSED'}.")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
