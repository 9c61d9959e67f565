"""AsyncMicroBatcher: single calls from many tasks share requests."""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfs_client import forks
from tfs_client.batching.calls import InFlight, checked_batch_size, checked_delay
from tfs_client.batching.collecting import Collector, Request
from tfs_client.batching.examples import example_of
from tfs_client.batching.micro import IN_FLIGHT, shown, waits
from tfs_client.batching.pace import pace_of
from tfs_client.batching.steps import Ended
from tfs_client.codec.snapshots import read_named
from tfs_client.defaults import CallOptions
from tfs_client.errors import ClosedError, ConfigError
from tfs_client.options import UNSET, Unset, checked_timeout
from tfs_client.results import Prediction
from tfs_client.within import whole_milliseconds, within

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncMicroBatcher:
    """The asyncio twin of MicroBatcher: calls from many tasks, an example each, share requests.

    Arguments are those of MicroBatcher, with an AsyncPredictClient. It belongs to the loop of its first call. Use it
    with ``async with``, or await ``close()``.
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
        if isinstance(client, type) or not inspect.iscoroutinefunction(getattr(client, "predict", None)):
            raise ConfigError(
                f"expected an AsyncPredictClient, got {shown(client)}; for a PredictClient there is MicroBatcher"
            )
        self._client = client
        self._options = client._settings.defaults.checked(options)
        self._timeout: float | None = self._options.pop("timeout", client._settings.defaults.timeout)
        shared_inputs = read_named(shared or {}, "shared input", own=True)
        size, delay = checked_batch_size(max_batch_size), checked_delay(max_delay)
        self._collectors: Callable[[], Collector] = lambda: Collector(size, delay, pace_of(in_flight), shared_inputs)
        self._closed = False
        self._start_afresh()
        forks.watch(self)

    def _start_afresh(self) -> None:
        self._collector = self._collectors()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._rings = math.inf  # when the alarm goes off; not every loop's handles say that
        self._idle = asyncio.Event()

    def _abandon(self) -> tuple[Any, ...]:
        """In a forked process: the loop, and what waits in it, are the parent's."""
        left = self._collector, self._loop, self._requests, self._alarm, self._idle
        self._start_afresh()
        return left

    async def predict(self, example: Any, *, timeout: float | Unset | None = UNSET) -> Prediction:
        """The asyncio version of ``MicroBatcher.predict``. The example is copied when the coroutine first runs.
        Cancelling takes it out if it has not been sent.
        """
        return await self._submitted(example, self._limit(timeout))

    def submit(self, example: Any, *, timeout: float | Unset | None = UNSET) -> asyncio.Future[Prediction]:
        """Like ``predict``, but copies the example and returns at once with a future of the running loop."""
        return self._submitted(example, self._limit(timeout))

    async def close(self, timeout: float | None = None) -> None:
        """Awaited twin of ``MicroBatcher.close``."""
        await self._close(checked_timeout(timeout))

    async def _close(self, limit: float | None) -> None:
        self._closed = self._collector.closing = True
        self._turn()
        if not self._collector.idle:
            try:
                await within(self._idle.wait(), limit)
            except TimeoutError:
                self._collector.give_up(ClosedError(f"{self!r} was closed"))
                self._turn()

    async def __aenter__(self) -> AsyncMicroBatcher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close(waits(kind))

    def __reduce__(self) -> str:
        raise TypeError(
            "an AsyncMicroBatcher cannot be pickled, for its callers share requests within one loop: pickle its "
            "client, and make an AsyncMicroBatcher of it in each process"
        )

    def __repr__(self) -> str:
        return f"<AsyncMicroBatcher of {self._client!r}>"

    def _limit(self, timeout: float | Unset | None) -> float | None:
        return self._timeout if timeout is UNSET else checked_timeout(timeout)

    def _submitted(self, example: Any, limit: float | None) -> asyncio.Future[Prediction]:
        row = example_of(example)
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClosedError(f"{self!r} was closed")
        if self._loop is not loop:
            if self._loop is not None and not self._collector.idle:
                raise ConfigError(f"{self!r} has calls of another event loop; make one for each loop")
            self._loop, self._alarm = loop, None
        now = time.monotonic()
        future: asyncio.Future[Prediction] = loop.create_future()
        self._collector.add(row, future, limit, now)
        self._turn()
        return future

    def _turn(self, *ended: Ended) -> None:
        """Do what is to be done now, and set the alarm for what time will bring."""
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        for end in ended:
            self._collector.ended(end, now)
        for request in list(self._collector.requests(now)):
            task = loop.create_task(self._send(request))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        for outcome in self._collector.outcomes():
            outcome.tell()
            if isinstance(outcome.error, ClosedError):  # nobody need hear of it: it says that this was closed
                for caller in outcome.callers:
                    if not caller.future.cancelled():
                        caller.future.exception()
        self._set_alarm(loop, now)
        if self._closed and self._collector.idle:
            self._idle.set()

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        wait = self._collector.wait(now)
        if self._alarm is not None:
            if wait is not None and self._rings <= now + wait:
                return  # soon enough; it sets the next
            self._alarm.cancel()
            self._alarm = None
        if wait is not None:
            self._rings = now + wait
            self._alarm = loop.call_later(whole_milliseconds(wait), self._rang)

    def _rang(self) -> None:
        self._alarm = None
        self._turn()

    async def _send(self, request: Request) -> None:
        job = request.job
        try:
            inputs = self._collector.inputs(request)
            prediction = await self._client._paced(inputs, timeout=request.timeout, **self._options)
        except Exception as error:
            self._turn(Ended(job, None, error))
        except asyncio.CancelledError:  # by the loop, which comes to its end
            closed = ClosedError("the event loop came to its end")
            self._collector.give_up(closed)
            self._turn(Ended(job, None, closed))
            raise
        else:
            self._turn(Ended(job, prediction, None))
