"""HookChain: several hooks as one. Those that were added first see a call first, and its reply last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tfs_client._codec.model_spec import ModelSpec
from tfs_client.server.call_hooks import HttpReply, StandIn
from tfs_client.server.call_record import Observer, ServedCall
from tfs_client.server.servable import Servable


class FakeHooks(Protocol):
    """The hooks of one part of a fake server; see CallHooks."""

    def arrived(self, call: ServedCall, spec: ModelSpec, note_inputs: Callable[[], None]) -> None:
        """See CallHooks."""

    def servable(self, call: ServedCall, servable: Servable) -> Servable:
        """See CallHooks."""

    def grpc_reply(self, call: ServedCall, reply: bytes) -> bytes:
        """See CallHooks."""

    def rest_reply(self, call: ServedCall, reply: HttpReply) -> HttpReply:
        """See CallHooks."""


class StandIns(Protocol):
    """A source of stand-ins; see CallHooks."""

    def stand_in(self, call: ServedCall, spec: ModelSpec) -> StandIn | None:
        """See CallHooks."""


class HookChain:
    """The hooks of a fake server. ``arrived`` of the first that raises CallError refuses the call."""

    def __init__(self) -> None:
        self._hooks: tuple[FakeHooks, ...] = ()
        self._observers: tuple[Observer, ...] = ()
        self._stand_ins: tuple[StandIns, ...] = ()

    def add(self, hooks: FakeHooks) -> None:
        """Add hooks at the end."""
        self._hooks = (*self._hooks, hooks)

    def add_observer(self, observer: Observer) -> None:
        """Add an observer of calls that end, behind the others."""
        self._observers = (*self._observers, observer)

    def ended(self, call: ServedCall) -> None:
        """Pass a call that has ended to the observers."""
        for observer in self._observers:
            observer(call)

    def add_stand_ins(self, stand_ins: StandIns) -> None:
        """Add a source of stand-ins at the end. The first one that has a stand-in for a call answers it."""
        self._stand_ins = (*self._stand_ins, stand_ins)

    def stand_in(self, call: ServedCall, spec: ModelSpec) -> StandIn | None:
        """See CallHooks."""
        found = (source.stand_in(call, spec) for source in self._stand_ins)
        return next((each for each in found if each is not None), None)

    def arrived(self, call: ServedCall, spec: ModelSpec, note_inputs: Callable[[], None]) -> None:
        """See CallHooks."""
        for hooks in self._hooks:
            hooks.arrived(call, spec, note_inputs)

    def servable(self, call: ServedCall, servable: Servable) -> Servable:
        """See CallHooks."""
        for hooks in self._hooks:
            servable = hooks.servable(call, servable)
        return servable

    def grpc_reply(self, call: ServedCall, reply: bytes) -> bytes:
        """See CallHooks."""
        for hooks in reversed(self._hooks):
            reply = hooks.grpc_reply(call, reply)
        return reply

    def rest_reply(self, call: ServedCall, reply: HttpReply) -> HttpReply:
        """See CallHooks."""
        for hooks in reversed(self._hooks):
            reply = hooks.rest_reply(call, reply)
        return reply
