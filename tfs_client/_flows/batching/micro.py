"""MicroBatcher: single calls from many threads share requests."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfs_client._codec.snapshots import read_named
from tfs_client._flows import forks
from tfs_client._flows.batching.arguments import InFlight, checked_batch_size, checked_delay
from tfs_client._flows.batching.batch_steps import Ended
from tfs_client._flows.batching.concurrency_limit import concurrency_limit
from tfs_client._flows.batching.example_rows import read_example
from tfs_client._flows.batching.pipeline import Job
from tfs_client._flows.batching.request_sender import BatchClient
from tfs_client._flows.batching.shared_requests import GRACE, Delivery, Request, SharedRequests
from tfs_client._flows.tracebacks import ResultFuture, short_tracebacks
from tfs_client._transports import daemon_threads
from tfs_client.errors import ClosedError, ConfigError, DeadlineExceededError
from tfs_client.options import UNSET, CallOptions, Unset, checked_timeout
from tfs_client.results import Prediction

if TYPE_CHECKING:
    from typing_extensions import Unpack

IN_FLIGHT = 8
IDLE = 5.0  # seconds without calls after which the timer thread ends; the next call starts another
AFTER_ERROR = 1.0  # seconds that the end of a ``with`` block waits for outcomes when an error ends it


def described(client: object) -> str:
    """An argument that is not a client, for error texts."""
    return f"the class {client.__name__} itself" if isinstance(client, type) else repr(client)


@short_tracebacks()
class MicroBatcher:
    """Combines calls from many threads, each with one example, into batched requests.

    A call waits at most ``max_delay`` for others; a full request is sent at once. Examples of different shapes or
    dtypes do not share a request.

    Args:
        client: a PredictClient. It stays open when the batcher is closed.
        max_batch_size: maximum examples in a request. When the server reports a lower limit, requests shrink to it.
        max_delay: maximum seconds that a call waits for others while fewer than ``in_flight`` requests are under way.
        in_flight: maximum number of requests under way at once; "auto" finds out how many the server works on.
        shared: inputs that are sent whole with every request.
        options: those of ``PredictClient.predict``, for all calls.

    All methods may be called from any thread. Use the batcher as a context manager, or call ``close()``. The end of the
    block waits for the outcomes of all calls. If an error ends the block, it waits for at most one second; if an
    interrupt (Ctrl-C) or an exit does, it does not wait. Calls that were not sent by then fail with ClosedError.
    """

    def __init__(
        self,
        client: BatchClient,
        *,
        max_batch_size: int = 32,
        max_delay: float = 0.002,
        in_flight: InFlight = IN_FLIGHT,
        shared: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> None:
        if inspect.iscoroutinefunction(getattr(client, "predict", None)):
            raise ConfigError(
                f"expected a PredictClient, got {described(client)}; use AsyncMicroBatcher with an AsyncPredictClient"
            )
        if isinstance(client, type) or not hasattr(client, "_request_sender"):
            raise ConfigError(f"expected a PredictClient, got {described(client)}")
        self._client = client
        self._sender = sender = client._request_sender(options)
        shared_inputs = read_named(shared or {}, "shared input", own=True)
        size, delay = checked_batch_size(max_batch_size), checked_delay(max_delay)

        def new_requests() -> SharedRequests:
            limit = concurrency_limit(in_flight)
            return SharedRequests(size, delay, limit, shared_inputs, sender.request_arrays)

        self._new_requests = new_requests
        self._closed = False
        self._start_afresh()
        forks.watch(self)

    def predict(self, example: object, *, timeout: float | Unset | None = UNSET) -> Prediction:
        """Run the model on one example; returns its outputs, without the batch axis.

        Args:
            example: a mapping from input alias to array-like, or one array-like for a model with one input, without
                the batch axis.
            timeout: seconds the call may take, including the wait for others.

        Raises what ``PredictClient.predict`` does. An example that the model refuses fails alone. Raises ConfigError in
        a callback, which would keep answers from arriving: use ``submit`` there.
        """
        limit = self._limit(timeout)
        self._check_thread()
        future = self._submitted(example, limit)
        try:
            return future.result(None if limit is None else limit + GRACE)
        except FutureTimeoutError:
            self._turn()  # fails calls whose deadline has passed, with the reason
            wait([future], GRACE)  # another thread may be delivering its outcome
            if future.done() and not future.cancelled():
                return future.result()
            future.cancel()
            raise DeadlineExceededError(f"no answer within {limit:g} s", "Predict") from None
        except BaseException:
            future.cancel()
            raise

    def submit(self, example: object, *, timeout: float | Unset | None = UNSET) -> Future[Prediction]:
        """Like ``predict``, but returns at once with a ``concurrent.futures.Future``.

        The example is copied, so the caller may change its arrays. ``cancel()`` withdraws the call if it has not been
        sent. Callbacks should be short.
        """
        return self._submitted(example, self._limit(timeout))

    def close(self, timeout: float | None = None) -> None:
        """Refuse new calls, send the waiting ones at once, and return when all have their outcome.

        Args:
            timeout: seconds to wait for that; then calls that still wait to be sent fail with ClosedError.

        Raises ConfigError in a callback that keeps other outcomes from arriving; the batcher is closed nevertheless.
        """
        self._close(checked_timeout(timeout))

    def _close(self, limit: float | None) -> None:
        with self._changed:
            self._closed = self._requests.closing = True
        self._turn()
        with self._changed:
            if not self._all_delivered():
                self._check_thread()
            if not self._changed.wait_for(self._all_delivered, limit):
                self._requests.fail_waiting(ClosedError(f"{self!r} was closed"))
        self._turn()

    def __enter__(self) -> MicroBatcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(exit_timeout(kind))

    def __reduce__(self) -> str:
        raise TypeError(
            "a MicroBatcher cannot be pickled, because its callers share requests within one process: pickle its "
            "client, and create a MicroBatcher from it in each process"
        )

    def __repr__(self) -> str:
        return f"<MicroBatcher of {self._client!r}>"

    # --- between threads -----------------------------------------------------------------------------------------

    # No thread does the sending. Whoever changes something takes a *turn* (``_turn``): a caller that adds an example, a
    # thread in which a request ends, and a timer thread for what time alone changes (a delay or a deadline that has
    # passed, a pause that is over). A turn records what has ended, takes from ``SharedRequests`` what is to be sent and
    # delivered now, sets the alarm for what time will change next, and then sends and delivers. So an example that
    # fills a request is sent by its caller's thread, without a switch to another.
    #
    # What must hold:
    #
    # - Every change of ``SharedRequests`` happens under the lock, and what a turn takes from it is handed out once. So
    #   concurrent turns neither lose nor repeat anything.
    # - Nothing is sent or delivered under the lock: both take time, and a callback may call or close this batcher.
    # - The stack stays flat. Requests that fail at once are recorded by another round of the loop, not by a recursive
    #   turn: there may be more of them than a stack can hold.
    # - The alarm is never later than the next change by time. The timer thread starts with the first alarm and ends
    #   after ``IDLE`` seconds without one, or at once after ``close``. If no thread can be started, because the program
    #   ends, the turn that would need it waits for the alarm itself: no other would come.
    # - ``close`` returns when nothing waits, nothing is under way, and no other thread is delivering.

    def _start_afresh(self) -> None:
        self._requests = self._new_requests()
        self._changed = threading.Condition()
        self._timer: threading.Thread | None = None
        self._alarm = math.inf  # when the timer thread takes a turn
        self._delivering: list[int] = []  # threads that are delivering outcomes

    def _abandon(self) -> tuple[object, ...]:
        """In a forked process: leave what waits to the parent, whose threads do not exist here."""
        left = self._requests, self._changed, self._timer
        self._start_afresh()
        return left

    def _check_thread(self) -> None:
        """Raise ConfigError in a thread in which waiting for an outcome would never end."""
        if threading.current_thread() is self._timer:
            raise ConfigError(
                "this future's callback runs in the timer thread shared by all calls, so waiting for one of them here "
                "would deadlock; move the work to another thread, or use submit"
            )
        self._sender.check_thread()

    def _limit(self, timeout: float | Unset | None) -> float | None:
        return self._sender.timeout if timeout is UNSET else checked_timeout(timeout)

    def _submitted(self, example: object, limit: float | None) -> Future[Prediction]:
        row = read_example(example)
        now = time.monotonic()
        future: Future[Prediction] = ResultFuture()
        with self._changed:
            if self._closed:
                raise ClosedError(f"{self!r} was closed")
            self._requests.add(row, future, limit, now)
        forks.watch_future(future)
        self._turn()
        return future

    def _turn(self, *ended: Ended) -> None:
        """Record ended requests, then send and deliver what is due now."""
        ends = list(ended)
        while True:
            now = time.monotonic()
            with self._changed:
                for end in ends:
                    self._requests.ended(end, now)
                requests = list(self._requests.due(now))
                deliveries = self._requests.deliveries()
                if deliveries:
                    self._delivering.append(threading.get_ident())
                self._set_alarm(now)
                untimed = self._alarm if self._timer is None else math.inf  # no thread could be started
            ends = [end for end in map(self._send, requests) if end is not None]
            if deliveries:
                self._deliver(deliveries)
            if self._closed:
                with self._changed:
                    self._changed.notify_all()
            if not ends:
                if untimed == math.inf:
                    return
                time.sleep(max(0.0, untimed - time.monotonic()))

    def _deliver(self, deliveries: list[Delivery]) -> None:
        try:
            for delivery in deliveries:
                delivery.deliver()
        finally:
            with self._changed:
                self._delivering.remove(threading.get_ident())

    def _all_delivered(self) -> bool:
        """Whether all outcomes are delivered, except by this thread itself: a callback may close the batcher."""
        return self._requests.idle and set(self._delivering) <= {threading.get_ident()}

    def _send(self, request: Request) -> Ended | None:
        """Send a request; returns its end if that is known at once."""
        job = request.job
        try:
            inputs = self._requests.inputs(request)
            future = self._sender.begin(inputs, request.timeout, request.batch, request.attempt)
        except Exception as error:
            return Ended(job, None, error)
        if future.done():
            return _end_of(job, future)
        future.add_done_callback(lambda future: self._turn(_end_of(job, future)))
        return None

    def _set_alarm(self, now: float) -> None:
        """Have the timer thread take a turn when time will change something."""
        pause = self._requests.wait(now)
        before, self._alarm = self._alarm, math.inf if pause is None else now + pause
        if self._alarm == math.inf:
            return
        if self._timer is None:
            self._timer = daemon_threads.start(self._run_timer, "tfs-client-batches")
        elif self._alarm < before:
            self._changed.notify_all()

    def _run_timer(self) -> None:
        while True:
            with self._changed:
                woken = True
                while (now := time.monotonic()) < self._alarm:
                    if self._alarm == math.inf and (self._closed or not woken):
                        self._timer = None
                        return
                    woken = self._changed.wait(min(IDLE, self._alarm - now))
                self._alarm = math.inf
            self._turn()


def exit_timeout(kind: type[BaseException] | None) -> float | None:
    """Seconds that the end of a ``with`` block waits for outcomes; None: until all are there."""
    if kind is None:
        return None
    return AFTER_ERROR if issubclass(kind, Exception) else 0


def _end_of(job: Job[Any], future: Future[Prediction]) -> Ended:
    error = ClosedError("the client was closed") if future.cancelled() else future.exception()
    return Ended(job, None if error else future.result(), error)
