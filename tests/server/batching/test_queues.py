"""Queues: which tasks run together, when, and which are refused. Time is a literal."""

from __future__ import annotations

import math
import weakref

import numpy as np
import pytest

from tfs_client.errors import InvalidArgumentError, StatusCode, UnavailableError
from tfs_client.server.batching import BatchingParameters
from tfs_client.server.batching.queues import AT_ONCE, BatchQueue, RoundRobin
from tfs_client.server.batching.tasks import Task, part_sizes, rows_of, split


def task(size, first=0):
    return Task({"x": np.arange(first, first + size)}, size, 0.0, math.inf)


def queue(**parameters):
    return BatchQueue(BatchingParameters(**parameters), lambda tasks, now: None)


def sizes(tasks):
    return None if tasks is None else [task.size for task in tasks]


def test_a_queue_without_tasks_is_never_due():
    empty = queue()
    assert empty.due is None
    assert empty.take(1e9) is None
    assert empty.idle


def test_an_open_batch_is_due_when_its_first_task_has_waited_for_the_timeout():
    waiting = queue(batch_timeout_micros=2_000_000)
    waiting.add(task(1), 10.0)
    waiting.add(task(2), 11.5)
    assert waiting.due == 12.0
    assert waiting.take(11.99) is None
    assert sizes(waiting.take(12.0)) == [1, 2]
    assert waiting.due is None


def test_the_next_batch_counts_from_its_own_first_task():
    waiting = queue(batch_timeout_micros=2_000_000)
    waiting.add(task(1), 10.0)
    waiting.take(12.0)
    waiting.add(task(1), 20.0)
    assert waiting.due == 22.0


def test_without_a_timeout_a_batch_is_due_with_its_first_task_and_grows_until_it_is_taken():
    eager = queue()
    eager.add(task(1), 5.0)
    assert eager.due == 5.0
    eager.add(task(1), 6.0)
    assert sizes(eager.take(6.0)) == [1, 1]


def test_a_full_batch_is_due_at_once():
    full = queue(max_batch_size=3, batch_timeout_micros=9_000_000)
    full.add(task(1), 0.0)
    full.add(task(2), 0.0)
    assert full.due == AT_ONCE
    assert sizes(full.take(0.0)) == [1, 2]


def test_a_task_that_does_not_fit_closes_the_open_batch():
    crowded = queue(max_batch_size=4, batch_timeout_micros=9_000_000)
    crowded.add(task(3), 0.0)
    crowded.add(task(2), 1.0)
    assert sizes(crowded.take(1.0)) == [3]
    assert crowded.take(1.0) is None
    assert crowded.due == 10.0


def test_a_task_of_the_largest_size_is_accepted_and_a_larger_one_refused():
    small = queue(max_batch_size=3)
    small.add(task(3), 0.0)
    with pytest.raises(InvalidArgumentError) as caught:
        small.add(task(4), 0.0)
    assert caught.value.details == "Task size 4 is larger than maximum input batch size 3"


FULL = (
    "The batch scheduling queue to which this task was submitted is full; currently {count} batches enqueued and "
    "max_enqueued_batches is {most}"
)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_queue_is_full_when_a_task_needs_one_batch_too_many(most):
    small = queue(max_batch_size=2, max_enqueued_batches=most)
    for _ in range(most):
        small.add(task(2), 0.0)
    with pytest.raises(UnavailableError) as caught:
        small.add(task(1), 0.0)
    assert caught.value.details == FULL.format(count=most, most=most)
    assert sizes(small.take(0.0)) == [2]  # running batches do not count
    small.add(task(1), 0.0)


def test_a_task_that_fits_the_open_batch_is_never_refused():
    small = queue(max_batch_size=3, max_enqueued_batches=1)
    small.add(task(2), 0.0)
    small.add(task(1), 0.0)
    assert sizes(small.take(0.0)) == [2, 1]


def test_zero_enqueued_batches_mean_one():
    small = queue(max_batch_size=1, max_enqueued_batches=0)
    small.add(task(1), 0.0)
    with pytest.raises(UnavailableError) as caught:
        small.add(task(1), 0.0)
    assert caught.value.details == FULL.format(count=1, most=1)


SPLITTING = {"max_batch_size": 10, "enable_large_batch_splitting": True, "max_execution_batch_size": 4}


def test_a_large_task_fills_the_open_batch_and_then_full_ones():
    splitting = queue(**SPLITTING)
    splitting.add(task(1), 0.0)
    parts = splitting.add(task(10, first=100), 0.0)
    assert sizes(parts) == [3, 4, 3]
    assert np.concatenate([part.inputs["x"] for part in parts]).tolist() == list(range(100, 110))
    assert [sizes(splitting.take(0.0)) for _ in range(4)] == [[1, 3], [4], [3], None]


def test_a_task_that_fits_is_not_split():
    splitting = queue(**SPLITTING)
    whole = task(3)
    assert splitting.add(whole, 0.0) == [whole]


def test_a_full_open_batch_receives_no_part_of_a_split_task():
    splitting = queue(**SPLITTING)
    splitting.add(task(4), 0.0)
    assert sizes(splitting.add(task(5), 0.0)) == [4, 1]


def test_splitting_does_not_raise_the_size_limit_of_a_task():
    with pytest.raises(InvalidArgumentError) as caught:
        queue(**SPLITTING).add(task(11), 0.0)
    assert caught.value.details == "Task size 11 is larger than maximum input batch size 10"


