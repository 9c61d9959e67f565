"""BatchingServable: calls from many threads, shared errors, deadlines, and closing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest

from tfs_client import PredictClient, TensorSpec
from tfs_client.errors import (
    CallError,
    CancelledError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from tfs_client.server import FunctionServable, FunctionSignature, Server, ServerConfig
from tfs_client.server.batching import BatchingParameters, BatchingServable, BatchScheduler, time_limit
from tfs_client.server.call_deadlines import deadline
from tfs_client.server.servable import Run

ANY = TensorSpec("float32")
LONG = 20_000_000  # microseconds: no batch is due before it is full
NAME = "serving_default"


@pytest.fixture(autouse=True)
def _threads_end():
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and "batch" in thread.name]
    assert not left


@pytest.fixture
def pool():
    with ThreadPoolExecutor(64) as pool:
        yield pool


class Doubling:
    """The model y = 2 x, which records the inputs of every call."""

    def __init__(self, fn=lambda x: 2 * x):
        self.calls = []
        self._fn = fn

    def __call__(self, x):
        self.calls.append(x)
        return self._fn(x)

    @property
    def sizes(self):
        return [len(x) for x in self.calls]


def servable(fn, **signatures):
    return FunctionServable({NAME: FunctionSignature(fn, {"x": ANY}, {"y": ANY}), **signatures})


def batching(fn, scheduler=None, **parameters):
    parameters = {"num_batch_threads": 1, "thread_pool_name": "batch", **parameters}
    return BatchingServable(servable(fn), BatchingParameters(**parameters), scheduler=scheduler)


def run(model, values, signature=NAME, timeout=None):
    with time_limit(timeout):
        return model.run(signature, {"x": np.asarray(values, np.float32)}, ["y"])["y"]


def test_single_rows_from_many_threads_reach_the_model_as_one_call(pool):
    model = Doubling()
    with batching(model, max_batch_size=64, batch_timeout_micros=LONG) as batched:
        rows = list(pool.map(lambda value: run(batched, [value]), range(64)))
    assert model.sizes == [64]
    assert [row.tolist() for row in rows] == [[2 * value] for value in range(64)]


def test_without_a_timeout_calls_share_a_batch_while_the_threads_are_busy(pool, gate):
    model = Doubling(gate)
    with batching(model, max_batch_size=64) as batched:
        first = pool.submit(run, batched, [0])
        assert gate.entered.wait(10)
        others = [pool.submit(run, batched, [value]) for value in range(1, 33)]
        queue = next(iter(batched._queues.values()))
        wait_until(lambda: queue._batches[-1].rows == 32)
        gate.open.set()
        assert [future.result(10).tolist() for future in [first, *others]] == [[value] for value in range(33)]
    assert model.sizes == [1, 32]


def wait_until(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_single_call_runs_when_its_batch_times_out():
    model = Doubling()
    with batching(model, batch_timeout_micros=20_000) as batched:
        started = time.monotonic()
        assert run(batched, [1, 2]).tolist() == [2, 4]
        assert time.monotonic() - started >= 0.019


def test_the_servable_has_the_signatures_and_defaults_of_the_wrapped_one():
    within = FunctionServable(
        {NAME: FunctionSignature(lambda x: x, {"x": ANY}, {"y": ANY}, defaults={"x": np.float32([7])})}
    )
    with BatchingServable(within) as batched:
        assert batched.signatures == within.signatures
        assert batched.defaults(NAME) == within.defaults(NAME)


def test_batches_run_in_threads_named_by_the_parameters(pool):
    names = []
    model = Doubling(lambda x: names.append(threading.current_thread().name) or x)
    with batching(model, thread_pool_name="batch_of_mine", num_batch_threads=2) as batched:
        run(batched, [1])
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("batch_of_mine")]
    assert sorted(threads) == ["batch_of_mine_0", "batch_of_mine_1"]
    assert names[0] in threads


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"x": np.float32(1)}, "Batching Run() input tensors must have at least one dimension"),
        ({"x": np.zeros(5, np.float32)}, "Task size 5 is larger than maximum input batch size 4"),
    ],
)
def test_a_call_that_cannot_be_batched_is_refused_alone(inputs, text):
    model = Doubling()
    with batching(model, max_batch_size=4) as batched:
        with pytest.raises(InvalidArgumentError) as caught:
            batched.run(NAME, inputs, ["y"])
        assert caught.value.details == text
        assert run(batched, [1]).tolist() == [2]
    assert model.sizes == [1]


def test_inputs_must_agree_on_their_rows():
    both = FunctionServable({NAME: FunctionSignature(lambda a, b: a + b, {"a": ANY, "b": ANY}, {"y": ANY})})
    with BatchingServable(both) as batched:
        with pytest.raises(InvalidArgumentError) as caught:
            batched.run(NAME, {"a": np.zeros(2, np.float32), "b": np.zeros(1, np.float32)}, ["y"])
        assert caught.value.details == "Batching Run() input tensors must have equal 0th-dimension size"


def outcome(future):
    error = future.exception(10)
    return future.result() if error is None else (type(error), error.details)


def test_shapes_that_differ_fail_the_whole_batch(pool):
    model = Doubling()
    with batching(model, max_batch_size=2, batch_timeout_micros=LONG) as batched:
        good, bad = pool.submit(run, batched, [[1, 2]]), pool.submit(run, batched, [[1, 2, 3]])
        assert outcome(good) == outcome(bad)
        kind, text = outcome(good)
        assert kind is FailedPreconditionError
        assert text.startswith(f"Tensors with name '{NAME}_x:0' from different tasks have different shapes and padding")
        again = [pool.submit(run, batched, [[1, 2]]) for _ in range(2)]
        assert [outcome(future).tolist() for future in again] == [[[2, 4]]] * 2
    assert model.sizes == [2]


def test_with_padding_they_run_together_and_outputs_stay_padded(pool):
    model = Doubling()
    options = {"max_batch_size": 2, "batch_timeout_micros": LONG, "pad_variable_length_inputs": True}
    with batching(model, **options) as batched:
        short, long = pool.submit(run, batched, [[1, 2]]), pool.submit(run, batched, [[3, 4, 5]])
        assert outcome(short).tolist() == [[2, 4, 2]]
        assert outcome(long).tolist() == [[6, 8, 10]]


def test_the_models_error_fails_every_call_in_the_batch_and_no_other(pool):
    def fn(x):
        if (x < 0).any():
            raise CallError(InvalidArgumentError.CODE, "negative")
        return x

    with batching(fn, max_batch_size=2, batch_timeout_micros=LONG) as batched:
        both = [pool.submit(run, batched, [value]) for value in (1, -1)]
        assert [outcome(future) for future in both] == [(InvalidArgumentError, "negative")] * 2
        assert run(batched, [1, 2]).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (lambda x: np.float32(1), "Batched output tensor has 0 dimensions"),
        (
            lambda x: x[:1],
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
            "tensors",
        ),
    ],
)
def test_outputs_need_rows(fn, text, pool):
    with batching(fn, max_batch_size=2, batch_timeout_micros=LONG) as batched:
        both = [pool.submit(run, batched, [value]) for value in (1, 2)]
        assert [outcome(future) for future in both] == [(FailedPreconditionError, text)] * 2


def test_a_full_queue_refuses(pool, gate):
    with batching(gate, max_batch_size=1, max_enqueued_batches=1) as batched:
        first = pool.submit(run, batched, [1])
        assert gate.entered.wait(10)
        others = [pool.submit(run, batched, [2]) for _ in range(2)]
        wait_until(lambda: any(future.done() for future in others))
        gate.open.set()
        results = [outcome(future) for future in others]
        assert outcome(first).tolist() == [1]
    refused = (
        UnavailableError,
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
        "max_enqueued_batches is 1",
    )
    assert sum(result == refused for result in results if isinstance(result, tuple)) == 1
    assert sum(not isinstance(result, tuple) for result in results) == 1


def test_a_full_queue_that_splits_reports_its_capacity(pool, gate):
    options = {"max_batch_size": 8, "max_enqueued_batches": 2, "enable_large_batch_splitting": True}
    with batching(gate, max_execution_batch_size=2, **options) as batched:
        first = pool.submit(run, batched, [1])
        assert gate.entered.wait(10)
        with pytest.raises(UnavailableError) as caught:
            run(batched, range(5))
        gate.open.set()
        assert outcome(first).tolist() == [1]
    assert caught.value.details == (
        "The batch scheduling queue to which this task was submitted is full; task size is 5 but scheduling capacity "
        "is only 4 (num_enqueued_batches=1, max_enqueued_batches=2, open_batch_size=0, max_execution_batch_size=2)"
    )


SPLITTING = {"max_batch_size": 10, "enable_large_batch_splitting": True, "max_execution_batch_size": 4}


def test_a_large_call_is_split_and_its_answer_joined():
    model = Doubling()
    with batching(model, **SPLITTING) as batched:
        assert run(batched, range(10)).tolist() == [2 * value for value in range(10)]
    assert sorted(model.sizes) == [2, 4, 4]


def test_a_call_fails_if_one_of_its_parts_fails():
    def fn(x):
        if 9 in x:
            raise ValueError("nine")
        return x

    with batching(fn, **SPLITTING) as batched, pytest.raises(InvalidArgumentError) as caught:
        run(batched, range(10))
    assert caught.value.details == "ValueError: nine"


def test_a_batch_whose_calls_are_all_late_does_not_run(pool):
    model = Doubling()
    with batching(model, batch_timeout_micros=50_000) as batched:
        late = [pool.submit(run, batched, [value], NAME, 0.001) for value in (1, 2)]
        text = "Run() timeout exceeded while waiting in batching queue"
        assert [outcome(future) for future in late] == [(ResourceExhaustedError, text)] * 2
    assert not model.calls


@pytest.mark.parametrize("timeout", [None, 0, -1, 20])
def test_late_calls_leave_the_batch_before_it_runs(pool, timeout):
    model = Doubling()
    with batching(model, max_batch_size=2, batch_timeout_micros=LONG) as batched:
        late = pool.submit(run, batched, [1], NAME, 1e-6)
        assert run(batched, [2], timeout=timeout).tolist() == [4]
        assert outcome(late) == (ResourceExhaustedError, "Run() timeout exceeded while waiting in batching queue")
    assert model.sizes == [1]


def test_calls_whose_client_disconnected_leave_the_batch_before_it_runs(pool):
    def run_for_nobody():
        with time_limit(None, lambda: False):
            return batched.run(NAME, {"x": np.float32([1])}, ["y"])

    model = Doubling()
    with batching(model, max_batch_size=2, batch_timeout_micros=LONG) as batched:
        gone = pool.submit(run_for_nobody)
        assert run(batched, [2]).tolist() == [4]
        assert outcome(gone) == (CancelledError, "the client gave up")
    assert model.sizes == [1]


def test_a_call_without_rows_is_answered_directly():
    model = Doubling()
    with batching(model, batch_timeout_micros=LONG) as batched:
        assert run(batched, np.zeros((0, 3))).shape == (0, 3)
    assert model.sizes == [0]


def test_two_aliases_of_one_tensor_are_both_returned():
    def same(dtype="float32"):
        return TensorSpec(dtype, (None,), tensor_name="out:0")

    asked = []

    class Within(FunctionServable):
        def run(self, signature, inputs, outputs):
            asked.append(list(outputs))
            return super().run(signature, inputs, outputs)

    within = Within({NAME: FunctionSignature(lambda x: {"y": x, "z": x}, {"x": ANY}, {"y": same(), "z": same()})})
    with BatchingServable(within) as batched:
        found = batched.run(NAME, {"x": np.float32([5])}, ["y", "z"])
    assert {alias: array.tolist() for alias, array in found.items()} == {"y": [5], "z": [5]}
    assert [len(aliases) for aliases in asked] == [1]


def named(tensor_name):
    return TensorSpec("float32", tensor_name=tensor_name)


def test_two_input_aliases_of_one_tensor_keep_their_values():
    within = FunctionServable(
        {NAME: FunctionSignature(lambda a, b: a - b, {"a": named("in:0"), "b": named("in:0")}, {"y": ANY})}
    )
    with BatchingServable(within) as batched:
        inputs = {"a": np.float32([5]), "b": np.float32([3])}
        assert batched.run(NAME, inputs, ["y"])["y"].tolist() == [2]


def test_calls_that_feed_and_fetch_the_same_tensors_share_batches(pool):
    model, other = Doubling(), Doubling()
    one = FunctionSignature(model, {"x": named("in:0")}, {"y": named("out:0"), "z": named("more:0")})
    two = FunctionSignature(other, {"x": named("in:0")}, {"w": named("out:0")})
    model._fn = lambda x: {"y": x, "z": -x}
    other._fn = lambda x: {"w": x}
    parameters = BatchingParameters(max_batch_size=2, batch_timeout_micros=LONG)
    with BatchingServable(FunctionServable({"one": one, "two": two}), parameters) as batched:
        x = {"x": np.float32([3])}
        first, second = pool.submit(batched.run, "one", x, ["y"]), pool.submit(batched.run, "two", x, ["w"])
        assert first.result(10)["y"].tolist() == second.result(10)["w"].tolist() == [3]
        assert sorted(model.sizes + other.sizes) == [2]
        twice = [pool.submit(batched.run, "one", x, outputs) for outputs in (["y", "z"], ["z", "y"])]
        assert [future.result(10)["z"].tolist() for future in twice] == [[-3], [-3]]
    assert sorted(model.sizes + other.sizes) == [2, 2]


def test_queues_that_are_not_in_use_are_freed():
    outputs = {f"y{index}": ANY for index in range(4)}
    within = FunctionServable({NAME: FunctionSignature(lambda x: dict.fromkeys(outputs, x), {"x": ANY}, outputs)})
    with BatchingServable(within) as batched:
        for count in range(1, 5):
            for wanted in combinations(outputs, count):
                assert set(batched.run(NAME, {"x": np.float32([5])}, wanted)) == set(wanted)
        wait_until(lambda: not len(batched._queues))  # the last one is in use until its thread looks for more


class Together(FunctionServable):
    """Computes several signatures at once, and records which, with how many rows."""

    def __init__(self, signatures):
        super().__init__(signatures)
        self.calls = []

    def run_together(self, runs):
        self.calls.append([(run.signature, len(run.inputs["x"]), list(run.outputs)) for run in runs])
        return [self.run(*run) for run in runs]


TWO = {
    "double": FunctionSignature(lambda x: {"y": 2 * x, "z": x}, {"x": named("in:0")}, {"y": ANY, "z": ANY}),
    "triple": FunctionSignature(lambda x: {"y": 3 * x}, {"x": named("in:0")}, {"y": ANY}),
}


def both(batched, value):
    x = {"x": np.float32([value])}
    answers = batched.run_together([Run("double", x, ["y"]), Run("triple", x, ["y"])])
    return [answer["y"].tolist() for answer in answers]


def test_calls_of_several_signatures_at_once_share_batches_too(pool):
    within = Together(TWO)
    with BatchingServable(within, BatchingParameters(max_batch_size=2, batch_timeout_micros=LONG)) as batched:
        assert sorted(pool.map(lambda value: both(batched, value), [5, 7])) == [[[10], [15]], [[14], [21]]]
        empty = {"x": np.zeros(0, np.float32)}
        runs = [Run("double", empty, ["z"]), Run("triple", empty, ["y"])]
        assert [list(answer) for answer in batched.run_together(runs)] == [["z"], ["y"]]
    assert within.calls == [
        [("double", 2, ["y"]), ("triple", 2, ["y"])],
        [("double", 0, ["z"]), ("triple", 0, ["y"])],
    ]


def test_a_servable_that_runs_one_signature_at_a_time_gets_a_batch_for_each():
    with BatchingServable(FunctionServable(TWO)) as batched:
        assert both(batched, 5) == [[10], [15]]


def test_servables_share_the_threads_of_a_scheduler_and_never_a_batch(pool):
    models = [Doubling(), Doubling()]
    with BatchScheduler(2, name="batch") as scheduler:
        options = {"scheduler": scheduler, "max_batch_size": 2, "batch_timeout_micros": LONG}
        with batching(models[0], **options) as one, batching(models[1], **options) as other:
            futures = [pool.submit(run, each, [value]) for value in (1, 2) for each in (one, other)]
            assert [outcome(future).tolist() for future in futures] == [[2], [2], [4], [4]]
        assert [model.sizes for model in models] == [[2], [2]]
        with batching(models[0], scheduler=scheduler) as third:  # closing servables leaves the scheduler open
            assert run(third, [1]).tolist() == [2]


def test_closing_runs_waiting_calls_and_refuses_new_ones(pool):
    model = Doubling()
    batched = batching(model, batch_timeout_micros=LONG)
    waiting = [pool.submit(run, batched, [value]) for value in (1, 2)]
    wait_until(lambda: batched._queues and next(iter(batched._queues.values()))._batches[-1].rows == 2)
    batched.close()
    batched.close()
    assert [outcome(future).tolist() for future in waiting] == [[2], [4]]
    with pytest.raises(UnavailableError, match="is closed"):
        run(batched, [1])
    with pytest.raises(UnavailableError, match="is closed"):
        batched.run(NAME, {"x": np.float32([[1]])}, ["y"])


def test_closing_closes_the_wrapped_servable_once():
    class Within(FunctionServable):
        closed = 0

        def close(self):
            self.closed += 1

    within = Within({NAME: FunctionSignature(lambda x: x, {"x": ANY}, {"y": ANY})})
    with BatchingServable(within) as batched:
        assert run(batched, [1]).tolist() == [1]
        assert not within.closed
    batched.close()
    assert within.closed == 1


def test_a_closed_scheduler_refuses_calls():
    scheduler = BatchScheduler(1, name="batch")
    scheduler.close()
    scheduler.close()
    with batching(Doubling(), scheduler=scheduler) as batched, pytest.raises(UnavailableError, match="is closed"):
        run(batched, [1])


def test_an_unclosed_servable_and_an_unclosed_scheduler_warn_and_end_their_threads():
    forgotten = [batching(Doubling())]
    assert run(forgotten[0], [1]).tolist() == [2]
    with pytest.warns(ResourceWarning, match="unclosed batching servable"):
        forgotten.clear()
    forgotten = [BatchScheduler(1, name="batch")]
    with pytest.warns(ResourceWarning, match="unclosed batch scheduler"):
        forgotten.clear()
    wait_until(lambda: not any("batch" in thread.name for thread in threading.enumerate()))


def test_through_a_server_the_model_knows_how_long_the_client_waits():
    left = []
    model = Doubling(lambda x: left.append(deadline() - time.monotonic()) or x)
    with batching(model) as batched, Server() as server:
        server.add_model("m", batched)
        with PredictClient(server.target, model="m") as client:
            client.predict({"x": [1.0]}, timeout=15)
    assert 0 < left[0] < 16  # on its way gRPC rounds 15 seconds up


def test_through_a_server_futures_of_one_client_share_a_batch():
    model = Doubling()
    with (
        batching(model, max_batch_size=16, batch_timeout_micros=LONG) as batched,
        Server(ServerConfig(threads=64)) as server,
    ):
        server.add_model("m", batched)
        with PredictClient(server.target, model="m") as client:
            futures = [client.predict_future({"x": np.float32([value])}) for value in range(64)]
            assert [future.result(10).array.tolist() for future in futures] == [[2 * value] for value in range(64)]
            with pytest.raises(InvalidArgumentError, match="larger than maximum input batch size 16"):
                client.predict({"x": np.zeros(17, np.float32)})
    assert model.sizes == [16] * 4
