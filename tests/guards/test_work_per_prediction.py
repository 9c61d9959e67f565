"""What a prediction executes: a number of calls, and nothing once for each element or each piece of an array."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import tfs_client
from tfs_client import AsyncPredictClient, PredictClient

ROOT = str(Path(tfs_client.__file__).parent)
OPTIONS = {"model": "m", "timeout": 30}
SMALL, LARGE = 10, 10_000  # elements


class Executed:
    """Calls and lines of the package, and its calls of C, in this thread and in those that start meanwhile."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.calls = self.lines = self.of_c = 0

    def trace(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(ROOT):
            return None
        self.calls += event == "call"
        self.lines += event == "line"
        return self.trace

    def profile(self, frame, event, argument):
        self.of_c += event == "c_call" and frame.f_code.co_filename.startswith(ROOT)

    def counts(self):
        return self.calls, self.lines, self.of_c


@contextmanager
def executed():
    found, before = Executed(), sys.gettrace()
    threading.setprofile(found.profile)
    sys.setprofile(found.profile)
    threading.settrace(found.trace)  # gRPC starts the thread that delivers replies with the first future under way
    sys.settrace(found.trace)
    try:
        yield found
    finally:
        sys.settrace(before)
        threading.settrace(before)
        sys.setprofile(None)
        threading.setprofile(None)


def blocking(target, inputs):
    with PredictClient(target, **OPTIONS) as client, executed() as found:
        for _ in range(3):
            found.reset()
            client.predict(inputs)
        return found.counts()


def by_future(target, inputs):
    counts = []
    with PredictClient(target, **OPTIONS) as client, executed() as found:
        for _ in range(8):
            ended = threading.Event()
            found.reset()
            client.predict_future(inputs).add_done_callback(lambda future, ended=ended: ended.set())
            assert ended.wait(30)
            counts.append(found.counts())
    # What gRPC's thread does after a call may count for the next one; the least is what every call does.
    return tuple(map(min, zip(*counts, strict=True)))


def in_asyncio(target, inputs):
    async def main():
        async with AsyncPredictClient(target, **OPTIONS) as client:
            with executed() as found:
                for _ in range(3):
                    found.reset()
                    await client.predict(inputs)
                return found.counts()

    return asyncio.run(main())


# The most calls of the package's functions; with coroutines and generators, each resumption is one. A future makes 32,
# and up to two more, depending on which thread comes first.
@pytest.mark.parametrize(("run", "most"), [(blocking, 20), (by_future, 34), (in_asyncio, 23)])
def test_a_prediction_makes_few_calls(run, most, fixed):
    calls, _, _ = run(fixed.target, {"x": np.zeros(SMALL, np.float32)})
    assert 10 < calls <= most


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("run", [blocking, by_future, in_asyncio])
def test_nothing_runs_once_for_each_element(run, dtype, server_of_fixed_replies):
    def executed_with(count):
        values = np.ones(count, dtype)
        server_of_fixed_replies.answer_with(values, typed=True)
        return run(server_of_fixed_replies.target, {"x": values})

    # Varints are read with some steps for each array.
    for many, few in zip(executed_with(LARGE), executed_with(SMALL), strict=True):
        assert few <= many <= few + 100


# Memory is reused, so its peak does not show a second copy there; lines do.
@pytest.mark.parametrize(("run", "most"), [(blocking, 189), (by_future, 260), (in_asyncio, 198)])
def test_a_large_array_is_written_once_and_in_one_piece(run, most, fixed):
    batch = np.ones((8, 224, 224, 3), np.float32)
    counts, of_one = run(fixed.target, {"x": batch}), run(fixed.target, {"x": batch[:1]})
    spread = 10 if run is by_future else 0  # it depends on which thread comes first
    assert all(abs(large - small) <= spread for large, small in zip(counts, of_one, strict=True))
    assert 100 < counts[1] <= most
