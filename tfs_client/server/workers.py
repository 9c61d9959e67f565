"""Workers: threads for loads and unloads, so that a slow one holds nobody else up."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

log = logging.getLogger("tfs_client.server")

Job = Callable[[], None]


class Workers:
    """Runs jobs in threads, the jobs of one lane in their order.

    Args:
        limit: how many jobs run at the same time, whichever model they are for; 0: one of each model.
        name: what the threads are called.

    A thread ends when its lane is empty. Threads are daemons: a job that hangs does not keep the process from ending.
    While the system has no thread to give, jobs wait; ``submit``, ``staff`` and ``join`` try again.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._lanes: defaultdict[str, deque[Job]] = defaultdict(deque)
        self._threads: defaultdict[str, set[threading.Thread]] = defaultdict(set)

    def submit(self, model: str, job: Job) -> None:
        """Run a job for a model when its turn comes; returns at once."""
        with self._lock:
            self._lanes["" if self._limit else model].append(job)
        self.staff()

    def staff(self) -> None:
        """Start one more thread for every lane that has jobs waiting and may have one more."""
        with self._lock:
            for lane in [lane for lane, jobs in self._lanes.items() if jobs]:
                if len(self._threads[lane]) < max(self._limit, 1):
                    self._start_thread(lane)

    def _start_thread(self, lane: str) -> None:
        thread = threading.Thread(target=self._run, args=(lane,), name=self._name, daemon=True)
        self._threads[lane].add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the system has none to give
            self._threads[lane].discard(thread)
            log.error("%s: %s; %d job(s) wait for a thread", self._name, error, len(self._lanes[lane]))

    def _run(self, lane: str) -> None:
        while (job := self._next(lane)) is not None:
            try:
                job()
            except BaseException:  # also SystemExit: those who come after it need the thread
                log.exception("%s failed", self._name)
            del job  # what it holds, a servable perhaps, must not live on in a thread that waits for its lock

    def _next(self, lane: str) -> Job | None:
        with self._lock:
            if self._lanes[lane]:
                return self._lanes[lane].popleft()
            self._threads[lane].discard(threading.current_thread())
            if not self._threads[lane]:
                del self._threads[lane], self._lanes[lane]
            return None

    def join(self, timeout: float) -> bool:
        """Wait until all jobs are done; False when that took longer than ``timeout`` seconds, or threads lack."""
        end = time.monotonic() + timeout
        self.staff()
        while running := self._running():
            running[0].join(max(0.0, end - time.monotonic()))
            if running[0].is_alive():
                return False
            self.staff()
        return not self._lanes

    def _running(self) -> list[threading.Thread]:
        with self._lock:
            threads = {thread for threads in self._threads.values() for thread in threads}
            return [*threads - {threading.current_thread()}]
