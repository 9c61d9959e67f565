"""Running: a call that a thread works on, and that may be answered before the thread is done."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from tfs_client.errors import StatusCode
from tfs_client.server.deadlines import time_limit
from tfs_client.server.rest import replies
from tfs_client.server.served import Observer, ServedCall, observe, settle

Reply = tuple[StatusCode, bytes]


class Running:
    """One call. It is recorded once: when its thread is done, or when it was answered early, whichever comes first."""

    def __init__(self, call: ServedCall, work: Callable[[], bytes], observer: Observer | None) -> None:
        self._call = call
        self._work = work
        self._observer = observer
        self._answered = threading.Lock()  # whoever gets it answers; it is never given back
        self._left = False

    async def reply(self, executor: ThreadPoolExecutor, limit: float) -> Reply:
        """The reply. An error once the call has run for ``limit`` seconds, or when the server stops; 0 is no limit."""
        loop, started = asyncio.get_running_loop(), asyncio.Event()

        def run() -> Reply:
            with suppress(RuntimeError):  # the loop is gone: the server stopped without waiting for this call
                loop.call_soon_threadsafe(started.set)
            with time_limit(limit):
                return self._run()

        running = loop.run_in_executor(executor, run)
        try:
            if not 0 < limit < math.inf:
                return await asyncio.shield(running)
            await started.wait()  # the time in the queue does not count
            return await asyncio.wait_for(asyncio.shield(running), limit)
        except asyncio.TimeoutError:
            return self._early(StatusCode.DEADLINE_EXCEEDED, "Timed out waiting for notification") or await running
        except asyncio.CancelledError:
            return self._early(StatusCode.UNAVAILABLE, "the server has stopped") or await running

    def left(self) -> None:
        """The client has gone."""
        self._left = True

    def _run(self) -> Reply:
        content = settle(self._call, self._work)
        if self._left:
            self._call.gave_up()
        if self._answered.acquire(blocking=False):
            observe(self._observer, self._call)
        return self._call.code, replies.error(self._call.details) if content is None else content

    def _early(self, code: StatusCode, details: str) -> Reply | None:
        """The reply before the thread is done; None when it just was."""
        if not self._answered.acquire(blocking=False):
            return None
        # The thread goes on with the record it has; what becomes of that is nobody's business any more.
        observe(self._observer, replace(self._call, code=code, details=details))
        return code, replies.error(details)
