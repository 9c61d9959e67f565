"""For any tasks and parameters, batched answers are bit for bit the unbatched ones."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import TensorSpec
from tfs_client.server import FunctionServable, FunctionSignature
from tfs_client.server.batching import BatchingParameters, BatchingServable
from tfs_client.server.batching.execution import answer
from tfs_client.server.batching.queues import BatchQueue
from tfs_client.server.batching.tasks import Task, joined

WIDTH = 3


def model(a, b, s):
    """Three outputs of three inputs, row by row, without operations that round differently in a vector register."""
    return {"p": a[:, ::-1], "q": s + b"!", "r": np.stack([b // 3, b], 1)}


def inputs_of(rows, seed):
    random = np.random.default_rng(seed)
    strings = np.empty((rows, WIDTH), object)
    for row in strings:
        row[:] = [random.bytes(length) for length in range(WIDTH)]
    bits = random.integers(0, 2**32, (rows, WIDTH), np.uint32)
    return {"a": bits.view(np.float32), "b": random.integers(-1000, 1000, rows), "s": strings}


def same(found, wanted):
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert (
            found[name].tolist() == array.tolist()
            if array.dtype == object
            else (found[name].tobytes() == array.tobytes())
        )


@st.composite
def parameters(draw):
    most = draw(st.integers(1, 12))
    splitting = draw(st.booleans())
    return BatchingParameters(
        max_batch_size=most,
        batch_timeout_micros=draw(st.sampled_from([0, 500_000])),
        max_enqueued_batches=1000,
        num_batch_threads=2,
        thread_pool_name="batch",
        allowed_batch_sizes=[*sorted(draw(st.sets(st.integers(1, most)))), most] if draw(st.booleans()) else [],
        pad_variable_length_inputs=draw(st.booleans()),
        enable_large_batch_splitting=splitting,
        max_execution_batch_size=draw(st.integers(1, most)) if splitting else None,
    )


@st.composite
def scenes(draw):
    """Parameters, and tasks: rows of each, whether a batch is taken before it is added, and a seed for its values."""
    chosen = draw(parameters())
    tasks = st.tuples(st.integers(1, chosen.max_batch_size), st.booleans(), st.integers(0, 2**32))
    return chosen, draw(st.lists(tasks, min_size=1, max_size=12))


@settings(max_examples=150, deadline=None)
@given(scenes())
def test_tasks_in_queues_get_the_answers_they_would_get_alone(scene):
    chosen, tasks = scene
    executed = []

    def run(batch, now):
        answer(batch, lambda inputs: executed.append(len(inputs["b"])) or model(**inputs), chosen, now)

    queue, waiting, now = BatchQueue(chosen, run), [], 0.0

    def take_one():
        batch = queue.take(now)
        if batch is not None:
            queue.run(batch, now)
            queue.done()
        return batch

    for rows, taking, seed in tasks:
        if taking:
            take_one()
        inputs = inputs_of(rows, seed)
        waiting.append((queue.add(Task(inputs, rows, now, math.inf), now), model(**inputs)))
        now += 0.3
    queue.close()
    while take_one():
        pass
    assert queue.idle
    for parts, wanted in waiting:
        same(joined(parts), wanted)
    allowed = set(chosen.allowed_batch_sizes) or set(range(1, chosen.execution_limit + 1))
    assert set(executed) <= allowed


SIGNATURE = FunctionSignature(
    model,
    {"a": TensorSpec("float32", (None, WIDTH)), "b": TensorSpec("int64", (None,)), "s": TensorSpec("string")},
    {"p": TensorSpec("float32"), "q": TensorSpec("string"), "r": TensorSpec("int64", (None, 2))},
)


@settings(max_examples=25, deadline=None)
@given(parameters(), st.lists(st.integers(0, 12), min_size=1, max_size=16), st.integers(0, 2**32))
def test_calls_from_threads_get_the_answers_they_would_get_alone(chosen, sizes, seed):
    calls = [inputs_of(min(rows, chosen.max_batch_size), seed + index) for index, rows in enumerate(sizes)]
    servable = FunctionServable({"serving_default": SIGNATURE})
    wanted = [servable.run("serving_default", inputs, ["p", "q", "r"]) for inputs in calls]

    def run(inputs):
        return batched.run("serving_default", inputs, ["p", "q", "r"])

    chosen = BatchingParameters(**{**vars(chosen), "batch_timeout_micros": chosen.batch_timeout_micros // 500})
    with BatchingServable(servable, chosen) as batched, ThreadPoolExecutor(16) as pool:
        for found, alone in zip(pool.map(run, calls), wanted, strict=True):
            same(found, alone)
