"""BatchScheduler: the threads that run batches, shared by the queues of all models.

Each thread waits until a batch is due, takes it and runs it. Only one thread at a time needs to watch the clock, so a
submitted task that changes what is due wakes one thread; a thread that takes a batch wakes the next one before it
starts, if anything is left to watch. Without that wake-up a due batch would wait until the first thread is done.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Collection
from types import TracebackType

from tfs_client.errors import ConfigError, UnavailableError
from tfs_client.server.batching.parameters import NAME
from tfs_client.server.batching.queues import CLOSED, BatchQueue, RoundRobin
from tfs_client.server.batching.tasks import Task
from tfs_client.server.thread_pool import MAX_THREADS


class BatchScheduler:
    """Threads that run batches, from each queue in turn.

    Args:
        threads: the number of threads; by default one for each CPU.
        name: the prefix of their names.

    A context manager. ``close`` refuses new tasks, runs those that wait, and ends the threads.
    """

    def __init__(self, threads: int | None = None, *, name: str = NAME) -> None:
        threads = os.cpu_count() or 1 if threads is None else threads
        if threads < 1:
            raise ConfigError(f"num_batch_threads must be positive; was {threads}")
        if threads > MAX_THREADS:
            raise ConfigError(f"num_batch_threads must be at most {MAX_THREADS}; was {threads}")
        self._state = _State()
        # The threads refer to the state, not to the scheduler, so that __del__ can warn about an unclosed one.
        self._threads = [
            threading.Thread(target=_serve, args=(self._state,), name=f"{name}_{index}", daemon=True)
            for index in range(threads)
        ]
        for number, thread in enumerate(self._threads):
            try:
                thread.start()
            except RuntimeError as error:
                self._state.stop()
                raise ConfigError(
                    f"num_batch_threads is {threads}, more than the system allows: after {number} threads it reports "
                    f"{error}"
                ) from error

    def submit(self, queue: BatchQueue, task: Task) -> list[Task]:
        """Add a task to a queue, which is kept until it is empty. The queue's ``run`` must not raise.

        Returns the parts whose answers to wait for. Raises the errors of ``BatchQueue.add``, and UnavailableError if
        the scheduler is closed.
        """
        return self._state.submit(queue, task)

    def shut(self, queues: Collection[BatchQueue], *, wait: bool = True) -> None:
        """Close queues, and wait until their tasks have run, unless ``wait`` is False."""
        self._state.close(queues)
        if wait:
            self._state.wait_idle(queues)

    def close(self) -> None:
        """Refuse new tasks, run those that wait, and end the threads."""
        self.stop()
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        """Close without waiting for the threads to end."""
        self._state.stop()

    def __enter__(self) -> BatchScheduler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _warn: Callable[..., object] = warnings.warn) -> None:
        state = getattr(self, "_state", None)
        if state is not None and not state.stopped:
            _warn("unclosed batch scheduler: call close()", ResourceWarning, source=self)
            state.stop()  # not close: the garbage collector may run in one of the threads, which cannot join itself


class _State:
    """The state that threads and callers share. One lock guards all queues; it is not held while a batch runs."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may call a __del__, and that calls close or stop, at any point.
        lock = threading.RLock()
        self._due = threading.Condition(lock)  # a batch is due, or the time to wait for has changed
        self._idle = threading.Condition(lock)  # a closed queue is empty
        self._round = RoundRobin()
        self.stopped = False

    def submit(self, queue: BatchQueue, task: Task) -> list[Task]:
        with self._due:
            if self.stopped:
                raise UnavailableError(CLOSED)
            before = queue.due
            parts = queue.add(task, time.monotonic())
            if queue.due != before:
                if before is None:
                    self._round.add(queue)
                self._due.notify()
        return parts

    def run_next(self) -> bool:
        """Wait for a batch and run it. False once the scheduler is stopped and no task waits."""
        with self._due:
            while (taken := self._round.take(now := time.monotonic())) is None:
                due = self._round.due
                if self.stopped and due is None:
                    return False
                self._due.wait(None if due is None else min(max(0.0, due - now), threading.TIMEOUT_MAX))
            if self._round.due is not None:
                self._due.notify()  # this thread is busy now: another one must watch the remaining queues
        queue, tasks = taken
        try:
            queue.run(tasks, now)
        finally:
            self._done(queue)
        return True

    def _done(self, queue: BatchQueue) -> None:
        with self._due:
            queue.done()
            if queue.closed and queue.idle:
                self._idle.notify_all()

    def close(self, queues: Collection[BatchQueue]) -> None:
        with self._due:
            for queue in queues:
                queue.close()
            self._due.notify_all()

    def wait_idle(self, queues: Collection[BatchQueue]) -> None:
        """Wait until all tasks of these queues, which are closed, have run."""
        with self._idle:
            self._idle.wait_for(lambda: all(queue.idle for queue in queues))

    def stop(self) -> None:
        with self._due:
            self.stopped = True
            self._round.close()
            self._due.notify_all()


def _serve(state: _State) -> None:
    # One function call for each batch, so that its arrays are freed before the thread waits for the next.
    while state.run_next():
        pass
