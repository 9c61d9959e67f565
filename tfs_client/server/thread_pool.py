"""ThreadPool: threads that run calls and do not keep the program from ending."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from queue import SimpleQueue
from typing import Any

Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]
Turn = tuple[()]

_TURN: Turn = ()  # among the jobs: a function waits for its turn

MOST_LENT = 128  # threads that a pool has beyond its size, for functions that only wait


class ThreadPool(ThreadPoolExecutor):
    """An executor whose threads are daemons.

    Python joins the threads of its own executor when a program ends, so a model that does not come back would keep the
    program for as long. It is one of Python's kind because gRPC looks for that; it shares nothing else with it.

    A function that only waits need not hold up the others: ``lend`` starts a thread in place of its own. Once it has
    waited long enough it calls ``wait_for_turn``, or ``leave`` if it has nothing more to do; either of them ends one
    thread. So never more than ``size`` functions run at the same time.

    Args:
        size: how many threads there are at most, apart from those lent. They are started as they are needed.
        name: what their names begin with.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._numbers = count()
        self._jobs: SimpleQueue[Job | Turn | None] = SimpleQueue()
        self._turns: deque[threading.Event] = deque()  # those who wait for them go before all jobs
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []  # type: ignore[assignment]
        self._lent = 0
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function in one of the threads. Raises RuntimeError once the pool is shut down."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._jobs.put((future, fn, args, kwargs))
            if not self._idle.acquire(blocking=False) and self._has_room():
                try:
                    self._start()
                except RuntimeError:  # the system has no thread to give; those that are there take the job
                    if not self._threads:
                        raise
        return future

    def waiting(self) -> int:
        """How many functions wait for a thread."""
        return self._jobs.qsize()

    def lend(self) -> bool:
        """Start a thread in place of one whose function only waits. False: there are too many already."""
        with self._lock:
            if self._closed or self._lent >= MOST_LENT:
                return False
            try:
                self._start()
            except RuntimeError:
                return False
            self._lent += 1
            self._idle.release()
            return True

    def wait_for_turn(self) -> None:
        """Called by a function for which a thread was lent: return when it may run, in place of another thread."""
        with self._lock:
            if self._closed or (not self._idle.acquire(blocking=False) and self._has_room()):
                self._lent -= 1
                return
            turn = threading.Event()
            self._turns.append(turn)
            self._jobs.put(_TURN)
        turn.wait()

    def leave(self) -> None:
        """Called by a function for which a thread was lent: its own ends as soon as the function does."""
        thread = threading.current_thread()
        assert isinstance(thread, PoolThread)
        thread.surplus = True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more functions. Those that were taken run, unless ``cancel_futures`` drops the ones that wait."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                while not self._jobs.empty():
                    job = self._jobs.get()
                    if job:
                        job[0].cancel()
                while self._turns:
                    self._turns.popleft().set()
            self._jobs.put(None)
            threads = list(self._threads)
        if wait:
            for thread in threads:
                thread.join()

    def _has_room(self) -> bool:
        return len(self._threads) - self._lent < self._size

    def _start(self) -> None:
        thread = PoolThread(self, self._work, f"{self._name}_{next(self._numbers)}")
        thread.start()
        self._threads.append(thread)

    def _ends(self, thread: PoolThread) -> bool:
        """Whether a thread ends: it is surplus, or a function takes its turn instead."""
        with self._lock:
            if not thread.surplus:
                if not self._turns:
                    return False
                self._turns.popleft().set()
            self._threads.remove(thread)
            self._lent -= 1
            return True

    def _work(self) -> None:
        thread = threading.current_thread()
        assert isinstance(thread, PoolThread)
        while True:
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)  # for the next thread
                return
            if job:
                future, function, args, kwargs = job
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(function(*args, **kwargs))
                    except BaseException as error:
                        future.set_exception(error)
                del future, function, args, kwargs  # what a call holds goes with it
            del job
            if (self._turns or thread.surplus) and self._ends(thread):
                return
            self._idle.release()


class PoolThread(threading.Thread):
    """A thread of a pool.

    Attributes:
        pool: whose it is.
        surplus: set when it shall end with the function that it runs.
    """

    def __init__(self, pool: ThreadPool, work: Callable[[], None], name: str) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self.pool = pool
        self.surplus = False


def pool_of_this_thread() -> ThreadPool | None:
    """The pool that the current thread belongs to; None if it is not a pool's."""
    thread = threading.current_thread()
    return thread.pool if isinstance(thread, PoolThread) else None
