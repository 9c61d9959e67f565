"""Sessions: what a client shares with the clients that ``with_options`` derives from it."""

from __future__ import annotations

import threading
from abc import abstractmethod
from contextlib import suppress
from typing import Generic, TypeVar
from weakref import WeakSet

from tfs_client._codec.predict_messages import plain_join
from tfs_client._flows import forks
from tfs_client._flows.exchanges import keep
from tfs_client._flows.flows import Flows
from tfs_client._flows.session_flows import SessionFlows
from tfs_client._flows.settings import Settings
from tfs_client._transports.request_buffers import KEPT
from tfs_client._transports.spare_requests import SpareRequests
from tfs_client._transports.steps import Flow
from tfs_client.errors import ClosedError

AnyTransport = TypeVar("AnyTransport")


class Session(Generic[AnyTransport]):
    """The connection of a client and of those derived from it, the signatures that they know, and their retry budgets.

    Args:
        settings: those of the client that was not derived.
        shown: its repr, for error texts.

    Attributes:
        flows: the flows of all of them.
        closed: whether that client was closed.
    """

    # What a client has for itself is in its Performer: its flows, which differ by their observer and perhaps by the
    # signatures that they know, and whether it was closed. Performers refer to their session, so it lives as long as
    # any client. It refers to them weakly: a client that is dropped leaves nothing behind.

    def __init__(self, settings: Settings, shown: str) -> None:
        self._settings = settings
        self._shown = shown
        self.flows = SessionFlows(settings)
        self.closed = False
        self._members: WeakSet[Member[AnyTransport]] = WeakSet()
        self._start_afresh()
        self.connected()
        forks.watch(self)
        if settings.recording is not None:
            settings.recording.attach(self)

    def _start_afresh(self) -> None:
        """Set up what belongs to a process, as before the first call."""
        self._transport: AnyTransport | None = None
        self.lock = threading.RLock()  # a signal handler may close the client that it interrupts

    @abstractmethod
    def _opened(self) -> AnyTransport:
        """Make the transport."""

    def connected(self) -> AnyTransport:
        """Return the transport; make it at the beginning, and in a forked process. Raises ClosedError."""
        with self.lock:
            self.check_open()
            if self._transport is None:
                self._transport = self._opened()
            return self._transport

    def check_open(self) -> None:
        """Raise ClosedError after the end of the session."""
        if self.closed:
            raise ClosedError(self.closed_text)

    @property
    def closed_text(self) -> str:
        """The error of calls after the end of the session."""
        return f"{self._shown} was closed"

    def add(self, member: Member[AnyTransport]) -> None:
        """Note a client, which uses the transport until the session ends."""
        with self.lock:
            self._members.add(member)

    def _end(self) -> None:
        """Refuse calls from now on."""
        with self.lock:
            self.closed = True
            self.flows.exchange.spare = None
            for member in list(self._members):  # a signal handler may derive a client meanwhile
                member.transport = None

    def _detach(self) -> None:
        """End the recording. Raises what it finds."""
        if self._settings.recording is not None:
            self._settings.recording.detach(self)

    def _abandon(self) -> tuple[object, ...]:
        """In a forked process: drop what belongs to the parent. Returns it: it must not be deallocated."""
        if self.closed:
            self.lock = threading.RLock()  # another thread may have held it
            return ()
        left = self._transport, self.flows.exchange.join, self.flows.exchange.give_back
        self.flows.exchange.join, self.flows.exchange.give_back = plain_join, keep
        if self.flows.exchange.spare is not None:  # another thread may have held its lock
            self.flows.exchange.spare = SpareRequests(KEPT)
        for member in list(self._members):
            member.transport = None
        self._start_afresh()
        return left


class Member(Generic[AnyTransport]):
    """One client of a session.

    Args:
        session: what it shares with others.
        flows: the flows of its calls.
        shown: its repr, for error texts.
        derived: whether ``with_options`` made it. If not, closing it ends the session.

    Attributes:
        transport: sends requests; None in a forked process until its first call, and when the client is closed.
        closed: whether ``close`` was called.
    """

    def __init__(self, session: Session[AnyTransport], flows: Flows, shown: str, *, derived: bool = False) -> None:
        self.flows = flows
        self.derived = derived
        self.closed = False
        self._session = session
        self._shown = shown
        self.transport: AnyTransport | None = None
        self.connected()
        session.add(self)

    def connected(self) -> AnyTransport:
        """Return the transport, which a forked process makes. Raises ClosedError for a closed client."""
        with self._session.lock:
            if self.closed:
                raise ClosedError(f"{self._shown} was closed")
            if self._session.closed:
                raise ClosedError(f"{self._shown} shares a connection, which is closed: {self._session.closed_text}")
            transport = self.transport = self._session.connected()
            return transport

    def connect_for(self, flow: Flow[object]) -> None:
        """Connect before a call. On a closed client, its first step fails: raises ClosedError."""
        try:
            self.connected()
        except ClosedError as error:
            with suppress(StopIteration):
                next(flow)
                flow.throw(error)
            flow.close()
            raise

    def _leave(self) -> None:
        """Refuse new calls of this client. Those that have begun finish."""
        with self._session.lock:
            self.closed = True
            self.transport = None
