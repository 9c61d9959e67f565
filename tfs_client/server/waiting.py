"""Waiting for models that a configuration has brought (core/load_servables_fast.cc)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

from tfs_client.errors import AbortedError, CancelledError, DeadlineExceededError, UnavailableError, UnknownError
from tfs_client.results import State, VersionStatus
from tfs_client.server.manager import Manager
from tfs_client.server.model_list import ListedModel


class Awaited:
    """Models that are waited for, until each of them has a version that serves or has failed.

    Args:
        manager: what has their versions.
        models: the models.
        in_force: tells whether the configuration still has a model; another one may have come meanwhile.
        stopping: set when the server stops; it ends the wait once the manager looks again.
        gone: set when whoever asked for the models has gone; it does the same.
    """

    def __init__(
        self,
        manager: Manager,
        models: Sequence[ListedModel],
        in_force: Callable[[ListedModel], bool],
        stopping: Event,
        gone: Event,
    ) -> None:
        self._manager = manager
        self._models = models
        self._in_force = in_force
        self._stopping = stopping
        self._gone = gone
        self._outcomes: list[VersionStatus] = []
        self._missing: list[ListedModel] = []
        self._dropped: list[ListedModel] = []

    def wait(self, patience: float | None, what: str) -> None:
        """Return when every model has a version that serves.

        Args:
            patience: seconds in which versions must appear; None: all that ever will have appeared. Once they have,
                their loads may take as long as they do.
            what: what the model server calls the models here.

        Raises UnknownError for models whose highest version that has come to a result has failed,
        DeadlineExceededError for those that have none, AbortedError for those that another configuration has left out,
        UnavailableError when the server stops, and CancelledError when nobody wants to know any more.
        """
        if not self._manager.wait_until(self._over, patience or 0.0):
            self._manager.wait_until(lambda: self._over() or bool(self._missing))
        if self._stopping.is_set():
            raise UnavailableError("the server is stopping")
        if self._gone.is_set():
            raise CancelledError("the client has gone; the server goes on with the models that it has named")
        if self._dropped:
            raise _left_out(self._dropped)
        if self._missing:
            raise _nothing_found(self._missing, patience)
        self._check_available(what)

    def are_served(self, what: str) -> bool:
        """Look once: whether every model has a version that serves. Raises UnknownError as ``wait`` does."""
        self._manager.wait_until(self._over, 0.0)
        if len(self._outcomes) < len(self._models):
            return False
        self._check_available(what)
        return True

    def _check_available(self, what: str) -> None:
        _check_available([model.name for model in self._models], self._outcomes, what)

    def _over(self) -> bool:
        """Look once; the manager's lock is held, so that what was seen belongs together."""
        aspired = [self._manager.aspired(model.name) for model in self._models]
        self._missing = [model for model, versions in zip(self._models, aspired, strict=True) if not versions]
        self._outcomes = [outcome for versions in aspired if (outcome := outcome_of(versions))]
        self._dropped = [model for model in self._models if not self._in_force(model)]
        ended = bool(self._dropped) or self._stopping.is_set() or self._gone.is_set()
        return ended or len(self._outcomes) == len(self._models)


def outcome_of(versions: Sequence[VersionStatus]) -> VersionStatus | None:
    """Of versions, highest first, the first one that serves or has failed."""
    return next((version for version in versions if version.state in (State.AVAILABLE, State.END)), None)


def _check_available(names: Sequence[str], outcomes: Sequence[VersionStatus], what: str) -> None:
    ended = [pair for pair in zip(names, outcomes, strict=True) if pair[1].state is State.END]
    if ended:
        listed = "".join(f"{{{{name: {name} version: {status.version}}}{_due_to(status)}}}, " for name, status in ended)
        raise UnknownError(f"{len(ended)} {what}(s) did not become available: {{{listed}}}")


def _due_to(status: VersionStatus) -> str:
    return f" due to error: {status.code.name}: {status.message}" if status.code else ""


def _left_out(models: Sequence[ListedModel]) -> AbortedError:
    listed = ", ".join(f"{{name: {model.name} base_path: {model.base_path}}}" for model in models)
    return AbortedError(f"Another configuration has come meanwhile, and left out what was waited for: {listed}")


def _nothing_found(models: Sequence[ListedModel], patience: float | None) -> DeadlineExceededError:
    listed = ", ".join(f"{{name: {model.name} base_path: {model.base_path}}}" for model in models)
    forbidden = "and file_system_poll_wait_seconds forbids to look again"
    waited = forbidden if patience is None else f"within {patience:g} seconds"
    return DeadlineExceededError(f"No version of {len(models)} model(s) was found {waited}: {listed}")
