"""StageRun: one stage in one event loop.

Which requests count. Latencies, errors and wrong answers are those of the requests that are meant to start within the
measured time, [0, seconds), so that a slow answer cannot leave the figures by coming late: at the end of the measured
time the run sends nothing more and waits for the requests under way. In a closed loop a request is meant to start when
its caller has the answer to the last one. Throughput and goodput count the answers that arrive within the measured
time, also those to requests of the warm-up: answers to an overload that arrive later would exceed the capacity.

An open loop takes its intended starts from a schedule and sends what is due. If ``in_flight`` requests are under way,
those that are due wait in the schedule, where they take no memory; the end of a request sends the next. Their latency
counts from the intended start all the same. Those that still wait at the end of the measured time are ``unsent``.

All times are those of the event loop, so that tests run stages in simulated time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from time import process_time
from typing import Any, NamedTuple

from tfs_client.aio import AsyncPredictClient
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.measuring import Measuring
from tfs_client.cli.bench.queries import Answer, Query
from tfs_client.cli.bench.schedules import Schedule, Share, in_turn, schedule
from tfs_client.cli.bench.stages import ClosedLoop, Enough, Progress, RecordedPace, Stage
from tfs_client.errors import CallError, DecodeError, StatusCode

TICK = 0.25  # seconds between two reports of progress
EARLY = 1e-9  # seconds by which a timer may be early: what asyncio allows itself, and what rounding adds
UNREADABLE = "UNREADABLE"  # the key, in ``Measured.errors``, of replies that cannot be parsed


class Limits(NamedTuple):
    """What bounds the work of a process.

    Attributes:
        in_flight: how many requests of an open loop or a recording may be under way.
        checked: the share of answers, 0 to 1, that are compared with the reference. The others count as correct.
        patience: seconds after the end of a stage until requests that have no answer are cancelled.
    """

    in_flight: int
    checked: float
    patience: float


class StageRun:
    """Sends the requests of a stage and measures them. Made and used in the event loop's thread."""

    def __init__(
        self,
        stage: Stage,
        client: AsyncPredictClient,
        queries: Sequence[Query],
        share: Share,
        limits: Limits,
        *,
        progress: Progress | None,
        enough: Enough | None,
    ) -> None:
        self._stage = stage
        self._client = client
        self._queries = in_turn(stage, queries, share)
        self._schedule: Schedule | None = schedule(stage, queries, share)
        self._callers = share.part(stage.load.concurrency) if isinstance(stage.load, ClosedLoop) else 0
        self._in_flight = share.part(limits.in_flight)
        self._limits = limits
        self._progress = progress
        self._enough = enough
        self._measuring = Measuring(stage.bound)
        self._seconds = stage.seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0  # of a schedule
        self._held = False  # requests are due, but too many are under way
        self._given_up = False
        self._unchecked = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._cpu_before: float | None = None
        self._cpu = 0.0

    async def run(self, start: float | None = None) -> Measured:
        """Run the stage; ``start``: when its warm-up begins, in the loop's time.

        Raises what a query raises if it cannot be sent, and what ``progress`` and ``enough`` raise.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._time = loop.time
        self._over: asyncio.Future[None] = loop.create_future()
        begin = loop.time() if start is None else start
        self._origin = begin + self._stage.warmup
        self._set_timer("measure", self._origin, self._measure)
        self._set_timer("end", self._origin + self._seconds, self._end)
        if self._schedule is None:
            self._set_timer("start", begin, self._start_callers)
        else:
            self._set_timer("start", begin, self._send_due)
        try:
            await self._over
            await self._finish()
        finally:
            for timer in self._timers.values():
                timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._over.result()
        unsent = self._schedule.rest(self._seconds) if self._schedule is not None else 0
        return self._measuring.snapshot(self._seconds, self._cpu, unsent)

    def end(self, seconds: float) -> None:
        """End the stage so many seconds after the start of the measured time, or now if that is later."""
        if not self._over.done():
            now = self._time() - self._origin
            self._seconds = min(self._seconds, max(seconds, now, 0.0))
            if self._seconds <= now:
                self._end()
            else:
                self._set_timer("end", self._origin + self._seconds, self._end)

    # --- what the timers call ------------------------------------------------------------------------------------

    def _set_timer(self, name: str, when: float, call: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._loop.call_at(when, self._called, call)

    def _called(self, call: Callable[[], None]) -> None:
        """Call, so that an error ends the stage."""
        try:
            call()
        except Exception as error:
            self._fail(error)

    def _measure(self) -> None:
        self._cpu_before = process_time()
        if self._progress is not None or self._enough is not None:
            self._set_timer("tick", self._origin + TICK, self._tick)

    def _tick(self) -> None:
        if self._over.done():
            return
        now = self._time()
        self._set_timer("tick", now + TICK, self._tick)
        measured = self._measuring.snapshot(min(self._seconds, now - self._origin), self._cpu_used())
        if self._progress is not None:
            self._progress(measured)
        if self._enough is not None and self._enough(measured):
            self.end(0.0)

    def _end(self) -> None:
        if self._schedule is not None and not self._over.done():
            self._send_overdue(self._schedule)  # this timer may be late, or come before that of a request
        if not self._over.done():
            self._cpu = self._cpu_used()
            self._over.set_result(None)

    def _cpu_used(self) -> float:
        return 0.0 if self._cpu_before is None else process_time() - self._cpu_before

    def _fail(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)
        elif self._over.exception() is None:
            self._over = self._loop.create_future()
            self._over.set_exception(error)

    async def _finish(self) -> None:
        """Wait for the requests under way, and give up those without an answer after the patience."""
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=self._limits.patience)
            self._given_up = True
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=self._limits.patience)

    # --- requests ------------------------------------------------------------------------------------------------

    def _start_callers(self) -> None:
        for _ in range(self._callers):
            self._start(self._call_on())

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail(error)

    async def _call_on(self) -> None:
        """A caller of a closed loop."""
        while not self._over.done() and (start := self._time() - self._origin) < self._seconds:
            await self._send(next(self._queries), start)

    def _send_due(self) -> None:
        """Send the requests that are due, and set a timer for the next."""
        schedule = self._schedule
        if schedule is None or self._over.done():
            return
        self._send_overdue(schedule)
        if self._held:
            return  # the end of a request continues
        if schedule.due < self._seconds:
            self._set_timer("start", self._origin + schedule.due, self._send_due)
        elif not self._under_way and isinstance(self._stage.load, RecordedPace):
            self._end_with_recording()

    def _send_overdue(self, schedule: Schedule) -> None:
        now = self._time() - self._origin + EARLY
        while (due := schedule.due) <= now and due < self._seconds:
            if self._under_way >= self._in_flight:
                self._held = True
                return
            self._under_way += 1
            self._start(self._send_scheduled(next(self._queries), schedule.take()))
        self._held = False

    async def _send_scheduled(self, query: Query, start: float) -> None:
        try:
            await self._send(query, start)
        finally:
            self._under_way -= 1
        if self._held:
            self._send_due()
        elif not self._under_way and isinstance(self._stage.load, RecordedPace):
            self._end_with_recording()

    def _end_with_recording(self) -> None:
        if self._schedule is not None and self._schedule.due == math.inf:
            self.end(0.0)

    async def _send(self, query: Query, start: float) -> None:
        """Send a request that is meant to start then, in seconds of the measured time, and count what it gives."""
        measuring = self._measuring
        counts = 0 <= start < self._seconds
        measuring.sent += counts
        time = self._time
        sent = time()
        try:
            answer = await query.send(self._client)
        except CallError as error:
            if counts:
                measuring.failed(error.code.name, error)
            await asyncio.sleep(0)  # an error that needs no waiting must not keep the loop from all else
        except DecodeError as error:
            if counts:
                measuring.failed(UNREADABLE, error)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if counts:
                measuring.failed(StatusCode.CANCELLED.name, self._cancelled())
            raise
        else:
            done = time()
            arrival = done - self._origin
            arrived = 0 < arrival <= self._seconds
            if counts or arrived:
                latency = arrival - start
                difference = self._difference(query, answer)
                if arrived:
                    measuring.arrived_at(arrival, latency, difference, of_warmup=start < 0)
                if counts:
                    measuring.answered(start, latency, done - sent, answer.timing, query.rows)
                    if difference:
                        measuring.wrong(latency, difference)

    def _difference(self, query: Query, answer: Answer) -> str:
        """Compare an answer with the reference, after the end of its latency."""
        self._unchecked += self._limits.checked
        if self._unchecked < 1:
            return ""
        self._unchecked -= 1
        return query.difference(answer)

    def _cancelled(self) -> str:
        if not self._given_up:
            return "the call was cancelled"
        return (
            f"no answer within {self._limits.patience:g} s after the end of the stage; "
            "the request was cancelled, because its timeout is longer"
        )
