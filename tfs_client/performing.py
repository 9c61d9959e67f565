"""Performing: the flows of a PredictClient, performed by the calling thread or by futures."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_client import forks
from tfs_client.errors import ClosedError
from tfs_client.futures import FlowFuture, Pauses
from tfs_client.settings import Settings
from tfs_client.steps import Flow, Send, Sleep, Step

if TYPE_CHECKING:
    from tfs_client.rest_futures import RestFutures

Result = TypeVar("Result")


class Performer:
    """A connection, and the flows that use it.

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
        self._start_afresh()
        self.connected()
        forks.watch(self)

    def _start_afresh(self) -> None:
        """What calls share, as it is before the first of them."""
        self.flows = self._settings.flows()
        self.transport: Any = None
        self._rest_futures: RestFutures | None = None
        self._pauses = Pauses()
        self._connecting = threading.RLock()  # a signal's handler may close what it interrupts
        self._closing = threading.Event()

    def run(self, flow: Flow[Result], step: Step | None = None) -> Result:
        """Perform a flow, from its beginning or from a step on."""
        try:
            if step is None:
                step = next(flow)
            while True:
                try:
                    answer = self._perform(step)
                except Exception as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result

    def begin(self, flow: Flow[Result]) -> Future[Result]:
        """Perform a flow in the background. What keeps its first message from being sent raises here."""
        transport = self.transport or self.connected()
        future: Future[Result]
        if self._settings.connection.target.rest:
            first = next(flow)
            future = self._threads().begin(partial(self.run, flow, first))
        else:
            future = FlowFuture(flow, transport.start, self._pauses)
        forks.watch_future(future)
        return future

    def connected(self) -> Any:
        """The transport, made where there is none: at the beginning, and in a forked process. Raises ClosedError."""
        with self._connecting:
            if self.transport is None:
                self._check_open()
                self.transport = self._opened()
            return self.transport

    def close(self) -> None:
        """Cancel calls that are under way and release the connection. May be called again."""
        if not self.closed:
            self.closed = True
            self._closing.set()
            self._pauses.close(f"{self._shown} was closed")
            with self._connecting:
                transport, rest_futures = self.transport, self._rest_futures
            if transport is not None:  # else nothing was called in this process
                transport.close()
            if rest_futures is not None:
                rest_futures.close()

    def _threads(self) -> RestFutures:
        with self._connecting:
            self._check_open()
            if self._rest_futures is None:
                from tfs_client.rest_futures import RestFutures

                self._rest_futures = RestFutures()
            return self._rest_futures

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError(f"{self._shown} was closed")

    def _opened(self) -> Any:
        if self._settings.connection.target.rest:
            from tfs_client.transports.rest import RestTransport  # imports httpx, which takes its time

            return RestTransport(self._settings.connection)
        from tfs_client.transports.grpc import GrpcTransport  # imports grpc, which takes its time

        transport = GrpcTransport(self._settings.connection)
        self.flows.exchange.join = transport.join
        self.flows.exchange.give_back = transport.give_back
        return transport

    def _abandon(self) -> tuple[Any, ...]:
        """In a forked process: let go of what belongs to the parent. Returns it, for it must not be taken apart."""
        if self.closed:
            return ()
        left = self.transport, self._rest_futures, self._pauses, self.flows
        if self._settings.connection.target.rest and self.transport is not None:
            self.transport.let_go()
        self._start_afresh()
        return left

    def _perform(self, step: Step) -> Any:
        if type(step) is Send:
            return (self.transport or self.connected()).call(step)
        if type(step) is Sleep:
            if self._closing.wait(step.seconds):
                raise ClosedError(f"{self._shown} was closed")
            return None
        return step.function()  # type: ignore[union-attr]  # an Ask