def test_a_splitting_queue_is_full_when_a_task_exceeds_its_capacity():
    splitting = queue(**SPLITTING, max_enqueued_batches=3)
    splitting.add(task(9), 0.0)  # 4 + 4 + 1: three batches, with room for three rows
    with pytest.raises(UnavailableError) as caught:
        splitting.add(task(5), 0.0)
    assert caught.value.details == (
        "The batch scheduling queue to which this task was submitted is full; task size is 5 but scheduling capacity "
        "is only 3 (num_enqueued_batches=3, max_enqueued_batches=3, open_batch_size=1, max_execution_batch_size=4)"
    )
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert sizes(splitting.add(task(3), 0.0)) == [3]


@pytest.mark.parametrize(
    ("size", "room", "parts"), [(5, 1, [1, 4]), (5, 0, [4, 1]), (8, 0, [4, 4]), (12, 2, [2, 4, 4, 2]), (6, 2, [2, 4])]
)
def test_parts(size, room, parts):
    assert part_sizes(size, room, 4) == parts
    assert [part.size for part in split(task(size), parts)] == parts


def test_a_closed_queue_refuses_tasks_and_is_due_at_once():
    closing = queue(batch_timeout_micros=9_000_000)
    closing.add(task(1), 0.0)
    closing.close()
    with pytest.raises(UnavailableError, match="is closed"):
        closing.add(task(1), 0.0)
    assert sizes(closing.take(0.0)) == [1]
    assert not closing.idle
    closing.done()
    assert closing.idle


def test_queues_take_turns():
    round_robin, queues = RoundRobin(), [queue(max_batch_size=1) for _ in range(3)]
    for each in queues:
        round_robin.add(each)
        each.add(task(1), 0.0)
        each.add(task(1), 0.0)
    order = [queues.index(round_robin.take(0.0)[0]) for _ in range(6)]
    assert order == [0, 1, 2, 0, 1, 2]
    assert round_robin.take(0.0) is None


def test_queues_that_are_not_due_are_skipped_and_the_next_time_is_the_earliest():
    round_robin = RoundRobin()
    slow, fast = queue(batch_timeout_micros=9_000_000), queue(batch_timeout_micros=1_000_000)
    assert round_robin.due is None
    slow.add(task(1), 0.0)
    fast.add(task(1), 2.0)
    round_robin.add(slow)
    round_robin.add(fast)
    assert round_robin.due == 3.0
    assert round_robin.take(2.9) is None
    assert round_robin.take(3.0)[0] is fast
    assert round_robin.due == 9.0


def test_a_queue_without_tasks_leaves_the_round():
    round_robin, short, long = RoundRobin(), queue(max_batch_size=1), queue(max_batch_size=1)
    for waiting, count in ((short, 1), (long, 2)):
        for _ in range(count):
            waiting.add(task(1), 0.0)
        round_robin.add(waiting)
    assert [round_robin.take(0.0)[0] for _ in range(2)] == [short, long]
    forgotten = weakref.ref(short)
    del waiting, short
    assert forgotten() is None
    assert round_robin.take(0.0)[0] is long
    assert round_robin.take(0.0) is None


def test_a_queue_that_is_added_again_is_last():
    round_robin, one, other = RoundRobin(), queue(), queue(max_batch_size=1)
    for each, count in ((one, 1), (other, 2)):
        for _ in range(count):
            each.add(task(1), 0.0)
        round_robin.add(each)
    assert round_robin.take(0.0)[0] is one
    one.add(task(1), 0.0)
    round_robin.add(one)
    assert [round_robin.take(0.0)[0] for _ in range(3)] == [other, one, other]


def test_closing_makes_waiting_tasks_due_at_once():
    round_robin, slow = RoundRobin(), queue(batch_timeout_micros=9_000_000)
    slow.add(task(1), 0.0)
    round_robin.add(slow)
    assert round_robin.take(0.0) is None
    round_robin.close()
    assert round_robin.take(0.0)[0] is slow


COLUMN, EMPTY = np.zeros((2, 3)), np.zeros((0, 3))


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"x": np.float32(1)[()]}, "Batching Run() input tensors must have at least one dimension"),
        ({"a": COLUMN, "b": COLUMN[:1]}, "Batching Run() input tensors must have equal 0th-dimension size"),
        ({"a": COLUMN, "b": EMPTY}, "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
)
def test_inputs_without_a_common_number_of_rows_are_refused(inputs, text):
    with pytest.raises(InvalidArgumentError) as caught:
        rows_of({name: np.asarray(array) for name, array in inputs.items()})
    assert caught.value.details == text


def test_rows_are_counted_along_the_first_axis():
    assert rows_of({"a": COLUMN, "b": np.zeros(2)}) == 2
    assert rows_of({"a": EMPTY}) == 0


def test_a_full_queue_removes_tasks_whose_callers_have_given_up():
    full = queue(max_batch_size=2, max_enqueued_batches=2)
    waits = [True] * 4
    tasks = [Task({"x": np.arange(1)}, 1, 1.0, math.inf, lambda index=index: waits[index]) for index in range(4)]
    for each in tasks:
        full.add(each, 1.0)
    with pytest.raises(UnavailableError, match="is full"):
        full.add(task(1), 2.0)
    waits[1:3] = False, False
    full.add(task(1), 3.0)
    assert full.take(3.0) == [tasks[0], tasks[3]]
    assert [each.answer.get(timeout=1).code for each in tasks[1:3]] == [StatusCode.CANCELLED] * 2
    assert sizes(full.take(3.0)) == [1]
