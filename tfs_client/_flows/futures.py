"""FlowFuture: a concurrent.futures.Future with the result of a flow."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import InvalidStateError
from functools import partial
from typing import Any, TypeVar

from tfs_client._flows import forks, timers
from tfs_client._flows.tracebacks import ResultFuture
from tfs_client._transports.reply import Reply
from tfs_client._transports.steps import Ask, Done, Flow, Sleep, Step
from tfs_client._transports.transport import Cancel, Start
from tfs_client.errors import ClosedError

Result = TypeVar("Result")


CANCELLED = ("CANCELLED", "CANCELLED_AND_NOTIFIED")  # states of futures; ``cancelled()`` takes a lock to read them


class Pauses:
    """The pauses of one client's futures. Closing ends them at once."""

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
        """Forget a pause that is over."""
        with self._lock:
            self._under_way.discard(pause)

    def close(self, why: str) -> None:
        """End all pauses, and refuse new ones."""
        if sys.is_finalizing():  # threads that were stopped anywhere may hold the locks
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
        """End the pause without calling ``done``. False if it is over, and at the very end of a program."""
        if sys.is_finalizing():
            return False
        self._pauses.forget(self)
        return self.timer is not None and self.timer.cancel()


class _ThreadState(threading.local):
    """The state of a thread."""

    answering: Start | None = None  # set while it delivers the answer to a call that this function started


_thread = _ThreadState()


def answers_come_here(transport: object) -> bool:
    """Whether this is a callback or a hook of a call of this transport, in the thread that delivers replies.

    The current thread then delivers all of the transport's replies, one after the other: while it waits, none arrives.
    """
    return _thread.answering is not None and _thread.answering == getattr(transport, "start", None)


def _nothing() -> None:
    """Cancels nothing."""


class FlowFuture(ResultFuture[Result]):
    """Performs a flow without a dedicated thread. ``cancel`` also cancels the call on the server.

    The first step is started at once, and errors until then are raised here; later ones by ``result()``.

    Args:
        flow: the flow to perform.
        start: sends requests.
        pauses: performs pauses.
    """

    # The thread that delivers the answer to a step resumes the flow and starts its next step. What must hold:
    #
    # - One step is under way at a time, so the flow is never resumed by two threads at once. An answer may arrive
    #   before ``start`` returns; ``_begun`` numbers the steps, so that a late return does not replace the cancel
    #   function of the step that is under way by then.
    # - Cancelling may race with the answer. ``Future`` decides which comes first. When it was the cancellation, the
    #   answer closes the flow instead of resuming it; a pause that was cancelled has no answer, so its cancel function
    #   closes the flow.
    # - Nothing that outlives the call refers to the future or to its reply: the cancel function is dropped at the end.

    def __init__(self, flow: Flow[Result], start: Start, pauses: Pauses) -> None:
        super().__init__()
        self._flow = flow
        self._start = start
        self._pauses = pauses
        self._cancel_call: Cancel = _nothing
        self._begun = 0  # the number of calls and pauses so far
        self._cancelling = threading.RLock()  # callbacks run while it is held, and may cancel, too
        forks.under_way.add(self)
        try:
            self._perform(next(flow))
        except BaseException:
            forks.under_way.discard(self)
            raise

    def cancel(self) -> bool:
        """Cancel the call, here and on the server. False if it is over."""
        with self._cancelling:
            if self.cancelled():
                return True
            if not super().cancel():
                return False
            self.set_running_or_notify_cancel()  # notifies as_completed and wait
        forks.under_way.discard(self)
        self._cancel_call()
        return True

    def _abandon(self) -> tuple[object, ...]:
        """In a forked process: leave the call to the parent."""
        left = self._cancel_call, self._flow, self._start
        self._cancel_call = lambda: None
        self._cancelling = threading.RLock()
        return left

    def _perform(self, step: Step) -> None:
        while True:
            try:
                if type(step) is Ask:
                    answer = step.function()
                else:
                    self._begun += 1
                    number = self._begun
                    cancel = self._paused(step) if type(step) is Sleep else self._start(step, self._answered)  # type: ignore[arg-type]
                    break
            except Exception as error:
                step = self._flow.throw(error)
            else:
                step = self._flow.send(answer)
        if number == self._begun:  # otherwise the answer arrived at once, and a later step is under way
            self._cancel_call = cancel
        if self._state in CANCELLED:  # in the meantime
            self._cancel_call()

    def _paused(self, step: Sleep) -> Cancel:
        return partial(self._cancel_pause, self._pauses.begin(step.seconds, self._answered))

    def _cancel_pause(self, pause: _Pause) -> None:
        if pause.cancel():  # otherwise the answer closes the flow
            self._flow.close()
            self._cancel_call = _nothing  # which refers to this future

    def _answered(self, reply: Reply | None, error: Exception | None) -> None:
        before, _thread.answering = _thread.answering, self._start
        try:
            if self._state in CANCELLED:
                self._flow.close()
                return
            self._perform(self._flow.send(reply) if error is None else self._flow.throw(error))
        except StopIteration as end:
            self._settle(end.value, None)
        except BaseException as failure:  # whatever it is, also a hook's exit, it is the result that waiters get
            self._settle(None, failure)
        finally:
            _thread.answering = before

    def _settle(self, result: Any, error: BaseException | None) -> None:
        """Set the outcome, once, when the flow is over. A cancelled future stays cancelled."""
        self._cancel_call = _nothing  # which may refer to this future, or hold its reply
        timers.step_aside()  # callbacks of users may take long
        try:
            if error is None:
                self.set_result(result)
            else:
                self.set_exception(error)
        except InvalidStateError:
            pass
        forks.under_way.discard(self)  # not before it is done: in between, a fork would leave it pending
