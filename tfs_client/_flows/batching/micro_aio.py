"""AsyncMicroBatcher: single calls from many tasks share requests."""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from tfs_client._codec.snapshots import read_named
from tfs_client._flows import forks
from tfs_client._flows.batching.arguments import InFlight, checked_batch_size, checked_delay
from tfs_client._flows.batching.batch_steps import Ended
from tfs_client._flows.batching.concurrency_limit import concurrency_limit
from tfs_client._flows.batching.example_rows import read_example
from tfs_client._flows.batching.micro import IN_FLIGHT, described, exit_timeout
from tfs_client._flows.batching.request_sender_aio import AsyncBatchClient
from tfs_client._flows.batching.shared_requests import Request, SharedRequests
from tfs_client._flows.tracebacks import short_tracebacks
from tfs_client._transports.within import whole_milliseconds, within
from tfs_client.errors import ClosedError, ConfigError
from tfs_client.options import UNSET, CallOptions, Unset, checked_timeout
from tfs_client.results import Prediction

if TYPE_CHECKING:
    from typing_extensions import Unpack


@short_tracebacks()
class AsyncMicroBatcher:
    """The asyncio version of MicroBatcher: calls from many tasks, each with one example, share requests.

    Arguments are those of MicroBatcher, with an AsyncPredictClient. It belongs to the event loop of its first call. Use
    it with ``async with``, or await ``close()``.
    """

    def __init__(
        self,
        client: AsyncBatchClient,
        *,
        max_batch_size: int = 32,
        max_delay: float = 0.002,
        in_flight: InFlight = IN_FLIGHT,
        shared: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> None:
        is_async = inspect.iscoroutinefunction(getattr(client, "predict", None))
        if isinstance(client, type) or not is_async or not hasattr(client, "_request_sender"):
            raise ConfigError(
                f"expected an AsyncPredictClient, got {described(client)}; use MicroBatcher with a PredictClient"
            )
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

    def _start_afresh(self) -> None:
        self._requests = self._new_requests()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf  # remembered here, because the timer handles of some loops do not say
        self._idle = asyncio.Event()

    def _abandon(self) -> tuple[object, ...]:
        """In a forked process: leave the loop, and what waits in it, to the parent."""
        left = self._requests, self._loop, self._tasks, self._alarm, self._idle
        self._start_afresh()
        return left

    async def predict(self, example: object, *, timeout: float | Unset | None = UNSET) -> Prediction:
        """The asyncio version of ``MicroBatcher.predict``.

        The example is copied when the coroutine first runs. Cancelling the task withdraws it if it has not been sent.
        """
        return await self._submitted(example, self._limit(timeout))

    def submit(self, example: object, *, timeout: float | Unset | None = UNSET) -> asyncio.Future[Prediction]:
        """Like ``predict``, but copies the example and returns at once, with a future of the running loop."""
        return self._submitted(example, self._limit(timeout))

    async def close(self, timeout: float | None = None) -> None:
        """The asyncio version of ``MicroBatcher.close``."""
        await self._close(checked_timeout(timeout))

    async def _close(self, limit: float | None) -> None:
        self._closed = self._requests.closing = True
        self._turn()
        if not self._requests.idle:
            try:
                await within(self._idle.wait(), limit)
            except TimeoutError:
                self._requests.fail_waiting(ClosedError(f"{self!r} was closed"))
                self._turn()

    async def __aenter__(self) -> AsyncMicroBatcher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close(exit_timeout(kind))

    def __reduce__(self) -> str:
        raise TypeError(
            "an AsyncMicroBatcher cannot be pickled, because its callers share requests within one loop: pickle its "
            "client, and create an AsyncMicroBatcher from it in each process"
        )

    def __repr__(self) -> str:
        return f"<AsyncMicroBatcher of {self._client!r}>"

    def _limit(self, timeout: float | Unset | None) -> float | None:
        return self._sender.timeout if timeout is UNSET else checked_timeout(timeout)

    def _submitted(self, example: object, limit: float | None) -> asyncio.Future[Prediction]:
        row = read_example(example)
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClosedError(f"{self!r} was closed")
        if self._loop is not loop:
            if self._loop is not None and not self._requests.idle:
                raise ConfigError(f"{self!r} still has calls from another event loop; create one for each loop")
            self._loop, self._alarm = loop, None
        now = time.monotonic()
        future: asyncio.Future[Prediction] = loop.create_future()
        self._requests.add(row, future, limit, now)
        self._turn()
        return future

    def _turn(self, *ended: Ended) -> None:
        """Record ended requests, send and deliver what is due now, and set the alarm for what time will change next."""
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        for end in ended:
            self._requests.ended(end, now)
        for request in list(self._requests.due(now)):
            task = loop.create_task(self._send(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for delivery in self._requests.deliveries():
            delivery.deliver()
            if isinstance(delivery.error, ClosedError):  # retrieve it, or asyncio would log it: closing was deliberate
                for caller in delivery.callers:
                    if not caller.future.cancelled():
                        caller.future.exception()
        self._set_alarm(loop, now)
        if self._closed and self._requests.idle:
            self._idle.set()

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        wait = self._requests.wait(now)
        if self._alarm is not None:
            if wait is not None and self._alarm_at <= now + wait:
                return  # soon enough; that turn sets the next
            self._alarm.cancel()
            self._alarm = None
        if wait is not None:
            self._alarm_at = now + wait
            self._alarm = loop.call_later(whole_milliseconds(wait), self._alarm_due)

    def _alarm_due(self) -> None:
        self._alarm = None
        self._turn()

    async def _send(self, request: Request) -> None:
        job = request.job
        try:
            inputs = self._requests.inputs(request)
            prediction = await self._sender.send(inputs, request.timeout, request.batch, request.attempt)
        except Exception as error:
            self._turn(Ended(job, None, error))
        except asyncio.CancelledError:  # by the loop, which is being closed
            closed = ClosedError("the event loop was closed")
            self._requests.fail_waiting(closed)
            self._turn(Ended(job, None, closed))
            raise
        else:
            self._turn(Ended(job, prediction, None))
