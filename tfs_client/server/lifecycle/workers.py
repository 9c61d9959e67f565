"""Workers: threads for loads and unloads, so that a slow load does not delay other models."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

log: logging.Logger = logging.getLogger("tfs_client.server")

Job = Callable[[], None]


class Workers:
    """Runs jobs in threads: the jobs of one queue are started in order, those of different queues side by side.

    Args:
        limit: the number of jobs that run at the same time, from one queue for all models; 0: each model has its own
            queue, and one job of each runs at a time.
        name: the name of the threads.

    A thread ends when its queue is empty. Threads are daemons, so a job that hangs does not keep the process alive.
    If the system cannot start a thread, jobs wait; ``submit``, ``start_threads`` and ``join`` try again.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._queues: defaultdict[str, deque[Job]] = defaultdict(deque)
        self._threads: defaultdict[str, set[threading.Thread]] = defaultdict(set)

    def submit(self, model: str, job: Job) -> None:
        """Queue a job for a model. Does not wait for it."""
        with self._lock:
            self._queues["" if self._limit else model].append(job)
        self.start_threads()

    def start_threads(self) -> None:
        """Start another thread for every queue that has waiting jobs and fewer threads than its limit."""
        with self._lock:
            for key in [key for key, jobs in self._queues.items() if jobs]:
                if len(self._threads[key]) < max(self._limit, 1):
                    self._start_thread(key)

    def _start_thread(self, key: str) -> None:
        thread = threading.Thread(target=self._run, args=(key,), name=self._name, daemon=True)
        self._threads[key].add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the system cannot start another thread
            self._threads[key].discard(thread)
            log.error("%s: %s; %d job(s) wait for a thread", self._name, error, len(self._queues[key]))

    def _run(self, key: str) -> None:
        while (job := self._next(key)) is not None:
            try:
                job()
            except BaseException:  # also SystemExit: later jobs need the thread
                log.exception("%s failed", self._name)
            del job  # so that a waiting thread does not keep alive what the job refers to, such as a servable

    def _next(self, key: str) -> Job | None:
        with self._lock:
            if self._queues[key]:
                return self._queues[key].popleft()
            self._threads[key].discard(threading.current_thread())
            if not self._threads[key]:
                del self._threads[key], self._queues[key]
            return None

    def join(self, timeout: float) -> bool:
        """Wait until all jobs are done. False after ``timeout`` seconds, or if threads cannot be started."""
        end = time.monotonic() + timeout
        self.start_threads()
        while running := self._running():
            running[0].join(max(0.0, end - time.monotonic()))
            if running[0].is_alive():
                return False
            self.start_threads()
        return not self._queues

    def _running(self) -> list[threading.Thread]:
        with self._lock:
            threads = {thread for threads in self._threads.values() for thread in threads}
            return [*threads - {threading.current_thread()}]
