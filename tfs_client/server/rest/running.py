"""Running: a call that a thread works on, and that may be answered before the thread is done."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from tfs_client.errors import StatusCode
from tfs_client.server.deadlines import time_limit
from tfs_client.server.rest import replies
from tfs_client.server.served import GAVE_UP, TOO_LATE, Observer, ServedCall, observe, settle
from tfs_client.server.thread_pool import ThreadPool

Reply = tuple[StatusCode, bytes]


class Running:
    """One call. It is recorded once: when its thread is done, or when it was answered early, whichever comes first.

    Args:
        call: its record.
        work: makes the body of its reply.
        observer: told of it.
        gone: set when the client is. The call has ended then: it is not begun, and a thread that has begun goes on.
        limit: the seconds that it has, those that it waits for a thread included; 0 or less, or infinity: no limit.
    """

    def __init__(
        self,
        call: ServedCall,
        work: Callable[[], bytes],
        observer: Observer | None,
        gone: asyncio.Event,
        limit: float,
    ) -> None:
        self._call = call
        self._work: Callable[[], bytes] | None = work
        self._observer = observer
        self._gone = gone
        self._limit = limit if 0 < limit < math.inf else None
        self._end = math.inf if self._limit is None else time.monotonic() + self._limit
        self._answered = threading.Lock()  # whoever gets it answers; it is never given back
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()

    async def reply(self, executor: ThreadPool) -> Reply:
        """The reply. An error once the call has taken too long, or when the server stops."""
        timer = None
        if self._limit is not None:
            late = StatusCode.DEADLINE_EXCEEDED, TOO_LATE
            timer = self._loop.call_later(self._limit, self._early, *late)
        executor.submit(self._run)
        leaving = self._loop.create_task(self._leave())
        try:
            await self._done.wait()
        except asyncio.CancelledError:
            self._early(StatusCode.UNAVAILABLE, "the server has stopped")
            await self._done.wait()
        finally:
            if timer is not None:
                timer.cancel()
            leaving.cancel()
        return self._reply

    async def _leave(self) -> None:
        await self._gone.wait()
        self._early(StatusCode.CANCELLED, GAVE_UP)

    def _waits(self) -> bool:
        """Whether the client still waits."""
        return not self._answered.locked()

    def _run(self) -> None:
        left, work = self._end - time.monotonic(), self._work
        if left <= 0 or work is None:
            return  # it has waited for a thread for too long, or for nobody, and the loop answers it
        with time_limit(left if self._limit else None, self._waits):
            content = settle(self._call, work)
        if self._gone.is_set():
            self._call.gave_up()
        reply = self._call.code, replies.error(self._call.details) if content is None else content
        if self._answered.acquire(blocking=False):
            observe(self._observer, self._call)
            with suppress(RuntimeError):  # the loop is gone: the server stopped without waiting for this call
                self._loop.call_soon_threadsafe(self._deliver, reply)

    def _early(self, code: StatusCode, details: str) -> None:
        """Answer before the thread is done, unless it just was."""
        if self._answered.acquire(blocking=False):
            self._work = None  # a thread that comes to it now has nothing to do; nor does the body wait for that
            # A thread that has begun goes on with the record it has; what becomes of that is not told any more.
            observe(self._observer, replace(self._call, code=code, details=details))
            self._deliver((code, replies.error(details)))

    def _deliver(self, reply: Reply) -> None:
        self._reply = reply
        self._done.set()
