"""Performing: the flows of an AsyncPredictClient, performed by the task that calls."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import Any, TypeVar

from tfs_client import forks
from tfs_client.errors import ClosedError, DeadlineExceededError
from tfs_client.settings import Settings
from tfs_client.steps import Ask, Flow, Send, Sleep, Step
from tfs_client.within import within

Result = TypeVar("Result")


class AsyncPerformer:
    """A connection for each event loop, and the flows that use it.

    Args:
        settings: those of the client.
        shown: the client, for error texts.

    Attributes:
        flows: what calls do; they remember the signatures they have seen.
        transport: how bytes are sent; None in a forked process until its first call.
        closed: whether ``close`` was called.
    """

    def __init__(self, settings: Settings, shown: str) -> None:
        self._settings = settings
        self._shown = shown
        self.closed = False
        self.transport: Any = None
        self._pausing: set[asyncio.Future[None]] = set()
        self.connected()
        forks.watch(self)

    async def run(self, flow: Flow[Result]) -> Result:
        """Perform a flow."""
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._perform(step)
                except Exception as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result

    def connected(self) -> Any:
        """The transport, made at the beginning, and in a forked process; it connects when the first call comes.

        Raises ClosedError.
        """
        if self.closed:
            raise ClosedError(f"{self._shown} was closed")
        self.flows = self._settings.flows()
        if self._settings.connection.target.rest:
            from tfs_client.transports.rest_aio import RestAioTransport  # imports httpx, which takes its time

            self.transport = RestAioTransport(self._settings.connection)
        else:
            from tfs_client.transports.grpc_aio import GrpcAioTransport  # imports grpc, which takes its time

            self.transport = GrpcAioTransport(self._settings.connection)
            self.flows.exchange.join = self.transport.join
            self.flows.exchange.give_back = self.transport.give_back
        return self.transport

    async def close(self) -> None:
        """Cancel calls that are under way and release the connections. May be called again."""
        self.closed = True
        for wakeful in list(self._pausing):
            with suppress(RuntimeError):  # of a loop that was closed before
                wakeful.get_loop().call_soon_threadsafe(_wake, wakeful, self._closed_error())
        if self.transport is not None:  # else nothing was called in this process
            await self.transport.close()

    def _abandon(self) -> tuple[Any, ...]:
        """In a forked process: let go of what belongs to the parent. Returns it, for it must not be taken apart."""
        if self.closed:
            return ()
        left = self.transport, self.flows, self._pausing
        self.transport = None
        self._pausing = set()
        return left

    async def _perform(self, step: Step) -> Any:
        if type(step) is Send:
            return await (self.transport or self.connected()).call(step)
        if type(step) is Sleep:
            return await self._pause(step.seconds)
        return await _answered(step)  # type: ignore[arg-type]

    async def _pause(self, seconds: float) -> None:
        """Let time pass. Raises ClosedError as soon as the client is closed."""
        if self.closed:
            raise self._closed_error()
        loop = asyncio.get_running_loop()
        wakeful: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _wake, wakeful)
        self._pausing.add(wakeful)
        try:
            await wakeful
        finally:
            timer.cancel()
            self._pausing.discard(wakeful)

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"{self._settings.shown('AsyncPredictClient')} was closed")


def _wake(wakeful: asyncio.Future[None], error: ClosedError | None = None) -> None:
    """End a pause, unless its task was cancelled meanwhile."""
    if not wakeful.done():
        if error is None:
            wakeful.set_result(None)
        else:
            wakeful.set_exception(error)


async def _answered(step: Ask) -> Any:
    """What the user's function gives, awaited until the deadline where it can be."""
    answer = step.function()
    if not inspect.isawaitable(answer):
        return answer
    try:
        return await within(answer, step.deadline.remaining())
    except (asyncio.TimeoutError, TimeoutError):
        if not step.deadline.passed():  # the function's own
            raise
        raise DeadlineExceededError(f"the token did not come within {step.deadline.limit:g} s") from None
