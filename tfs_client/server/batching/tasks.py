"""Task: the rows that one call adds to a batch, or a part of them; splitting and joining of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from queue import SimpleQueue

from tfs_client._codec.dtypes import Array
from tfs_client.errors import CallError, CancelledError, InvalidArgumentError, ResourceExhaustedError
from tfs_client.server.batching.merging import concatenated
from tfs_client.server.call_record import GAVE_UP

Tensors = Mapping[str, Array]  # by tensor name

LATE = "Run() timeout exceeded while waiting in batching queue"  # tensorflow_serving/batching/batching_session.cc


@dataclass(eq=False, slots=True)  # not frozen, which is faster to make: every call makes one
class Task:
    """Rows to run.

    Attributes:
        inputs: by tensor name, all with the same number of rows.
        size: the number of rows, 1 or more.
        enqueued, deadline: when the task arrived, and when its caller gives up; in seconds of the same clock.
        waits: returns whether the caller's client still waits; None if that is unknown.
        answer: gets the outputs by tensor name, or the error, once the task's batch has run. One caller waits for it;
            a Future would cost as much as the rest of a call's way through a batch.
    """

    inputs: Tensors
    size: int
    enqueued: float
    deadline: float
    waits: Callable[[], bool] | None = None
    answer: SimpleQueue[Tensors | CallError] = field(default_factory=SimpleQueue)

    def dropped(self, now: float) -> bool:
        """Answer a task that is too late, or whose client is gone, and return True; False for other tasks."""
        if self.deadline <= now:
            self.answer.put(ResourceExhaustedError(LATE))
        elif self.waits is not None and not self.waits():
            self.answer.put(CancelledError(GAVE_UP))
        else:
            return False
        return True


def rows_of(inputs: Tensors) -> int:
    """Return the rows of a call. Raises InvalidArgumentError for inputs that cannot be batched (batching_util.h)."""
    if not inputs:
        raise InvalidArgumentError("Batching Run() must have at least one input tensor")
    sizes = set()
    for array in inputs.values():
        if array.ndim == 0:
            raise InvalidArgumentError("Batching Run() input tensors must have at least one dimension")
        sizes.add(len(array))
        if len(sizes) > 1:
            raise InvalidArgumentError("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def part_sizes(size: int, room: int, most: int) -> list[int]:
    """Return the sizes of the parts of a large task: first to fill the open batch, then full batches, then the rest."""
    first = [room] if room else []
    whole, left = divmod(size - room, most)
    return first + [most] * whole + ([left] if left else [])


def split(task: Task, sizes: Sequence[int]) -> list[Task]:
    """Split a task into parts, in order. Their inputs are views."""
    ends = list(accumulate(sizes))
    return [
        Task(
            {name: array[end - size : end] for name, array in task.inputs.items()},
            size,
            task.enqueued,
            task.deadline,
            task.waits,
        )
        for size, end in zip(sizes, ends, strict=True)
    ]


def joined(parts: Sequence[Task]) -> Tensors:
    """Wait for all parts of a call, and return its outputs. Raises the error of the first part that failed."""
    answers: list[Tensors] = []
    for answer in [part.answer.get() for part in parts]:
        if isinstance(answer, CallError):
            raise answer
        answers.append(answer)
    if len(answers) == 1:
        return answers[0]
    return {name: concatenated([answer[name] for answer in answers]) for name in answers[0]}
