"""Waiting until the models of a new configuration serve (core/load_servables_fast.cc)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

from tfs_client.errors import AbortedError, CancelledError, DeadlineExceededError, UnavailableError, UnknownError
from tfs_client.results import State, VersionStatus
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.lifecycle.model_list import ListedModel


class AvailabilityWait:
    """Waits until each model has a version that serves or has failed.

    Args:
        manager: manages the versions.
        models: the models to wait for.
        in_force: whether the current configuration still contains a model; it may have been replaced meanwhile.
        stopping: set when the server stops; ends the wait at the next ``notify_waiters``.
        gone: set when the client of the reload has gone; ends the wait in the same way.
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

    def wait(self, timeout: float | None, what: str) -> None:
        """Return when every model has a version that serves.

        Args:
            timeout: seconds within which versions must appear; None: no more will appear. The time for their loads is
                not limited.
            what: the model server's word for the models in this situation.

        Raises UnknownError for models of which the highest version that serves or has failed is a failed one,
        DeadlineExceededError for models without a version, AbortedError for models that another configuration has
        removed, UnavailableError if the server stops, and CancelledError if the client has gone.
        """
        if not self._manager.wait_until(self._over, timeout or 0.0):
            self._manager.wait_until(lambda: self._over() or bool(self._missing))
        if self._stopping.is_set():
            raise UnavailableError("the server is stopping")
        if self._gone.is_set():
            raise CancelledError("the client disconnected; the server keeps the configuration that it sent")
        if self._dropped:
            raise _left_out(self._dropped)
        if self._missing:
            raise _nothing_found(self._missing, timeout)
        self._check_available(what)

    def are_served(self, what: str) -> bool:
        """Return whether every model has a version that serves now. Raises UnknownError as ``wait`` does."""
        self._manager.wait_until(self._over, 0.0)
        if len(self._outcomes) < len(self._models):
            return False
        self._check_available(what)
        return True

    def _check_available(self, what: str) -> None:
        _check_available([model.name for model in self._models], self._outcomes, what)

    def _over(self) -> bool:
        """Update the outcomes, and return whether the wait is over. The caller holds the manager's lock."""
        aspired = [self._manager.aspired(model.name) for model in self._models]
        self._missing = [model for model, versions in zip(self._models, aspired, strict=True) if not versions]
        self._outcomes = [outcome for versions in aspired if (outcome := outcome_of(versions))]
        self._dropped = [model for model in self._models if not self._in_force(model)]
        ended = bool(self._dropped) or self._stopping.is_set() or self._gone.is_set()
        return ended or len(self._outcomes) == len(self._models)


def outcome_of(versions: Sequence[VersionStatus]) -> VersionStatus | None:
    """Return the first version that serves or has failed; versions are given highest first."""
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
    return AbortedError(
        f"Another configuration has replaced this one, without models that this call waits for: {listed}"
    )


def _nothing_found(models: Sequence[ListedModel], timeout: float | None) -> DeadlineExceededError:
    listed = ", ".join(f"{{name: {model.name} base_path: {model.base_path}}}" for model in models)
    forbidden = "and file_system_poll_wait_seconds does not allow another look"
    waited = forbidden if timeout is None else f"within {timeout:g} seconds"
    return DeadlineExceededError(f"No version of {len(models)} model(s) was found {waited}: {listed}")
