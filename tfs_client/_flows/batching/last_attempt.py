"""LastAttempt: how the last attempt of a request failed, for callers whose own deadline passes before it ends."""

from __future__ import annotations

from copy import copy
from typing import TypeVar

from tfs_client._transports.steps import Flow, Send, Sleep
from tfs_client.errors import CallError

Result = TypeVar("Result")


class LastAttempt:
    """The last attempt of a request that is under way.

    Attributes:
        error: a copy of the error with which it failed, if another attempt follows; None until one has failed.
        pausing: whether the next attempt has not begun yet.
    """

    __slots__ = ("error", "pausing")

    def __init__(self) -> None:
        self.error: CallError | None = None
        self.pausing = False

    def watched(self, flow: Flow[Result]) -> Flow[Result]:
        """Pass the steps of the request's flow on, and note how they end."""
        # A failed attempt is one that a pause follows. Other errors end the request, perhaps after another call that
        # finds out whose row is at fault. The copy has no traceback, which would refer to the flow and its rows.
        try:
            step = next(flow)
            while True:
                try:
                    answer = yield step
                except BaseException as error:
                    step = flow.throw(error)
                    if isinstance(error, CallError) and isinstance(step, Sleep):
                        self.error = copy(error)
                else:
                    if isinstance(step, Send):
                        self.error = None
                    step = flow.send(answer)
                self.pausing = isinstance(step, Sleep)
        except StopIteration as end:
            result: Result = end.value
            return result
