"""FlowFuture: a concurrent.futures.Future whose result is that of a flow."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from functools import partial
from typing import Any, TypeVar

from tfs_client import timers
from tfs_client.errors import ClosedError, TFServingError
from tfs_client.steps import Ask, Flow, Send, Sleep

Result = TypeVar("Result")
Done = Callable[[bytes | None, TFServingError | None], None]
Start = Callable[[Send, Done], Callable[[], object]]  # sends and returns what cancels; the answer goes to Done


class Pauses:
    """The pauses of one client's futures. Closing it ends them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[_Pause] = set()
        self._closed = ""

    def begin(self, seconds: float, done: Done) -> _Pause:
        """Call ``done`` after some seconds, or with ClosedError as soon as the client is closed."""
        pause = _Pause(self, done)
        with self._lock:
            if self._closed:
                raise ClosedError(self._closed)
            pause.timer = timers.after(seconds, pause.over)
            if pause.timer is not None:
                self._under_way.add(pause)
        if pause.timer is None:  # the program is about to end
            time.sleep(seconds)
            done(None, None)
        return pause

    def forget(self, pause: _Pause) -> None:
        """The pause is over."""
        with self._lock:
            self._under_way.discard(pause)

    def close(self, why: str) -> None:
        """End all pauses, and allow no more."""
        if sys.is_finalizing():  # threads that were stopped in the middle may hold the locks
            return
        with self._lock:
            self._closed = why
            ended, self._under_way = self._under_way, set()
        for pause in ended:
            if pause.timer is not None and pause.timer.cancel():
                pause.done(None, ClosedError(why))


class _Pause:
    """A pause of one future."""

    __slots__ = ("_pauses", "done", "timer")

    def __init__(self, pauses: Pauses, done: Done) -> None:
        self._pauses = pauses
        self.done = done
        self.timer: timers.Timer | None = None

    def over(self) -> None:
        """Called by the timer."""
        self._pauses.forget(self)
        self.done(None, None)

    def cancel(self) -> bool:
        """End the pause without a word. False when it is over, and at the very end of a program."""
        if sys.is_finalizing():
            return False
        self._pauses.forget(self)
        return self.timer is not None and self.timer.cancel()


class _Here(threading.local):
    """What this thread is doing."""

    answering: Start | None = None  # whose answer it brings: callbacks run meanwhile


_here = _Here()


def answers_come_here(transport: object) -> bool:
    """Whether this runs in a callback of a call of this transport: its answers come one after the other, by this very
    thread, so none comes while the thread waits.
    """
    return _here.answering is not None and _here.answering == getattr(transport, "start", None)


def _nothing() -> None:
    """Cancels nothing."""


class FlowFuture(Future[Result]):
    """Performs a flow without a thread of its own: what answers a step goes on with the next. ``cancel`` reaches the
    server.

    The first step is begun at once, and what goes wrong by then is raised here; all else by ``result()``.

    Args:
        flow: what to perform.
        start: how requests are sent.
        pauses: what lets time pass.
    """

    def __init__(self, flow: Flow[Result], start: Start, pauses: Pauses) -> None:
        super().__init__()
        self._flow = flow
        self._start = start
        self._pauses = pauses
        self._cancel_call: Callable[[], object] = _nothing
        self._begun = 0  # calls and pauses, of which one is under way at a time
        self._cancelling = threading.RLock()  # callbacks run under it, and may cancel too
        self._perform(next(flow))

    def cancel(self) -> bool:
        """Cancel the call, here and on the server. False when it was over before."""
        with self._cancelling:
            if self.cancelled():
                return True
            if not super().cancel():
                return False
            self.set_running_or_notify_cancel()  # so that as_completed and wait hear of it
        self._cancel_call()
        return True

    def _abandon(self) -> tuple[Any, ...]:
        """In a forked process: the call is the parent's."""
        left = self._cancel_call, self._flow, self._start
        self._cancel_call = lambda: None
        self._cancelling = threading.RLock()
        return left

    def _perform(self, step: Send | Sleep | Ask) -> None:
        while isinstance(step, Ask):
            try:
                answer = step.function()
            except Exception as error:
                step = self._flow.throw(error)
            else:
                step = self._flow.send(answer)
        self._begun += 1
        number = self._begun
        if isinstance(step, Sleep):
            cancel: Callable[[], object] = partial(self._cancel_pause, self._pauses.begin(step.seconds, self._answered))
        else:
            cancel = self._start(step, self._answered)
        if number == self._begun:  # else the answer came at once, and a later step is under way by now
            self._cancel_call = cancel
        if self.cancelled():  # in the meantime
            self._cancel_call()

    def _cancel_pause(self, pause: _Pause) -> None:
        if pause.cancel():  # else what ended it goes on with the flow
            self._flow.close()
            self._cancel_call = _nothing  # which refers to this future

    def _answered(self, reply: bytes | None, error: TFServingError | None) -> None:
        if self.cancelled():
            self._flow.close()
            return
        try:
            self._perform(self._flow.send(reply) if error is None else self._flow.throw(error))
        except StopIteration as end:
            self._settle(end.value, None)
        except Exception as failure:  # whatever it is, the one who waits must hear of it
            self._settle(None, failure)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        """Called once, when the flow is over. A cancelled future stays cancelled."""
        self._cancel_call = _nothing  # which may refer to this future, or hold its reply
        timers.step_aside()  # for the callbacks of users
        before, _here.answering = _here.answering, self._start
        try:
            if error is None:
                self.set_result(result)
            else:
                self.set_exception(error)
        except InvalidStateError:
            pass
        finally:
            _here.answering = before
