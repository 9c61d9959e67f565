"""Engine: a load generator in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from tfs_client._printable import shown
from tfs_client.aio import AsyncPredictClient
from tfs_client.cli.bench import precise_loop
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.queries import Queries
from tfs_client.cli.bench.schedules import Share
from tfs_client.cli.bench.stage_run import Limits, StageRun
from tfs_client.cli.bench.stages import Enough, Progress, Stage
from tfs_client.errors import ClosedError, ConfigError

IN_FLIGHT = 1000  # requests of an open loop, over all processes: enough for 1,000 a second at a latency of a second
PATIENCE = 60.0  # seconds; twice the default timeout of a call

Result = TypeVar("Result")


class Engine:
    """A ``Generator`` in one process: one client in one event loop, which runs while a stage does.

    A stage that is interrupted, by Ctrl-C for instance, cancels its requests; the engine may run another or be closed.
    What ``progress`` and ``enough`` do takes time from the requests; with ``Processes``, only making the report does.

    Arguments:
        queries: what to send.
        make_client: makes the client of all requests.
        in_flight: how many requests of an open loop, or of a recording, may be under way, over all processes. Those
            that are due meanwhile wait, and their latency counts from their intended start. A request under way takes
            memory for its bytes, so this limit also bounds the memory.
        checked: the share of answers, 0 to 1, that are compared with the reference, by default all of them. A
            comparison is not part of its request's latency, but takes CPU from the others.
        patience: seconds after the end of a stage until requests without an answer are cancelled, and count as errors;
            not less than the client's timeout, or it would decide what counts as an error.
        share: the part of each stage that this engine applies, if there are several.
        new_loop: makes the event loop.

    Raises ConfigError for invalid arguments, and what ``queries`` and ``make_client`` raise.
    """

    def __init__(
        self,
        queries: Queries,
        make_client: Callable[[], AsyncPredictClient],
        *,
        in_flight: int = IN_FLIGHT,
        checked: float = 1.0,
        patience: float = PATIENCE,
        share: Share | None = None,
        new_loop: Callable[[], asyncio.AbstractEventLoop] = precise_loop.new_loop,
    ) -> None:
        if in_flight < 1:
            raise ConfigError(f"in_flight: expected 1 or more, got {shown(in_flight)}")
        if not 0 <= checked <= 1:
            raise ConfigError(f"checked: expected a share from 0 to 1, got {shown(checked)}")
        if not patience > 0:
            raise ConfigError(f"patience: expected a number of seconds above 0, got {shown(patience)}")
        self._limits = Limits(in_flight, checked, patience)
        self._share = share or Share()
        self._queries = queries.make()
        self._client = make_client()
        self._loop = new_loop()
        self._running: StageRun | None = None

    def run(
        self,
        stage: Stage,
        progress: Progress | None = None,
        enough: Enough | None = None,
        *,
        start: float | None = None,
    ) -> Measured:
        """Run a stage; ``start``: when its warm-up begins, as ``time.monotonic`` counts; by default now."""
        if self._loop.is_closed():
            raise ClosedError("this load generator is closed")
        self._running = run = StageRun(
            stage, self._client, self._queries, self._share, self._limits, progress=progress, enough=enough
        )
        try:
            return self._complete(run.run(start))
        finally:
            self._running = None

    def end(self, seconds: float) -> None:
        """End the running stage so many seconds after the start of its measured time. Any thread may call this."""
        running = self._running
        if running is not None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(running.end, seconds)

    def close(self) -> None:
        """Close the client and the event loop. May be called again."""
        if not self._loop.is_closed():
            try:
                self._complete(self._client.close())
                self._complete(self._loop.shutdown_asyncgens())
            finally:
                self._loop.close()

    def _complete(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end, also if an interrupt leaves the event loop before."""
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    self._loop.run_until_complete(task)
            raise
