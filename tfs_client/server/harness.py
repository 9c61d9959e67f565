"""Harness: one version under management, from the first wish for it to its end."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tfs_client.errors import CallError, StatusCode
from tfs_client.results import VersionStatus
from tfs_client.server.loader import Loader
from tfs_client.server.servable import Servable
from tfs_client.server.states import SHOWN, Phase, checked_move


@dataclass(frozen=True)
class Handle:
    """A servable that a request has resolved; it stays loaded as long as the handle is held."""

    name: str
    version: int
    servable: Servable


class Harness:
    """A version's phase, and what belongs to it. It has no lock of its own: the manager's guards it.

    Attributes:
        loader: how it is loaded; None for a servable that was brought along.
        wanted: whether it is among the versions that the source wants.
        managed: False once it is over and forgotten; then only its status is of interest.
        handle: what requests get, while there is a servable.
        users: how many requests hold the handle, or an earlier one.
        cancelled: set when nobody wants the version any more; ends the pauses of its load.
        code, message: why it could not be loaded.
    """

    def __init__(self, name: str, version: int, loader: Loader | None = None) -> None:
        self.name = name
        self.version = version
        self.loader = loader
        self.phase = Phase.NEW
        self.wanted = True
        self.managed = True
        self.handle: Handle | None = None
        self.users = 0
        self.cancelled = threading.Event()
        self.code = StatusCode.OK
        self.message = ""

    def move(self, phase: Phase) -> None:
        """Go on to another phase. Raises ConfigError for one that does not follow."""
        self.phase = checked_move(self, self.phase, phase)

    def fail(self, error: CallError) -> None:
        """Go on to ERROR, for this reason."""
        self.move(Phase.ERROR)
        self.code, self.message = error.code, error.details

    def hold(self, servable: Servable) -> None:
        """Give requests this servable; one that was there before is left to those who have it."""
        self.handle = Handle(self.name, self.version, servable)

    def release(self) -> Servable | None:
        """Take the servable away: nothing here keeps it alive any more."""
        handle, self.handle = self.handle, None
        return None if handle is None else handle.servable

    def unwant(self) -> None:
        """Nobody wants the version any more."""
        self.wanted = False
        self.cancelled.set()

    @property
    def status(self) -> VersionStatus:
        """What GetModelStatus tells."""
        return VersionStatus(self.version, SHOWN[self.phase], self.code, self.message)

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"  # as the model server writes a ServableId
