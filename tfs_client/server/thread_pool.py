"""ThreadPool: threads that run calls and do not keep the program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class ThreadPool(ThreadPoolExecutor):
    """An executor whose threads are daemons.

    Python joins the threads of its own executor when a program ends, so a model that does not come back would keep the
    program for as long. It is one of Python's kind because gRPC looks for that; it shares nothing else with it.

    Args:
        size: how many threads there are at most. They are started as they are needed.
        name: what their names begin with.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []  # type: ignore[assignment]
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function in one of the threads. Raises RuntimeError once the pool is shut down."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._jobs.put((future, fn, args, kwargs))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
                self._start()
        return future

    def waiting(self) -> int:
        """How many functions wait for a thread."""
        return self._jobs.qsize()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more functions. Those that were taken run, unless ``cancel_futures`` drops the ones that wait."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                while not self._jobs.empty():
                    job = self._jobs.get()
                    if job is not None:
                        job[0].cancel()
            self._jobs.put(None)
            threads = list(self._threads)
        if wait:
            for thread in threads:
                thread.join()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no thread to give; those that are there take the job
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)  # for the next thread
                return
            future, function, args, kwargs = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)
            del job, future, function, args, kwargs  # what a call holds goes with it
            self._idle.release()
