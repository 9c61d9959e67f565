"""ThreadPool: daemon threads that run calls; and the limits on numbers of threads in options."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from tfs_client._printable import shown
from tfs_client.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")

Job = tuple[float, Future[Any], Callable[..., object], tuple[object, ...], dict[str, object]]
Turn = tuple[()]

_TURN: Turn = ()  # a job that means: a function waits for its turn

# TensorFlow Serving accepts any number, and the process aborts when the system cannot create more threads.
MAX_THREADS = 4096

MAX_LENT = 128  # threads beyond a pool's size, in place of those whose functions only wait


class ThreadPool(ThreadPoolExecutor):
    """An executor whose threads are daemons.

    Python joins the threads of its executors at exit, so a model that hangs would keep the program alive. This class is
    a subclass only because gRPC checks for it; it overrides everything.

    A function that only waits does not block others: ``lend`` starts a thread in place of its own. When its wait is
    over, it calls ``wait_for_turn``, or ``leave`` if it has nothing more to do; either of them ends one thread. So at
    most ``size`` functions run at the same time.

    Args:
        size: the maximum number of threads, not counting lent ones. They are started as needed.
        name: the prefix of their names.

    Attributes:
        size: see above.
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._name = name
        self._numbers = count()
        self._jobs: SimpleQueue[Job | Turn | None] = SimpleQueue()
        self._turns: deque[threading.Event] = deque()  # functions that wait for their turn go before all jobs
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []  # type: ignore[assignment]
        self._lent = 0
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in one of the threads. Raises RuntimeError after a shutdown."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._jobs.put((time.monotonic(), future, fn, args, kwargs))
            if not self._idle.acquire(blocking=False) and self._may_grow():
                try:
                    self._start()
                except RuntimeError:  # the system cannot start a thread; the running ones take the job
                    if not self._threads:
                        raise
        return future

    def waiting(self) -> int:
        """Return the number of functions that wait for a thread."""
        return self._jobs.qsize()

    @property
    def lent(self) -> int:
        """The number of threads in place of those whose functions only wait."""
        return self._lent

    def lend(self) -> bool:
        """Start a thread in place of one whose function only waits. False if the limit is reached."""
        with self._lock:
            if self._closed or self._lent >= MAX_LENT:
                return False
            try:
                self._start()
            except RuntimeError:
                return False
            self._lent += 1
            self._idle.release()
            return True

    def wait_for_turn(self) -> None:
        """Return when the calling function, for which a thread was lent, may run in place of another thread."""
        with self._lock:
            if self._closed or (not self._idle.acquire(blocking=False) and self._may_grow()):
                self._lent -= 1
                return
            turn = threading.Event()
            self._turns.append(turn)
            self._jobs.put(_TURN)
        turn.wait()

    def leave(self) -> None:
        """End the calling function's thread with the function. A thread was lent in its place."""
        thread = threading.current_thread()
        assert isinstance(thread, PoolThread)
        thread.surplus = True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more functions. Accepted ones still run, unless ``cancel_futures`` drops those that wait."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                while not self._jobs.empty():
                    job = self._jobs.get()
                    if job:
                        job[1].cancel()
                while self._turns:
                    self._turns.popleft().set()
            self._jobs.put(None)
            threads = list(self._threads)
        if wait:
            for thread in threads:
                thread.join()

    def _may_grow(self) -> bool:
        return len(self._threads) - self._lent < self.size

    def _start(self) -> None:
        thread = PoolThread(self, self._work, f"{self._name}_{next(self._numbers)}")
        thread.start()
        self._threads.append(thread)

    def _ends(self, thread: PoolThread) -> bool:
        """Whether a thread ends, because it is surplus or because a function takes its turn."""
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
                thread.submitted, future, function, args, kwargs = job
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(function(*args, **kwargs))
                    except BaseException as error:
                        future.set_exception(error)
                del future, function, args, kwargs  # so that an idle thread keeps nothing of a call alive
            del job
            if (self._turns or thread.surplus) and self._ends(thread):
                return
            self._idle.release()


class PoolThread(threading.Thread):
    """A thread of a pool.

    Attributes:
        pool: the pool it belongs to.
        submitted: when the function that it runs was submitted, by ``time.monotonic()``.
        surplus: set if it ends with the function that it runs.
    """

    def __init__(self, pool: ThreadPool, work: Callable[[], None], name: str) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self.pool = pool
        self.submitted: float = 0.0
        self.surplus = False


def pool_of_this_thread() -> ThreadPool | None:
    """Return the pool of the current thread; None if it does not belong to one."""
    thread = threading.current_thread()
    return thread.pool if isinstance(thread, PoolThread) else None


def submitted() -> float:
    """Return when the function that this thread runs was submitted to its pool; now, if it does not belong to one."""
    thread = threading.current_thread()
    return thread.submitted if isinstance(thread, PoolThread) else time.monotonic()


def checked_threads(name: str, value: object, least: int, note: str = "") -> None:
    """Raise ConfigError unless the value is a number of threads within the limits."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_THREADS:
        raise ConfigError(f"expected {name} from {least} to {MAX_THREADS}{note}, got {shown(value)}")
