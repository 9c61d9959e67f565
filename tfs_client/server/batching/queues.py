"""BatchQueue and Rotation: which task goes into which batch, when a batch is due, and whose turn it is.

Nothing here waits or knows a clock: time comes in, and ``due`` says when to come back. Source of the rules and texts:
tensorflow/core/kernels/batching_util/shared_batch_scheduler.h.
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
TIDY_SECONDS = 0.01  # between two searches of a full queue, which each refused call would cost otherwise
CLOSED = "The batch scheduling queue to which this task was submitted is closed"

Run = Callable[[list[Task], float], None]


@dataclass(slots=True)
class _Batch:
    tasks: list[Task] = field(default_factory=list)
    rows: int = 0
    opened: float = 0.0  # when its first task came


class BatchQueue:
    """Batches that wait to be run. Those in front are closed; the one at the back, always there, is open.

    Args:
        run: what runs a batch of this queue, given its tasks and the time; for those who take one.

    Attributes:
        closed: no more tasks are taken, and those that wait are due at once.
    """

    def __init__(self, parameters: BatchingParameters, run: Run) -> None:
        self.run = run
        self.closed = False
        self._parameters = parameters
        self._most = parameters.execution_limit
        self._batches = deque([_Batch()])
        self._running = 0
        self._tidied = -math.inf  # when tasks that nobody waits for were last looked for

    def add(self, task: Task, now: float) -> list[Task]:
        """Take a task in. Returns the parts that bring its answer: the task itself, unless it is split.

        Raises InvalidArgumentError when it is too large, UnavailableError when there is no room for it.
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
            if not self._tidy(now):
                raise
            parts = self._parts(task)
        for part in parts:
            self._append(part, now)
        return parts

    def _tidy(self, now: float) -> bool:
        """Make room: drop the tasks that nobody waits for. False when there are none, or it has just been done."""
        if now < self._tidied + TIDY_SECONDS:
            return False
        self._tidied = now
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
        """When a batch may be taken: AT_ONCE, a time, or None as long as nothing waits."""
        batch = self._batches[0]
        if len(self._batches) > 1:
            return AT_ONCE
        if not batch.tasks:
            return None
        return AT_ONCE if self.closed or batch.rows >= self._most else batch.opened + self._parameters.timeout

    def take(self, now: float) -> list[Task] | None:
        """The tasks of the batch that is to run now, or None. It counts as running until ``done``."""
        due = self.due
        if due is None or now < due:
            return None
        if len(self._batches) == 1:
            self._batches.append(_Batch())
        self._running += 1
        return self._batches.popleft().tasks

    def done(self) -> None:
        """A batch that was taken has run."""
        self._running -= 1

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._running and self.due is None

    def close(self) -> None:
        """Take no more tasks, and let those that wait run."""
        self.closed = True


class Rotation:
    """Queues that share threads: each in turn may run one batch. Only those in which something waits are in it."""

    def __init__(self) -> None:
        self._queues: deque[BatchQueue] = deque()

    def add(self, queue: BatchQueue) -> None:
        """A queue that has just got its first waiting task; its turn comes last."""
        self._queues.append(queue)

    def take(self, now: float) -> tuple[BatchQueue, list[Task]] | None:
        """The batch that is to run now and its queue, whose next turn is after all others'; or None."""
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
        """When the next batch may be taken: AT_ONCE, a time, or None as long as nothing waits."""
        return min((queue.due for queue in self._queues if queue.due is not None), default=None)

    def close(self) -> None:
        """Close all queues."""
        for queue in self._queues:
            queue.close()
