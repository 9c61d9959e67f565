"""ModelStates: puts a fake server's versions into states, through the server's own lifecycle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType

from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import CallError, ConfigError
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.servable import Servable
from tfs_client.testing.faults.argument_checks import check_failure, check_state
from tfs_client.testing.faults.sequence_steps import VersionFails, VersionLoading, VersionStep


class HeldState:
    """A version that stays LOADING or UNLOADING until ``finish``. Leaving its ``with`` block finishes it.

    Attributes:
        model, version: the version.
        seconds: the time after which it finishes by itself; None: it does not.
    """

    def __init__(self, model: str, version: int, seconds: float | None, end: Callable[[], None]) -> None:
        self.model: str = model
        self.version: int = version
        self.seconds: float | None = seconds
        self._end = end
        self._once = threading.Lock()  # the thread that gets it ends the state; it is never released
        self._timer: threading.Timer | None = None
        if seconds is not None:
            self._timer = threading.Timer(seconds, self.finish)
            self._timer.name, self._timer.daemon = "fake-server-state", True
            self._timer.start()

    def finish(self) -> None:
        """End the state: a version that loads becomes AVAILABLE, one that unloads ends. Later calls have no effect.

        A version without a model becomes AVAILABLE as soon as ``add_model`` supplies one. The end of an unload waits
        for running calls.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._once.acquire(blocking=False):
            self._end()

    @property
    def finished(self) -> bool:
        """Whether ``finish`` has been called, or the time is over."""
        return self._once.locked()

    def __enter__(self) -> HeldState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish()


class ModelStates:
    """Puts versions into a model server's states, in the order the lifecycle allows.

    GetModelStatus, calls, labels and ``wait_until_ready`` see them as with TensorFlow Serving: a version that is not
    AVAILABLE is NOT_FOUND to calls, and a call for the latest version gets the next lower one. A state begins at once;
    running calls finish on their version.

    A version keeps its model whatever its state: the next ``loading`` serves it again, and so does ``restore``.

    Versions of a configuration (``ServerConfig.model_config``) can only be unloaded; the server's next look at their
    directory loads them again.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._lock = threading.Lock()
        self._held: list[HeldState] = []
        # What the versions served whose states were changed; None: nothing.
        self._served: dict[tuple[str, int], Servable | None] = {}

    def loading(self, model: str, version: int, *, seconds: float | None = None) -> HeldState:
        """Make a version LOADING, until ``finish`` or for some seconds. Then it is AVAILABLE.

        A version that serves is unloaded first, and serves the same model after the load; so does one that has failed,
        or was unloaded by a fault or state. A version that does not exist yet is AVAILABLE once the load is over and
        ``add_model`` has supplied a model.

        Raises ConfigError for a version that is loading or unloading.
        """
        check_state(version, seconds)
        with self._taking(model, version) as servable:
            harness = self._manager.begin_load(model, version, servable)
        return self._hold(HeldState(model, version, seconds, partial(self._manager.end_load, harness)))

    def failed(self, model: str, version: int, error: CallError) -> None:
        """Mark a version as failed to load (state END) with an error, such as NotFoundError("no saved_model.pb").

        A version that serves is unloaded first; one that is LOADING fails. As in TensorFlow Serving it stays so, until
        ``add_model`` or ``loading`` begins another load.

        Raises ConfigError for a version that is unloading.
        """
        check_failure(error)
        check_state(version, None)
        with self._taking(model, version):
            self._manager.fail(model, version, error)

    def unloading(self, model: str, version: int, *, seconds: float | None = None) -> HeldState:
        """Make a version UNLOADING, until ``finish`` or for some seconds. Then it ends.

        Raises ConfigError for a version that does not serve.
        """
        check_state(version, seconds)
        with self._taking(model, version):
            harness = self._manager.begin_unload(model, version)
        return self._hold(HeldState(model, version, seconds, partial(self._manager.end_unload, harness)))

    def finish(self) -> None:
        """Finish all versions that are held LOADING or UNLOADING."""
        for held in self._taken(lambda held: True):
            held.finish()

    def finish_timed(self) -> None:
        """Finish those that would finish by themselves: their timers must not outlive the server."""
        for held in self._taken(lambda held: held.seconds is not None):
            held.finish()

    def restore(self) -> None:
        """Finish all states, and let the versions serve again that states and faults have taken away.

        Versions that only a state has made known are forgotten.
        """
        self.finish()
        with self._lock:
            served, self._served = self._served, {}
        for (model, version), servable in served.items():
            if servable is None:
                self._manager.forget(model, version)
            elif not self._manager.is_available(model, version):
                self._manager.add(model, version, servable)

    def forget(self, model: str, version: int) -> None:
        """Forget what a version has served: neither ``restore`` nor a load brings it back."""
        with self._lock:
            self._served.pop((model, version), None)

    def begin(self, step: VersionStep, model: str, version: int) -> HeldState | None:
        """Begin the state of a sequence's step."""
        if isinstance(step, VersionFails):
            self.failed(model, version, step.error)
            return None
        if isinstance(step, VersionLoading):
            return self.loading(model, version, seconds=step.seconds)
        with self._taking(model, version):
            harness = self._manager.begin_unload(model, version)
        end = partial(self._manager.unload_in_background, harness)  # the next call must not wait for running ones
        return self._hold(HeldState(model, version, step.seconds, end))

    def version_of(self, spec: ModelSpec) -> int | None:
        """Return the version that a call would get; None for none."""
        try:
            with self._manager.handle(spec) as found:
                return found.version
        except CallError:
            return None

    def is_available(self, model: str, version: int) -> bool:
        """Return whether a version serves."""
        return self._manager.is_available(model, version)

    def vanish(self, spec: ModelSpec) -> bool:
        """Unload the version that a call would get, without waiting for running calls. Returns False without one."""
        version = self.version_of(spec)
        if version is None:
            return False
        try:
            with self._taking(spec.name, version):
                harness = self._manager.begin_unload(spec.name, version)
        except ConfigError:  # another call was faster
            return False
        self._manager.unload_in_background(harness)
        return True

    @contextmanager
    def _taking(self, model: str, version: int) -> Iterator[Servable | None]:
        """Provide what a version serves, or has served before its state was changed; note it if the block succeeds."""
        servable = self._manager.added_servable(model, version)
        if servable is None:
            with self._lock:
                servable = self._served.get((model, version))
        yield servable
        with self._lock:
            self._served[model, version] = servable

    def _hold(self, state: HeldState) -> HeldState:
        with self._lock:
            self._held = [held for held in self._held if not held.finished]
            self._held.append(state)
        return state

    def _taken(self, wanted: Callable[[HeldState], bool]) -> list[HeldState]:
        with self._lock:
            taken = [held for held in self._held if wanted(held)]
            self._held = [held for held in self._held if held not in taken]
        return taken
