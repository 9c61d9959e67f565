"""UnservedCalls: calls of models, versions and signatures that a fake server does not have."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import listed
from tfs_client.errors import CallError
from tfs_client.recordings.episodes import LOGGED
from tfs_client.server import ServedCall
from tfs_client.server.call_hooks import HttpReply
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.servable import Servable
from tfs_client.signatures import DEFAULT_SIGNATURE
from tfs_client.testing.verification.call_patterns import describe

# Programs ask for the states of models that are not there yet, while they wait for them.
_MAY_BE_MISSING = frozenset(("GetModelStatus",))


class UnservedCalls:
    """CallHooks that note calls which cannot be answered. A model that is loading or was unloaded is not missing.

    Thread-safe.

    Args:
        manager: the versions that are served.
        replayed: whether a recording answers the calls of a model.
    """

    def __init__(self, manager: Manager, replayed: Callable[[str], bool]) -> None:
        self._manager = manager
        self._replayed = replayed
        self._lock = threading.Lock()
        self._calls: list[tuple[ServedCall, str]] = []

    def arrived(self, call: ServedCall, spec: ModelSpec, note_inputs: Callable[[], None]) -> None:
        """Note a call of a model or version that was never there."""
        if call.method in _MAY_BE_MISSING or self._replayed(spec.name):
            return
        try:
            self._manager.status(spec)
        except CallError:
            which = f"model {spec.name!r}" if spec.version is None else f"version {spec.version} of model {spec.name!r}"
            self._note(call, f"{which} is not served; models: {listed(sorted(self._manager.served_names()))}")

    def servable(self, call: ServedCall, servable: Servable) -> Servable:
        """Note a call of a signature that is not there."""
        name = call.signature or DEFAULT_SIGNATURE
        if call.method in LOGGED and name not in servable.signatures:
            self._note(call, f"it has no signature {name!r}; signatures: {listed(sorted(servable.signatures))}")
        return servable

    def grpc_reply(self, call: ServedCall, reply: bytes) -> bytes:
        """See CallHooks."""
        return reply

    def rest_reply(self, call: ServedCall, reply: HttpReply) -> HttpReply:
        """See CallHooks."""
        return reply

    def _note(self, call: ServedCall, reason: str) -> None:
        with self._lock:
            self._calls.append((call, reason))

    def calls(self) -> list[str]:
        """Return the calls, each with the reason."""
        with self._lock:
            return [f"{describe(call)}\n{reason}" for call, reason in self._calls]

    def clear(self) -> None:
        """Forget the calls."""
        with self._lock:
            self._calls.clear()
