"""MicroBatcher: single calls from many threads share requests."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfs_client import daemons, forks
from tfs_client.batching.calls import InFlight, checked_batch_size, checked_delay
from tfs_client.batching.collecting import Collector, Outcome, Request
from tfs_client.batching.examples import example_of
from tfs_client.batching.pace import pace_of
from tfs_client.batching.pipeline import Job
from tfs_client.batching.steps import Ended
from tfs_client.codec.snapshots import read_named
from tfs_client.defaults import CallOptions
from tfs_client.errors import ClosedError, ConfigError, DeadlineExceededError
from tfs_client.options import UNSET, Unset, checked_timeout
from tfs_client.results import Prediction

if TYPE_CHECKING:
    from typing_extensions import Unpack

IN_FLIGHT = 8
IDLE = 5.0  # seconds after which the thread that watches the clock ends if nobody calls; the next call starts another
AFTER_ERROR = 1.0  # seconds that the end of a ``with`` block waits for outcomes when an error ends it


def shown(client: Any) -> str:
    """What was given instead of a client, for error texts."""
    return f"the class {client.__name__} itself" if isinstance(client, type) else repr(client)


class MicroBatcher:
    """Lets calls from many threads, an example each, share requests.

    A call waits at most ``max_delay`` for others; a full request goes at once. Examples of different shapes or dtypes
    do not share a request.

    Args:
        client: a PredictClient. It stays open when the batcher is closed.
        max_batch_size: examples in a request, at the most. When the server says that it takes fewer, fewer are sent.
        max_delay: seconds that a call waits for others, at the most, as long as fewer than ``in_flight`` requests are
            under way.
        in_flight: requests that are under way at once, at the most; "auto" finds out how many the server works on.
        shared: inputs that go whole with every request.
        options: those of ``PredictClient.predict``, for all calls.

    May be used from any thread. Use it as a context manager, or call ``close()``. At the end of the block it waits for
    the outcomes of all calls. When an error ends the block, it waits for a second at the most, and not at all when an
    interrupt (Ctrl-C) or an exit does: calls that were not sent by then fail with ClosedError.
    """

    def __init__(
        self,
        client: Any,
        *,
        max_batch_size: int = 32,
        max_delay: float = 0.002,
        in_flight: InFlight = IN_FLIGHT,
        shared: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> None:
        if inspect.iscoroutinefunction(getattr(client, "predict", None)):
            raise ConfigError("expected a PredictClient; for an AsyncPredictClient there is AsyncMicroBatcher")
        if isinstance(client, type) or not hasattr(client, "predict_future"):
            raise ConfigError(f"expected a PredictClient, got {shown(client)}")
        self._client = client
        self._options = client._settings.defaults.checked(options)
        self._timeout: float | None = self._options.pop("timeout", client._settings.defaults.timeout)
        shared_inputs = read_named(shared or {}, "shared input", own=True)
        size, delay = checked_batch_size(max_batch_size), checked_delay(max_delay)
        self._collectors: Callable[[], Collector] = lambda: Collector(size, delay, pace_of(in_flight), shared_inputs)
        self._closed = False
        self._start_afresh()
        forks.watch(self)

    def predict(self, example: Any, *, timeout: float | Unset | None = UNSET) -> Prediction:
        """The model's outputs for one example, without the batch axis.

        Args:
            example: a mapping from input alias to array-like, or one array-like for a model with one input, without
                the batch axis.
            timeout: seconds the call may take, waiting for others included.

        Raises what ``PredictClient.predict`` does. An example that the model refuses fails alone. ConfigError in a
        callback, which keeps answers from coming: use ``submit`` there.
        """
        limit = self._limit(timeout)
        self._check_thread()
        future = self._submitted(example, limit)
        try:
            return future.result(limit)
        except FutureTimeoutError:
            self._turn()  # whose time is over learns what it waited for
            if future.done() and not future.cancelled():  # it came at the last moment, or failed with such an error
                return future.result()
            future.cancel()
            raise DeadlineExceededError(f"no answer within {limit:g} s", "Predict") from None
        except BaseException:
            future.cancel()
            raise

    def submit(self, example: Any, *, timeout: float | Unset | None = UNSET) -> Future[Prediction]:
        """Like ``predict``, but returns at once with a ``concurrent.futures.Future``.

        The example is copied: its arrays are the caller's again. ``cancel()`` takes it out as long as it has not been
        sent. Callbacks should be short.
        """
        return self._submitted(example, self._limit(timeout))

    def close(self, timeout: float | None = None) -> None:
        """Take no more calls, send what waits at once, and return when all have their outcome.

        Args:
            timeout: seconds to wait for that; then calls that wait to be sent fail with ClosedError.

        Raises ConfigError in a callback that keeps the outcomes of others from coming; it is closed all the same.
        """
        self._close(checked_timeout(timeout))

    def _close(self, limit: float | None) -> None:
        with self._changed:
            self._closed = self._collector.closing = True
        self._turn()
        with self._changed:
            if not self._at_rest():
                self._check_thread()
            if not self._changed.wait_for(self._at_rest, limit):
                self._collector.give_up(ClosedError(f"{self!r} was closed"))
        self._turn()

    def __enter__(self) -> MicroBatcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(waits(kind))

    def __reduce__(self) -> str:
        raise TypeError(
            "a MicroBatcher cannot be pickled, for its callers share requests within one process: pickle its client, "
            "and make a MicroBatcher of it in each process"
        )

    def __repr__(self) -> str:
        return f"<MicroBatcher of {self._client!r}>"

    # --- what happens between threads ----------------------------------------------------------------------------

    def _start_afresh(self) -> None:
        self._collector = self._collectors()
        self._changed = threading.Condition()
        self._watch: threading.Thread | None = None
        self._alarm = math.inf  # when the watching thread looks for something to do
        self._telling: list[int] = []  # threads that are telling callers their outcomes

    def _abandon(self) -> tuple[Any, ...]:
        """In a forked process: what the parent's threads wait for is theirs."""
        left = self._collector, self._changed, self._watch
        self._start_afresh()
        return left

    def _check_thread(self) -> None:
        """Raise ConfigError in a thread that would wait for ever for an outcome."""
        if threading.current_thread() is self._watch:
            raise ConfigError(
                "this is a callback of a future, in the thread that watches the clock for all calls: waiting for one "
                "of them here would never end; hand the work to a thread of your own, or use submit"
            )
        self._client._check_thread()

    def _limit(self, timeout: float | Unset | None) -> float | None:
        return self._timeout if timeout is UNSET else checked_timeout(timeout)

    def _submitted(self, example: Any, limit: float | None) -> Future[Prediction]:
        row = example_of(example)
        now = time.monotonic()
        future: Future[Prediction] = Future()
        with self._changed:
            if self._closed:
                raise ClosedError(f"{self!r} was closed")
            self._collector.add(row, future, limit, now)
        forks.watch_future(future)
        self._turn()
        return future

    def _turn(self, *ended: Ended) -> None:
        """Do what is to be done now. Whoever changed something calls this: callers, ended requests, the watch.

        Requests are sent, and callers told, without the lock: both may take a while, and callbacks may call anything.
        """
        ends = list(ended)
        while True:
            now = time.monotonic()
            with self._changed:
                for end in ends:
                    self._collector.ended(end, now)
                requests = list(self._collector.requests(now))
                outcomes = self._collector.outcomes()
                if outcomes:
                    self._telling.append(threading.get_ident())
                self._set_alarm(now)
                unwatched = self._alarm if self._watch is None else math.inf  # no thread could be started
            # What fails at once is dealt with by another round, for there may be more of it than a stack can hold.
            ends = [end for end in map(self._send, requests) if end is not None]
            if outcomes:
                self._tell(outcomes)
            if self._closed:
                with self._changed:
                    self._changed.notify_all()
            if not ends:
                if unwatched == math.inf:
                    return
                time.sleep(max(0.0, unwatched - time.monotonic()))

    def _tell(self, outcomes: list[Outcome]) -> None:
        try:
            for outcome in outcomes:
                outcome.tell()
        finally:
            with self._changed:
                self._telling.remove(threading.get_ident())

    def _at_rest(self) -> bool:
        """Whether nobody waits for an outcome. What this very thread is telling does not count: callbacks may close."""
        return self._collector.idle and set(self._telling) <= {threading.get_ident()}

    def _send(self, request: Request) -> Ended | None:
        """Send a request; returns how it ended if that is known at once."""
        job = request.job
        try:
            inputs = self._collector.inputs(request)
            future = self._client._paced(inputs, timeout=request.timeout, **self._options)
        except Exception as error:
            return Ended(job, None, error)
        if future.done():
            return _end_of(job, future)
        future.add_done_callback(lambda future: self._turn(_end_of(job, future)))
        return None

    def _set_alarm(self, now: float) -> None:
        """See to it that somebody looks for something to do when time has brought it."""
        wait = self._collector.wait(now)
        before, self._alarm = self._alarm, math.inf if wait is None else now + wait
        if self._alarm == math.inf:
            return
        if self._watch is None:
            self._watch = daemons.start(self._watching, "tfs-client-batches")
        elif self._alarm < before:
            self._changed.notify_all()

    def _watching(self) -> None:
        while True:
            with self._changed:
                woken = True
                while (now := time.monotonic()) < self._alarm:
                    if self._alarm == math.inf and (self._closed or not woken):
                        self._watch = None
                        return
                    woken = self._changed.wait(min(IDLE, self._alarm - now))
                self._alarm = math.inf
            self._turn()


def waits(kind: type[BaseException] | None) -> float | None:
    """Seconds that the end of a ``with`` block waits for outcomes: few after an error, none after an interrupt."""
    if kind is None:
        return None
    return AFTER_ERROR if issubclass(kind, Exception) else 0


def _end_of(job: Job[Any], future: Future[Prediction]) -> Ended:
    error = ClosedError("the client was closed") if future.cancelled() else future.exception()
    return Ended(job, None if error else future.result(), error)
