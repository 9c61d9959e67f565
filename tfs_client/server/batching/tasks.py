"""Task: what one call brings to a batch, or a part of it; and how a call is taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from queue import SimpleQueue

from tfs_client.errors import CallError, CancelledError, InvalidArgumentError, ResourceExhaustedError
from tfs_client.server.batching.merging import concatenated
from tfs_client.server.servable import Array
from tfs_client.server.served import GAVE_UP

Tensors = Mapping[str, Array]  # by tensor name

LATE = "Run() timeout exceeded while waiting in batching queue"  # tensorflow_serving/batching/batching_session.cc


@dataclass(eq=False, slots=True)  # not frozen: every call makes one, and that is faster
class Task:
    """Some rows that want to be run.

    Attributes:
        inputs: by tensor name, all with the same number of rows.
        size: that number, 1 or more.
        enqueued, deadline: when it came, and when its caller gives up; in seconds, by one clock.
        waits: tells whether the caller's client still waits; None when nobody knows.
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
        """Whether running it would be for nobody: it is too late, or its client has gone. Its answer says so then."""
        if self.deadline <= now:
            self.answer.put(ResourceExhaustedError(LATE))
        elif self.waits is not None and not self.waits():
            self.answer.put(CancelledError(GAVE_UP))
        else:
            return False
        return True


def rows_of(inputs: Tensors) -> int:
    """How many rows a call has. Raises InvalidArgumentError for inputs that cannot be batched (batching_util.h)."""
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
    """Into which sizes a task that is too large is split: first what the open batch has room for, then whole batches.

    The last part is what is left.
    """
    first = [room] if room else []
    whole, left = divmod(size - room, most)
    return first + [most] * whole + ([left] if left else [])


def split(task: Task, sizes: Sequence[int]) -> list[Task]:
    """The parts of a task, in order; their inputs are views of its own."""
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
    """Wait for all parts of a call, and give its outputs. Raises the error of the first part that failed."""
    answers: list[Tensors] = []
    for answer in [part.answer.get() for part in parts]:
        if isinstance(answer, CallError):
            raise answer
        answers.append(answer)
    if len(answers) == 1:
        return answers[0]
    return {name: concatenated([answer[name] for answer in answers]) for name in answers[0]}
