"""Performing: runs the flows of a PredictClient, in the calling thread or by futures."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tfs_client._flows import forks
from tfs_client._flows.futures import FlowFuture, Pauses
from tfs_client._flows.sessions import Member, Session
from tfs_client._flows.settings import Settings
from tfs_client._flows.tracebacks import shorten
from tfs_client._transports.steps import Flow, Send, Sleep, Step
from tfs_client._transports.transport import Start, Transport
from tfs_client.errors import ClosedError, TFServingError

if TYPE_CHECKING:
    from tfs_client._flows.rest_futures import RestFutures

Result = TypeVar("Result")


class BlockingSession(Session[Transport]):
    """The session of a PredictClient.

    Attributes:
        start: sends the requests of futures over gRPC; None over REST, where threads make their calls.
        pauses: the pauses of futures.
    """

    def _start_afresh(self) -> None:
        super()._start_afresh()
        self.start: Start | None = None
        self.pauses = Pauses()
        self._rest_futures: RestFutures | None = None
        self._closing = threading.Event()
        self._released = False

    def perform(self, step: Step) -> object:
        """Perform a step, and return its answer."""
        if type(step) is Send:
            return (self._transport or self.connected()).call(step)
        if type(step) is Sleep:
            if self._closing.wait(step.seconds):
                raise ClosedError(self.closed_text)
            return None
        return step.function()  # type: ignore[union-attr]  # an Ask

    def threads(self) -> RestFutures:
        """The threads that make calls over REST. Raises ClosedError."""
        with self.lock:
            self.check_open()
            if self._rest_futures is None:
                from tfs_client._flows.rest_futures import RestFutures

                self._rest_futures = RestFutures()
            return self._rest_futures

    def close(self) -> None:
        """Cancel running calls and release the connection. Calling it again does nothing.

        Raises what the end of a recording finds.
        """
        if self._released:
            return
        self.closed = True
        self._closing.set()
        self.pauses.close(self.closed_text)
        self._end()
        if self._transport is not None:  # otherwise this process has made no calls
            self._transport.close()
        if self._rest_futures is not None:
            self._rest_futures.close()
        self._released = True  # not before: after an interrupt, another call releases the rest
        self._detach()

    def _opened(self) -> Transport:
        if self._settings.connection.target.rest:
            from tfs_client._transports.rest import RestTransport  # importing httpx is slow

            return RestTransport(self._settings.connection)
        from tfs_client._transports.grpc import GrpcTransport  # importing grpc is slow

        transport = GrpcTransport(self._settings.connection)
        self.start = transport.start
        self.flows.exchange.join = transport.join
        self.flows.exchange.give_back = transport.give_back
        return transport

    def _abandon(self) -> tuple[object, ...]:
        if self._transport is not None:
            self._transport.abandon()
        left = self.start, self.pauses, self._rest_futures
        return *left, *super()._abandon()


class Performer(Member[Transport]):
    """Performs the calls of one PredictClient."""

    _session: BlockingSession

    @classmethod
    def of(cls, settings: Settings, shown: str) -> Performer:
        """Begin a session."""
        session = BlockingSession(settings, shown)
        return cls(session, session.flows.of(settings), shown)

    def with_settings(self, settings: Settings, shown: str) -> Performer:
        """Perform the calls of a derived client, in the same session. Raises ClosedError."""
        self.connected()
        return type(self)(self._session, self._session.flows.of(settings), shown, derived=True)

    def run(self, flow: Flow[Result]) -> Result:
        """Perform a call. Raises ClosedError, what the flow raises, and what its steps raise."""
        if self.transport is None:
            self.connect_for(flow)
        return self.proceed(flow)

    def proceed(self, flow: Flow[Result], step: Step | None = None) -> Result:
        """Perform the rest of a call, from a step or from the next one. A derived client may be closed by then."""
        perform = self._session.perform
        try:
            if step is None:
                step = next(flow)
            while True:
                try:
                    answer = perform(step)
                except BaseException as error:  # also an interrupt (Ctrl-C), which ends the flow at once
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result
        except BaseException:
            flow.close()  # an interrupt may come between two steps
            raise

    def begin(self, flow: Flow[Result]) -> Future[Result]:
        """Perform a flow in the background. Errors up to sending its first message are raised here."""
        try:
            if self.transport is None:
                self.connect_for(flow)
            return self._begun(flow)
        except TFServingError as error:
            shorten(error)
            raise

    def _begun(self, flow: Flow[Result]) -> Future[Result]:
        session = self._session
        if session.start is not None:
            return FlowFuture(flow, session.start, session.pauses)
        first = next(flow)
        try:
            future = session.threads().begin(partial(self.proceed, flow, first))
        except BaseException as error:
            flow.throw(error)  # raises it
            raise
        future.add_done_callback(partial(_close_cancelled, flow))
        forks.watch_future(future)
        return future

    def close(self) -> None:
        """End the session, of which this is the first client; or leave it. Calling it again does nothing.

        Raises what the end of a recording finds.
        """
        self._leave()
        if not self.derived:
            self._session.close()


def _close_cancelled(flow: Flow[Result], future: Future[Result]) -> None:
    """Close the flow of a future that was cancelled before a thread was free."""
    if future.cancelled():
        flow.close()
