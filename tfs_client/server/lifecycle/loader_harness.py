"""LoaderHarness: one managed version, from the moment it is aspired to its end (core/loader_harness.h)."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tfs_client._printable import shown
from tfs_client.errors import CallError, ConfigError, StatusCode
from tfs_client.results import VersionStatus
from tfs_client.server.lifecycle.loader import Loader
from tfs_client.server.lifecycle.states import REPORTED, Phase, checked_move
from tfs_client.server.servable import Servable


@dataclass(frozen=True)
class ServableHandle:
    """The servable that a request has been resolved to; it stays loaded as long as the handle is held."""

    name: str
    version: int
    servable: Servable


class LoaderHarness:
    """The phase of a version and the data that goes with it. The manager's lock guards it.

    Attributes:
        loader: loads and unloads it; None for a servable that was added by ``add_model``.
        is_aspired: whether the source aspires this version.
        managed: False once the version has ended and only its status is kept.
        handle: what requests get, while there is a servable.
        users: the number of requests that hold the handle, or an earlier one.
        cancelled: set when the version is no longer aspired; ends the pauses between attempts to load it.
        load_ended: whether a load by the program has ended; the version then serves as soon as it has a servable.
        code, message: why it failed to load.
    """

    def __init__(self, name: str, version: int, loader: Loader | None = None) -> None:
        self.name = name
        self.version = version
        self.loader = loader
        self.phase: Phase = Phase.NEW
        self.is_aspired: bool = True
        self.managed = True
        self.handle: ServableHandle | None = None
        self.users = 0
        self.cancelled: threading.Event = threading.Event()
        self.load_ended: bool = False
        self.code: StatusCode = StatusCode.OK
        self.message: str = ""

    def move(self, phase: Phase) -> None:
        """Move to another phase. Raises ConfigError for an illegal move."""
        self.phase = checked_move(self, self.phase, phase)

    def fail(self, error: CallError) -> None:
        """Move to ERROR, with this error as the reason."""
        self.move(Phase.ERROR)
        self.code, self.message = error.code, error.details

    def set_servable(self, servable: Servable) -> None:
        """Give this servable to new requests. Requests that hold an earlier one keep it."""
        self.handle = ServableHandle(self.name, self.version, servable)

    def take_servable(self) -> Servable | None:
        """Remove and return the servable, so that the harness no longer keeps it alive."""
        handle, self.handle = self.handle, None
        return None if handle is None else handle.servable

    def set_unaspired(self) -> None:
        """Record that the version is no longer aspired, and cancel its load."""
        self.is_aspired = False
        self.cancelled.set()

    @property
    def status(self) -> VersionStatus:
        """The status that GetModelStatus reports."""
        return VersionStatus(self.version, REPORTED[self.phase], self.code, self.message)

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"  # as the model server writes a ServableId


def check_id(name: str, version: int) -> None:
    """Raise ConfigError for what is not a name, and for what is not the number of a version."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"expected a name for the model, got {'an empty one' if name == '' else shown(name)}")
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < 1 << 63:
        raise ConfigError(f"model {name!r}: expected a version number from 0 to 2**63 - 1, got {shown(version)}")
