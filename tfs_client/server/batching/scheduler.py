"""BatchScheduler: the threads that run batches, shared by the queues of all models."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Collection
from types import TracebackType
from typing import Any

from tfs_client.errors import ConfigError, UnavailableError
from tfs_client.server.batching.parameters import NAME
from tfs_client.server.batching.queues import CLOSED, BatchQueue, Rotation
from tfs_client.server.batching.tasks import Task
from tfs_client.server.threads import MAX_THREADS


class BatchScheduler:
    """Threads that run batches, from each queue in turn.

    Args:
        threads: how many; by default one for each CPU.
        name: what their names begin with.

    A context manager; ``close`` refuses new tasks, runs those that wait, and ends the threads.
    """

    def __init__(self, threads: int | None = None, *, name: str = NAME) -> None:
        threads = os.cpu_count() or 1 if threads is None else threads
        if threads < 1:
            raise ConfigError(f"num_batch_threads must be positive; was {threads}")
        if threads > MAX_THREADS:
            raise ConfigError(f"num_batch_threads must be at most {MAX_THREADS}; was {threads}")
        self._work = _Work()
        # They know the work and not the scheduler, so that a forgotten one can be noticed; see __del__.
        self._threads = [
            threading.Thread(target=_serve, args=(self._work,), name=f"{name}_{index}", daemon=True)
            for index in range(threads)
        ]
        for number, thread in enumerate(self._threads):
            try:
                thread.start()
            except RuntimeError as error:
                self._work.stop()
                raise ConfigError(
                    f"num_batch_threads is {threads}, more than the system allows: after {number} threads it reports "
                    f"{error}"
                ) from error

    def submit(self, queue: BatchQueue, task: Task) -> list[Task]:
        """Put a task into a queue, which is kept until it has run empty; the queue's ``run`` must not raise.

        Returns the parts whose answers to wait for. Raises what ``BatchQueue.add`` does, UnavailableError when closed.
        """
        return self._work.submit(queue, task)

    def shut(self, queues: Collection[BatchQueue], *, wait: bool = True) -> None:
        """Close queues; returns when all that was in them has run, or at once."""
        self._work.close(queues)
        if wait:
            self._work.wait_idle(queues)

    def close(self) -> None:
        """Refuse new tasks, run those that wait, and end the threads."""
        self.stop()
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        """The same without waiting for it."""
        self._work.stop()

    def __enter__(self) -> BatchScheduler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        work = getattr(self, "_work", None)
        if work is not None and not work.stopped:
            _warn("unclosed batch scheduler: call close()", ResourceWarning, source=self)
            work.stop()  # whoever collects the garbage may be one of the threads, and cannot wait for itself


class _Work:
    """What threads and callers share. One lock guards all queues: it is held for decisions, never for work."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may call a __del__, and that close or stop, in the midst of anything.
        lock = threading.RLock()
        self._due = threading.Condition(lock)  # a batch is due, or another time has to be waited for
        self._idle = threading.Condition(lock)  # a queue that is closed has run empty
        self._rotation = Rotation()
        self.stopped = False

    def submit(self, queue: BatchQueue, task: Task) -> list[Task]:
        with self._due:
            if self.stopped:
                raise UnavailableError(CLOSED)
            before = queue.due
            parts = queue.add(task, time.monotonic())
            if queue.due != before:
                if before is None:
                    self._rotation.add(queue)
                self._due.notify()
        return parts

    def run_next(self) -> bool:
        """Wait for a batch and run it; False when there will be none any more."""
        with self._due:
            while (taken := self._rotation.take(now := time.monotonic())) is None:
                due = self._rotation.due
                if self.stopped and due is None:
                    return False
                self._due.wait(None if due is None else min(max(0.0, due - now), threading.TIMEOUT_MAX))
            if self._rotation.due is not None:
                self._due.notify()  # this thread will be busy: another one looks after the rest
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
        """Wait until all that was in these queues, which are closed, has run."""
        with self._idle:
            self._idle.wait_for(lambda: all(queue.idle for queue in queues))

    def stop(self) -> None:
        with self._due:
            self.stopped = True
            self._rotation.close()
            self._due.notify_all()


def _serve(work: _Work) -> None:
    # A call for each batch: its arrays are not kept while the thread waits for the next.
    while work.run_next():
        pass
