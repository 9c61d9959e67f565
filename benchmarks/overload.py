"""Measure batch calls on a server that has fewer slots than the client sends requests.

A server with four slots, in a separate process, takes 20 ms for a request. When all slots are taken, it refuses
requests at once, in each form of "busy": a thread quota's text, no text, a full batching queue, REST's 429 and 503;
with and without a time at which to retry. 100,000 examples go through each of the batch calls, with twice as many
requests in flight as there are slots, or with "auto"; pictures go through tfs-predict in bulk. The reference is the
same call with as many requests in flight as there are slots (the best of a few numbers). Every answer is checked.

Then twenty clients share 40 slots of 10 ms, and 36 of them are removed for a while.

    python benchmarks/overload.py [--quick] [--rounds N] [--examples N] [--pictures N] [--only WORD ...]

``--only`` accepts the names of calls (many, batched, micro, bulk, turns). Figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measure import machine
from slots_server import Running, running

from tfs_client import MicroBatcher, PredictClient

SLOTS, SECONDS = 4, 0.02
BATCH = 100
BULK_BATCH, BULK_SECONDS = 50, 0.05  # decoding pictures also takes time
FIXED = (2, 3, 4)
LOST_AIM, REFUSED_AIM, RATE_AIM = 0, 0.10, 0.90

FORMS: tuple[tuple[str, bool, str, float | None], ...] = (
    ("gRPC, thread quota", False, "threads", None),
    ("gRPC, thread quota, push-back 20 ms", False, "threads", 0.02),
    ("gRPC, thread quota, push-back 1 s", False, "threads", 1.0),
    ("gRPC, no text", False, "empty", None),
    ("gRPC, full queue", False, "queue", None),
    ("REST 429", True, "threads", None),
    ("REST 429, Retry-After 1", True, "threads", 1),
    ("REST 503, full queue", True, "queue", None),
)
CLIENTS, MANY_SLOTS, FEW_SLOTS, SLOT_SECONDS = 20, 40, 4, 0.01

Send = Callable[[PredictClient, np.ndarray, Any], int]  # makes predictions, and returns the number of correct ones


def many(client: PredictClient, rows: np.ndarray, in_flight: Any) -> int:
    """Send with ``predict_many``."""
    found = client.predict_many(({"x": row} for row in rows), batch_size=BATCH, in_flight=in_flight, on_error="return")
    return sum(not isinstance(one, Exception) and one["y"][0] == 2 * rows[index, 0] for index, one in enumerate(found))


def batched(client: PredictClient, rows: np.ndarray, in_flight: Any) -> int:
    """Send with ``predict_batched``."""
    found = client.predict_batched({"x": rows}, batch_size=BATCH, in_flight=in_flight)
    return int(np.sum(found["y"] == 2 * rows))


def micro(client: PredictClient, rows: np.ndarray, in_flight: Any) -> int:
    """Send with ``MicroBatcher``, from one thread that keeps a few thousand calls waiting."""
    right = 0
    with MicroBatcher(client, max_batch_size=BATCH, max_delay=0.02, in_flight=in_flight, timeout=120) as batcher:
        waiting: list[Any] = []
        source = iter(enumerate(rows))
        while chunk := list(islice(source, 20 * BATCH)):
            before, waiting = waiting, [(index, batcher.submit({"x": row})) for index, row in chunk]
            right += sum(future.result()["y"][0] == 2 * rows[index, 0] for index, future in before)
        right += sum(future.result()["y"][0] == 2 * rows[index, 0] for index, future in waiting)
    return right


CALLS: dict[str, Send] = {"many": many, "batched": batched, "micro": micro}


def timed(server: Running, rest: bool, send: Send, rows: np.ndarray, in_flight: Any) -> tuple[float, int, float]:
    """Examples per second, the number of lost ones, and the ratio of refused to answered requests."""
    server.configure(**server_settings)
    with PredictClient(server.url if rest else server.target, model="m", timeout=60) as client:
        client.signatures()
        began = time.perf_counter()
        right = send(client, rows, in_flight)
        seconds = time.perf_counter() - began
    counts = server.configure(**server_settings)
    return len(rows) / seconds, len(rows) - right, counts["refused"] / max(1, counts["answered"])


server_settings: dict[str, Any] = {}


def row(name: str, in_flight: Any, found: list[tuple[float, int, float]], best: float) -> bool:
    """Print the medians of some rounds; returns whether they meet the targets."""
    rate, refused = median(one[0] for one in found), median(one[2] for one in found)
    lost = max(one[1] for one in found)
    good = lost <= LOST_AIM and refused <= REFUSED_AIM and rate >= RATE_AIM * best
    verdict = "" if good else "  <-- not good enough"
    print(f"  {name:38} {in_flight!s:>5} {rate:10,.0f} {rate / best:7.2f} {refused:9.1%} {lost:6}{verdict}", flush=True)
    return good


def overload(server: Running, only: set[str], rounds: int, examples: int) -> bool:
    """Measure the batch calls, with every form of "busy"."""
    rows = np.arange(examples, dtype=np.float32).reshape(-1, 1)
    good = True
    for name, send in CALLS.items():
        if only and name not in only:
            continue
        print(f"\n{name}: {examples:,} examples, {BATCH} a request, {SLOTS} slots of {SECONDS * 1000:g} ms")
        print(f"  {'':38} {'in flight':>5} {'per s':>6} {'/ best':>7} {'refused':>9} {'lost':>6}")
        best: dict[bool, float] = {}
        for rest in (False, True):
            server_settings.update(slots=SLOTS, seconds=SECONDS, form="threads", wait=None)
            rates = {
                number: median(timed(server, rest, send, rows, number)[0] for _ in range(rounds)) for number in FIXED
            }
            number = max(rates, key=rates.__getitem__)
            best[rest] = rates[number]
            print(f"  {'REST' if rest else 'gRPC'}, the best fixed number{'':11} {number:5} {best[rest]:10,.0f}")
        for index, (form, rest, text, wait) in enumerate(FORMS):
            server_settings.update(form=text, wait=wait)
            for in_flight in (2 * SLOTS, "auto") if index == 0 else (2 * SLOTS,):
                found = [timed(server, rest, send, rows, in_flight) for _ in range(rounds)]
                good &= row(form, in_flight, found, best[rest])
    return good


def bulk(server: Running, rounds: int, pictures: int) -> bool:
    """Measure pictures sent with tfs-predict."""
    from PIL import Image

    print(f"\nbulk: {pictures:,} pictures, {BULK_BATCH} a request, {SLOTS} slots of {BULK_SECONDS * 1000:g} ms")
    settings = {"slots": SLOTS, "seconds": BULK_SECONDS}
    with tempfile.TemporaryDirectory() as folder:
        # A few files under many names, because the benchmark does not measure the disk.
        for number in range(250):
            Image.new("RGB", (4, 4), (number,) * 3).save(Path(folder) / f"{number}.png")
        names = Path(folder) / "names.txt"
        for number in range(250, pictures):
            (Path(folder) / f"{number}.png").hardlink_to(Path(folder) / f"{number % 250}.png")
        names.write_text("".join(f"{folder}/{number}.png\n" for number in range(pictures)))

        def run(rest: bool, in_flight: Any, **form: Any) -> tuple[float, int, float]:
            server.configure(**settings, **form)
            output = Path(folder) / "rows.jsonl"
            command = [
                sys.executable,
                "-m",
                "tfs_client.cli.predict",
                "--input-list",
                str(names),
                "--overwrite",
            ]
            command += ["--server", server.url if rest else server.target, "--model", "grey", "--output", str(output)]
            command += ["--batch-size", str(BULK_BATCH), "--in-flight", str(in_flight), "--quiet"]
            began = time.perf_counter()
            subprocess.run(command, check=True, timeout=1200)
            seconds = time.perf_counter() - began
            counts = server.configure()
            with output.open() as file:
                values = [json.loads(line)["outputs"]["grey"]["values"] for line in file]
            right = sum(value == number % 250 for number, value in enumerate(values))
            return pictures / seconds, pictures - right, counts["refused"] / max(1, counts["answered"])

        best = median(run(False, SLOTS)[0] for _ in range(rounds))
        print(f"  gRPC, as many as there are slots{'':7} {SLOTS:5} {best:10,.0f}")
        good = True
        for form, rest, text, wait in FORMS:
            if not rest:  # REST's JSON of pictures takes the processor, not the slots
                found = [run(rest, 2 * SLOTS, form=text, wait=wait) for _ in range(rounds)]
                good &= row(form, 2 * SLOTS, found, best)
        return good


def turns(server: Running, rounds: int, phase: float, seconds: float) -> bool:
    """Run twenty clients with predict_many on 40 slots, on 4, and on 40 again."""
    print(
        f"\nturns: {CLIENTS} clients of predict_many, {MANY_SLOTS} slots of {seconds * 1000:g} ms, of which "
        f"{FEW_SLOTS} are left for {phase:g} s"
    )
    good = True
    for _ in range(rounds):
        server.configure(slots=MANY_SLOTS, seconds=seconds)
        ends: list[float] = []
        stop = threading.Event()
        wrong: list[Any] = []

        def rows() -> Iterator[dict[str, np.ndarray]]:
            number = np.zeros(1, np.float32)
            while not stop.is_set():  # noqa: B023
                yield {"x": number}

        def work() -> None:
            with PredictClient(server.target, model="m", timeout=60) as client:
                for found in client.predict_many(rows(), batch_size=1, in_flight=4, on_error="return"):
                    ends.append(time.perf_counter())  # noqa: B023
                    if isinstance(found, Exception):
                        wrong.append(found)  # noqa: B023

        threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        marks, counts = [time.perf_counter()], []
        for slots in (FEW_SLOTS, MANY_SLOTS, MANY_SLOTS):
            time.sleep(phase if len(marks) < 3 else max(phase, 12.0))
            counts.append(server.configure(slots=slots, seconds=seconds))
            marks.append(time.perf_counter())
        stop.set()
        for thread in threads:
            thread.join(60)

        def rate(begin: float, end: float) -> float:
            return sum(begin <= when < end for when in ends) / (end - begin)  # noqa: B023

        before = rate(marks[1] - phase / 2, marks[1])
        few = rate(marks[1] + phase / 3, marks[2])
        back = next((second for second in np.arange(0.0, 11.5, 0.5) if _back(rate, marks[2], second, before)), None)
        refused = [count["refused"] / max(1, count["answered"]) for count in counts]
        lost = len(wrong)
        ok = back is not None and back <= 10 and not lost and refused[2] <= REFUSED_AIM
        good &= ok
        print(
            f"  {before:7,.0f} per s, then {few:5,.0f}, then {rate(*marks[2:]):7,.0f}; "
            f"at 90 % after {back} s; refused {', '.join(f'{one:.1%}' for one in refused)}; lost {lost}"
            f"{'' if ok else '  <-- not good enough'}",
            flush=True,
        )
    return good


def _back(rate: Callable[[float, float], float], mark: float, second: float, before: float) -> bool:
    """Whether the rate has recovered by then."""
    return rate(mark + second, mark + second + 0.5) >= 0.9 * before


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure batch calls on a server with too few slots.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--slot-seconds", type=float, default=SLOT_SECONDS, help="of the slots that clients share")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--quick", action="store_true", help="a smoke run: fewer examples, one round")
    options = parser.parse_args()
    rounds, examples, pictures, phase = options.rounds, options.examples, options.pictures, 10.0
    if options.quick:
        rounds, examples, pictures, phase = 1, 10_000, 2_000, 3.0
    only = set(options.only)
    print(machine("grpcio", "httpx", "numpy", "protobuf"))
    good = True
    with running() as server:
        good &= overload(server, only, rounds, examples)
        if not only or "bulk" in only:
            good &= bulk(server, rounds, pictures)
        if not only or "turns" in only:
            good &= turns(server, rounds, phase, options.slot_seconds)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
