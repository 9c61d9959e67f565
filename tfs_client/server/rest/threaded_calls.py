"""ThreadedCall: a call that runs in a thread and may be answered before the thread is done."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from tfs_client.errors import StatusCode
from tfs_client.server.call_deadlines import time_limit
from tfs_client.server.call_record import GAVE_UP, TOO_LATE, Observer, ServedCall, notify_observer, run_recorded
from tfs_client.server.rest import replies
from tfs_client.server.thread_pool import ThreadPool


class Reply(NamedTuple):
    """The status of a call, and the body of the response."""

    code: StatusCode
    details: str
    content: bytes


class ThreadedCall:
    """One call, which is answered and recorded once.

    What must hold: the thread may finish, the time limit may pass, the client may disconnect and the server may stop,
    all at the same moment; the client gets one answer, and the observer one record. The first to acquire ``_answered``
    answers; the lock is never released. A thread cannot be stopped: after an early answer it continues on a
    record that is no longer observed. Work that has not started by then is dropped, and with it the body.

    Args:
        call: the record of the call.
        work: makes the body of the reply.
        observer: called with the record when the call has been answered.
        gone: set when the client has disconnected. The call then ends: it is not started, and a thread that has
            started it continues.
        limit: the time limit in seconds, the wait for a thread included; 0 or less, or infinity: no limit.
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
        self._answered = threading.Lock()  # never released
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()

    async def reply(self, executor: ThreadPool) -> Reply:
        """Return the reply; an error if the call takes too long, or if the server stops."""
        timer = None
        if self._limit is not None:
            late = StatusCode.DEADLINE_EXCEEDED, TOO_LATE
            timer = self._loop.call_later(self._limit, self._early, *late)
        executor.submit(self._run)
        leaving = self._loop.create_task(self._cancel_when_gone())
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

    async def _cancel_when_gone(self) -> None:
        await self._gone.wait()
        self._early(StatusCode.CANCELLED, GAVE_UP)

    def _waits(self) -> bool:
        """Return whether the client still waits."""
        return not self._answered.locked()

    def _run(self) -> None:
        left, work = self._end - time.monotonic(), self._work
        if left <= 0 or work is None:
            return  # the time limit has passed, or the call has been answered, while it waited for a thread
        with time_limit(left if self._limit else None, self._waits):
            content = run_recorded(self._call, work)
        if self._gone.is_set():
            self._call.gave_up()
        code, details = self._call.code, self._call.details
        reply = Reply(code, details, replies.error(details) if content is None else content)
        self._call.bytes_out = self._size(reply)
        if self._answered.acquire(blocking=False):
            notify_observer(self._observer, self._call)
            with suppress(RuntimeError):  # the loop is closed: the server has stopped without waiting for this call
                self._loop.call_soon_threadsafe(self._deliver, reply)

    def _early(self, code: StatusCode, details: str) -> None:
        """Answer before the thread is done, unless the call has just been answered."""
        if self._answered.acquire(blocking=False):
            self._work = None  # a thread that starts now has nothing to do, and the body is freed
            # A thread that has started continues with its record, which is not observed any more: this is a copy.
            reply = Reply(code, details, replies.error(details))
            notify_observer(
                self._observer, replace(self._call, code=code, details=details, bytes_out=self._size(reply))
            )
            self._deliver(reply)

    def _size(self, reply: Reply) -> int:
        """Return the size of the body that the client gets."""
        return 0 if self._gone.is_set() else len(reply.content)

    def _deliver(self, reply: Reply) -> None:
        self._reply = reply
        self._done.set()
