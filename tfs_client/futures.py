"""FlowFuture: a concurrent.futures.Future whose result is that of a flow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from tfs_client.errors import TFServingError
from tfs_client.steps import Ask, Flow, Send, Sleep

Result = TypeVar("Result")
Done = Callable[[bytes | None, TFServingError | None], None]
Start = Callable[[Send, Done], Callable[[], object]]  # sends and returns what cancels; the answer goes to Done


class _Here(threading.local):
    """What this thread is doing."""

    answering: Start | None = None  # whose answer it brings: callbacks run meanwhile


_here = _Here()


def answers_come_here(transport: object) -> bool:
    """Whether this runs in a callback of a call of this transport: its answers come one after the other, by this very
    thread, so none comes while the thread waits.
    """
    return _here.answering is not None and _here.answering == getattr(transport, "start", None)


class FlowFuture(Future[Result]):
    """Performs a flow without a thread of its own: what answers a step goes on with the next. ``cancel`` reaches the
    server.

    The first step is begun at once, and what goes wrong by then is raised here; all else by ``result()``.
    """

    def __init__(self, flow: Flow[Result], start: Start) -> None:
        super().__init__()
        self._flow = flow
        self._start = start
        self._cancel_call: Callable[[], object] = lambda: None
        self._begun = 0  # calls, of which one is under way at a time
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
        if isinstance(step, Sleep):
            raise AssertionError("a future has no thread to sleep in")
        self._begun += 1
        number = self._begun
        cancel = self._start(step, self._answered)
        if number == self._begun:  # else the answer came at once, and a later call is under way by now
            self._cancel_call = cancel
        if self.cancelled():  # in the meantime
            self._cancel_call()

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
