"""BatchQueue and RoundRobin: which task joins which batch, when a batch is due, and which queue runs next.

Nothing here waits or reads a clock: callers pass the time in, and ``due`` says when to ask again.

What must hold:

- A queue always has one open batch, at the back. Tasks join it until one does not fit; that task opens a new batch. No
  task can join the batches before the last one any more, so they are due at once.
- The open batch is due when it is full, or when the time-out since its first task has passed.
- A queue is bounded by the number of its batches, running ones not counted. A full queue refuses tasks, but not because
  of tasks whose callers have given up: these are removed first, at most every PURGE_SECONDS, because each search goes
  through the whole queue.
- Queues take turns: after a queue has run a batch, all others come first. A queue is in the round only while tasks wait
  in it, so idle models cost nothing.

Source of the rules and texts: tensorflow/core/kernels/batching_util/shared_batch_scheduler.h.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tfs_client.errors import InvalidArgumentError, UnavailableError
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.batching.tasks import Task, part_sizes, split

AT_ONCE = -math.inf
PURGE_SECONDS = 0.01  # between two searches of a full queue; otherwise each refused call would cost one
CLOSED = "The batch scheduling queue to which this task was submitted is closed"

Run = Callable[[list[Task], float], None]


@dataclass(slots=True)
class _Batch:
    tasks: list[Task] = field(default_factory=list)
    rows: int = 0
    opened: float = 0.0  # the time of its first task


class BatchQueue:
    """Batches that wait to run. The last one, which always exists, is open; the others are complete.

    Args:
        run: runs a batch of this queue, given its tasks and the time; the scheduler calls it.

    Attributes:
        closed: new tasks are refused, and waiting ones are due at once.
    """

    def __init__(self, parameters: BatchingParameters, run: Run) -> None:
        self.run = run
        self.closed: bool = False
        self._parameters = parameters
        self._most = parameters.execution_limit
        self._batches = deque([_Batch()])
        self._running = 0
        self._purged = -math.inf  # the time of the last search for dropped tasks

    def add(self, task: Task, now: float) -> list[Task]:
        """Add a task. Returns the parts whose answers make up its answer: the task itself, unless it is split.

        Raises InvalidArgumentError if it is too large, UnavailableError if the queue is full or closed.
        """
        if self.closed:
            raise UnavailableError(CLOSED)
        if task.size > self._parameters.max_batch_size:
            raise InvalidArgumentError(
                f"Task size {task.size} is larger than maximum input batch size {self._parameters.max_batch_size}"
            )
        try:
            parts = self._parts(task)
        except UnavailableError:
            if not self._purge(now):
                raise
            parts = self._parts(task)
        for part in parts:
            self._append(part, now)
        return parts

    def _purge(self, now: float) -> bool:
        """Remove tasks whose callers have given up. False if there are none, or if the last search was just now."""
        if now < self._purged + PURGE_SECONDS:
            return False
        self._purged = now
        tasks = [task for batch in self._batches for task in batch.tasks]
        wanted = [task for task in tasks if not task.dropped(now)]
        if len(wanted) == len(tasks):
            return False
        self._batches = deque([_Batch()])
        for task in wanted:
            self._append(task, task.enqueued)
        return True

    def _parts(self, task: Task) -> list[Task]:
        return self._split(task) if self._parameters.enable_large_batch_splitting else self._whole(task)

    def _whole(self, task: Task) -> list[Task]:
        count, most = len(self._batches), self._parameters.enqueued_limit
        if self._batches[-1].rows + task.size > self._most and count >= most:
            raise UnavailableError(
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{count} batches enqueued and max_enqueued_batches is {most}"
            )
        return [task]

    def _split(self, task: Task) -> list[Task]:
        count, most, rows = len(self._batches), self._parameters.enqueued_limit, self._batches[-1].rows
        room = self._most - rows
        capacity = (most - count) * self._most + room
        if task.size > capacity:
            raise UnavailableError(
                f"The batch scheduling queue to which this task was submitted is full; task size is {task.size} but "
                f"scheduling capacity is only {capacity} (num_enqueued_batches={count}, max_enqueued_batches={most}, "
                f"open_batch_size={rows}, max_execution_batch_size={self._most})"
            )
        return [task] if task.size <= room else split(task, part_sizes(task.size, room, self._most))

    def _append(self, task: Task, now: float) -> None:
        if self._batches[-1].rows + task.size > self._most:
            self._batches.append(_Batch())
        batch = self._batches[-1]
        if not batch.tasks:
            batch.opened = now
        batch.tasks.append(task)
        batch.rows += task.size

    @property
    def due(self) -> float | None:
        """When a batch may be taken: AT_ONCE, a time, or None while no task waits."""
        batch = self._batches[0]
        if len(self._batches) > 1:
            return AT_ONCE
        if not batch.tasks:
            return None
        return AT_ONCE if self.closed or batch.rows >= self._most else batch.opened + self._parameters.timeout

    def take(self, now: float) -> list[Task] | None:
        """Take the tasks of the batch that is due; None if none is. The batch counts as running until ``done``."""
        due = self.due
        if due is None or now < due:
            return None
        if len(self._batches) == 1:
            self._batches.append(_Batch())
        self._running += 1
        return self._batches.popleft().tasks

    def done(self) -> None:
        """Note that a batch that was taken has run."""
        self._running -= 1

    @property
    def idle(self) -> bool:
        """Whether no task waits and no batch runs."""
        return not self._running and self.due is None

    def close(self) -> None:
        """Refuse new tasks. Those that wait still run."""
        self.closed = True


class RoundRobin:
    """Queues that share threads: each in turn runs one batch. It holds only queues in which tasks wait."""

    def __init__(self) -> None:
        self._queues: deque[BatchQueue] = deque()

    def add(self, queue: BatchQueue) -> None:
        """Add a queue that has just got its first task; its turn comes last."""
        self._queues.append(queue)

    def take(self, now: float) -> tuple[BatchQueue, list[Task]] | None:
        """Take the next batch that is due, with its queue, whose turn then comes last; None if no batch is due."""
        for _ in range(len(self._queues)):
            queue = self._queues.popleft()
            tasks = queue.take(now)
            if queue.due is not None:
                self._queues.append(queue)
            if tasks is not None:
                return queue, tasks
        return None

    @property
    def due(self) -> float | None:
        """When the next batch may be taken: AT_ONCE, a time, or None while no task waits."""
        return min((queue.due for queue in self._queues if queue.due is not None), default=None)

    def close(self) -> None:
        """Close all queues."""
        for queue in self._queues:
            queue.close()
