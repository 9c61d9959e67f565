"""Performing: runs the flows of an AsyncPredictClient, in the calling task."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import TypeVar

from tfs_client._flows.sessions import Member, Session
from tfs_client._flows.settings import Settings
from tfs_client._flows.tracebacks import shorten
from tfs_client._transports.steps import Ask, Flow, Send, Sleep, Step
from tfs_client._transports.transport import AsyncTransport
from tfs_client._transports.within import within
from tfs_client.errors import ClosedError, DeadlineExceededError, TFServingError

Result = TypeVar("Result")


class AsyncSession(Session[AsyncTransport]):
    """The session of an AsyncPredictClient."""

    def _start_afresh(self) -> None:
        super()._start_afresh()
        self._pausing: set[asyncio.Future[None]] = set()

    async def perform(self, step: Step) -> object:
        """Perform a step, and return its answer."""
        if type(step) is Send:
            return await (self._transport or self.connected()).call(step)
        if type(step) is Sleep:
            await self._pause(step.seconds)
            return None
        return await _answered(step)  # type: ignore[arg-type]

    async def close(self) -> None:
        """Cancel running calls and release the connections. May be called again.

        Raises what the end of a recording finds.
        """
        self._end()
        for wakeful in list(self._pausing):
            with suppress(RuntimeError):  # the loop was closed before
                wakeful.get_loop().call_soon_threadsafe(_wake, wakeful, ClosedError(self.closed_text))
        if self._transport is not None:  # otherwise this process has made no calls
            await self._transport.close()
        self._detach()

    def _opened(self) -> AsyncTransport:
        if self._settings.connection.target.rest:
            from tfs_client._transports.rest_aio import RestAioTransport  # importing httpx is slow

            return RestAioTransport(self._settings.connection)
        from tfs_client._transports.grpc_aio import GrpcAioTransport  # importing grpc is slow

        transport = GrpcAioTransport(self._settings.connection)
        self.flows.exchange.join = transport.join
        self.flows.exchange.give_back = transport.give_back
        return transport

    def _abandon(self) -> tuple[object, ...]:
        return self._pausing, *super()._abandon()

    async def _pause(self, seconds: float) -> None:
        """Sleep. Raises ClosedError as soon as the session ends."""
        self.check_open()
        loop = asyncio.get_running_loop()
        wakeful: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _wake, wakeful)
        self._pausing.add(wakeful)
        try:
            await wakeful
        finally:
            timer.cancel()
            self._pausing.discard(wakeful)


class AsyncPerformer(Member[AsyncTransport]):
    """Performs the calls of one AsyncPredictClient."""

    _session: AsyncSession

    @classmethod
    def of(cls, settings: Settings, shown: str) -> AsyncPerformer:
        """Begin a session."""
        session = AsyncSession(settings, shown)
        return cls(session, session.flows.of(settings), shown)

    def with_settings(self, settings: Settings, shown: str) -> AsyncPerformer:
        """Perform the calls of a derived client, in the same session. Raises ClosedError."""
        self.connected()
        return type(self)(self._session, self._session.flows.of(settings), shown, derived=True)

    async def run(self, flow: Flow[Result]) -> Result:
        """Perform a call. Raises ClosedError, what the flow raises, and what its steps raise."""
        try:
            if self.transport is None:
                self.connect_for(flow)
            return await self.proceed(flow)
        except TFServingError as error:
            shorten(error)
            raise

    async def proceed(self, flow: Flow[Result]) -> Result:
        """Perform the rest of a call. A derived client may be closed by then."""
        perform = self._session.perform
        try:
            step = next(flow)
            while True:
                try:
                    answer = await perform(step)
                except BaseException as error:  # also the cancellation of the task, which ends the flow at once
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result
        except BaseException:
            flow.close()  # an interrupt (Ctrl-C) may come between two steps
            raise

    async def close(self) -> None:
        """End the session, of which this is the first client; or leave it. May be called again.

        Raises what the end of a recording finds.
        """
        self._leave()
        if not self.derived:
            await self._session.close()


def _wake(wakeful: asyncio.Future[None], error: ClosedError | None = None) -> None:
    """End a pause, unless its task was cancelled."""
    if not wakeful.done():
        if error is None:
            wakeful.set_result(None)
        else:
            wakeful.set_exception(error)


async def _answered(step: Ask) -> object:
    """Call the user's function; await its result, until the deadline, if it is awaitable."""
    answer = step.function()
    if not inspect.isawaitable(answer):
        return answer
    waiting = asyncio.ensure_future(answer)
    try:
        return await within(waiting, step.deadline.remaining())
    except (asyncio.TimeoutError, TimeoutError):
        if not (
            waiting.cancelled() or step.deadline.passed()
        ):  # the function's own timeout; uvloop may wake a little early
            raise
        raise DeadlineExceededError(f"the token= function did not return within {step.deadline.limit:g} s") from None
