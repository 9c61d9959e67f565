"""BasicManager: loads and unloads versions, gives requests handles to them, and reports their states.

It carries out loads and unloads; ``manager`` decides which. They run in separate threads, so that models do not wait
for each other. Source: core/basic_manager.cc, core/loader_harness.cc.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Collection
from functools import partial

from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import CallError, CancelledError, ConfigError, InvalidArgumentError, NotFoundError
from tfs_client.results import State, VersionStatus
from tfs_client.server.config import Retries
from tfs_client.server.files.file_errors import load_error, status_text
from tfs_client.server.lifecycle import loader as loading
from tfs_client.server.lifecycle.loader_harness import LoaderHarness, ServableHandle, check_id
from tfs_client.server.lifecycle.serving_map import LabelTable, ServingMap
from tfs_client.server.lifecycle.states import ENDED, TRANSIENT, Phase
from tfs_client.server.lifecycle.workers import Workers
from tfs_client.server.servable import Servable

log: logging.Logger = logging.getLogger("tfs_client.server")


class BasicManager:
    """All versions of all models. Its methods may be called from any thread.

    Callers of methods whose names begin with an underscore must hold the lock ``_changed``, except for those that run
    in the threads for loads and unloads.

    Args:
        version_labels: for each model, its labels and the version of each.
        retries: how often a failed load is retried.
        load_threads, unload_threads: the number of loads, or unloads, that run at the same time; 0: one of each model.
    """

    # Handles and unloading. A servable must not be unloaded while a request runs on it, and no request may find it
    # afterwards. So a request resolves its version and increments ``users`` in one step under the lock (acquire), and
    # an unload removes the version from the serving map under the same lock before it waits for ``users`` to reach 0.
    # From then on the count can only fall. release notifies only in the phase UNLOADING: requests are frequent, and no
    # other wait depends on the count. A reported state is never ahead of the facts: AVAILABLE begins and ends in the
    # same step in which requests can find the version, and END follows the release of its memory.

    def __init__(
        self,
        version_labels: LabelTable | None = None,
        *,
        retries: Retries = Retries(),  # noqa: B008  frozen
        load_threads: int = 0,
        unload_threads: int = 0,
    ) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._models: dict[str, dict[int, LoaderHarness]] = {}
        self._configured: frozenset[str] = frozenset()
        self._serving = ServingMap(version_labels)
        self._retries = retries
        self._loads = Workers(load_threads, "tfs-load")
        self._unloads = Workers(unload_threads, "tfs-unload")

    def _reconcile(self, name: str) -> None:
        """React to the end of a load or unload of this model."""
        self._changed.notify_all()

    # --- servables added by the program ------------------------------------------------------------------------------

    def add(self, name: str, version: int, servable: Servable) -> None:
        """Make a version available. It replaces one that serves, whose running calls finish with the old servable.

        Raises ConfigError for a model that comes from a configuration.
        """
        check_id(name, version)
        with self._changed:
            known = self._added(name, version)
            if known is None or known.phase not in (Phase.LOADING, Phase.READY):
                known = self._loading(name, version)
                known.load_ended = True
            known.set_servable(servable)  # ``users`` still counts earlier calls, so that a removal waits for them too
            if known.phase is Phase.LOADING and known.load_ended:
                self._serve(known)

    def remove(self, name: str, version: int) -> None:
        """Stop serving a version. New requests no longer find it; returns when running ones are done."""
        self.end_unload(self.begin_unload(name, version))

    def has_servable(self, name: str, version: int) -> bool:
        """Whether a version has a servable: it serves, or will once its load ends."""
        with self._changed:
            known = self._models.get(name, {}).get(version)
            return known is not None and known.handle is not None and known.phase in (Phase.LOADING, Phase.READY)

    def added_servable(self, name: str, version: int) -> Servable | None:
        """Return the servable of a version of the program's; None for a version without one."""
        with self._changed:
            known = self._models.get(name, {}).get(version)
            return None if known is None or known.loader or known.handle is None else known.handle.servable

    def forget(self, name: str, version: int) -> None:
        """Forget a version of the program's that has ended, or that is LOADING without a servable; else no-op."""
        with self._changed:
            known = self._models.get(name, {}).get(version)
            if known is None or known.loader or known.handle or known.phase not in (Phase.LOADING, *ENDED):
                return
            del self._models[name][version]
            if not self._models[name]:
                del self._models[name]
            self._changed.notify_all()

    def begin_load(self, name: str, version: int, servable: Servable | None = None) -> LoaderHarness:
        """Report a version of the program's as LOADING, until ``end_load``.

        A version that serves is unloaded first, without waiting for its running calls; its servable serves again after
        the load. Any other version serves ``servable`` then. Raises ConfigError for a version that is loading or
        unloading, and for a model that comes from a configuration.
        """
        check_id(name, version)
        with self._changed:
            known = self._added(name, version)
            if known is not None and known.phase in TRANSIENT:
                raise ConfigError(
                    f"model {name!r} version {version} is {known.phase.value} already: call finish() first"
                )
            if known is not None and known.phase is Phase.READY:
                servable = self.added_servable(name, version)
                self.unload_in_background(self.begin_unload(name, version))
            harness = self._loading(name, version)
            if servable is not None:
                harness.set_servable(servable)
            self._changed.notify_all()
            return harness

    def end_load(self, harness: LoaderHarness) -> None:
        """Let a version serve that ``begin_load`` began to load; no-op if the load has failed.

        A version without a servable serves as soon as ``add`` supplies one.
        """
        with self._changed:
            harness.load_ended = True
            if harness.phase is Phase.LOADING and harness.handle is not None:
                self._serve(harness)

    def fail(self, name: str, version: int, error: CallError) -> None:
        """Let the load of a version of the program's fail. A version that is not loading begins a load for it."""
        with self._changed:
            known = self._models.get(name, {}).get(version)
            if known is None or known.loader is not None or known.phase is not Phase.LOADING:
                known = self.begin_load(name, version)
            known.take_servable()
            known.fail(error)
            self._changed.notify_all()

    def begin_unload(self, name: str, version: int) -> LoaderHarness:
        """Hide a version from new requests, and report it as UNLOADING until ``end_unload``."""
        with self._changed:
            harness = self._models.get(name, {}).get(version)
            if harness is None or harness.phase is not Phase.READY:
                raise ConfigError(f"model {name!r} has no version {version} that serves")
            harness.set_unaspired()
            harness.move(Phase.UNLOAD_REQUESTED)
            self._quiesce(harness)
            return harness

    def unload_in_background(self, harness: LoaderHarness) -> None:
        """Do what ``end_unload`` does: in a worker thread if a call is running, else at once."""
        with self._changed:
            idle = harness.users == 0
        if idle:
            self.end_unload(harness)
        else:
            self._unloads.submit(harness.name, partial(self.end_unload, harness))

    def _added(self, name: str, version: int) -> LoaderHarness | None:
        """Return this version if the program has added it before. Raises ConfigError for models of a configuration."""
        versions = self._models.get(name, {})
        if name in self._configured or any(known.loader and known.managed for known in versions.values()):
            raise ConfigError(f"model {name!r} comes from the server's configuration; use another name")
        return versions.get(version)

    def _loading(self, name: str, version: int) -> LoaderHarness:
        harness = self._manage(LoaderHarness(name, version))
        harness.move(Phase.LOAD_REQUESTED)
        harness.move(Phase.LOADING)
        return harness

    def reserve_names(self, names: Collection[str]) -> None:
        """Reserve exactly these names for models of a configuration. Raises CallError if ``add`` has used one."""
        with self._changed:
            for name in names:
                if any(
                    known.loader is None and known.phase not in ENDED for known in self._models.get(name, {}).values()
                ):
                    raise InvalidArgumentError(
                        f"Illegal to configure model {name}: --embedded, --fake or Server.add_model has already added "
                        "a model of this name. Rename one of them"
                    )
            self._configured = frozenset(names)

    # --- loading and unloading ---------------------------------------------------------------------------------------

    def _manage(self, harness: LoaderHarness) -> LoaderHarness:
        self._models.setdefault(harness.name, {})[harness.version] = harness
        return harness

    def _request_load(self, harness: LoaderHarness) -> None:
        harness.move(Phase.LOAD_REQUESTED)
        self._loads.submit(harness.name, partial(self._load, harness))

    def _request_unload(self, harness: LoaderHarness) -> None:
        harness.move(Phase.UNLOAD_REQUESTED)
        self._unloads.submit(harness.name, partial(self._unload, harness))

    def _load(self, harness: LoaderHarness) -> None:
        try:
            servable = self._loaded(harness)
        except BaseException as error:  # any exception ends the version
            failure = load_error(error, str(harness))
            level = logging.ERROR if harness.is_aspired else logging.INFO
            log.log(level, "Encountered an error for servable version %s: %s", harness, status_text(failure))
            log.log(level, "Servable %s cannot be loaded: %s", harness, status_text(failure))
            with self._changed:
                harness.fail(failure)
                self._reconcile(harness.name)
            return
        with self._changed:
            if harness.is_aspired:
                log.info("Successfully loaded servable version %s", harness)
                harness.set_servable(servable)
                self._serve(harness)
                self._reconcile(harness.name)
                return
            harness.move(Phase.UNLOADING)
        self._drop_just_loaded(harness, servable)

    def _loaded(self, harness: LoaderHarness) -> Servable:
        assert harness.loader is not None
        who = str(harness)
        loading.reserve(who, harness.loader, self._retries, harness.cancelled)
        log.info("Approving load for servable version %s", who)
        with self._changed:
            harness.move(Phase.LOADING)
            self._changed.notify_all()
        log.info("Loading servable version %s", who)
        return loading.load(who, harness.loader, self._retries, harness.cancelled)

    def _drop_just_loaded(self, harness: LoaderHarness, servable: Servable) -> None:
        log.info("Unloading just-loaded servable version %s", harness)
        assert harness.loader is not None
        harness.loader.unload(servable)
        with self._changed:
            harness.fail(CancelledError("Loading of servable cancelled"))
            self._reconcile(harness.name)

    def _serve(self, harness: LoaderHarness) -> None:
        harness.move(Phase.READY)
        self._serving.put(harness)
        self._changed.notify_all()

    def _unload(self, harness: LoaderHarness) -> None:
        with self._changed:
            self._quiesce(harness)
        self.end_unload(harness)

    def _quiesce(self, harness: LoaderHarness) -> None:
        log.info("Quiescing servable version %s", harness)
        harness.move(Phase.UNLOADING)
        self._serving.withdraw(harness)
        self._changed.notify_all()

    def end_unload(self, harness: LoaderHarness) -> None:
        """Wait for the last request of a version that is UNLOADING, release its servable, and report END.

        No-op if that is done already.
        """
        with self._changed:
            self._changed.wait_for(lambda: harness.users == 0)
            if harness.phase is not Phase.UNLOADING:
                return
            servable = harness.take_servable()
        log.info("Done quiescing servable version %s", harness)
        if harness.loader is not None and servable is not None:
            harness.loader.unload(servable)
        del servable  # its memory is released before END is reported
        log.info("Done unloading servable version %s", harness)
        with self._changed:
            if harness.phase is Phase.UNLOADING:  # not if another thread was here at the same time
                harness.move(Phase.DISABLED)
                self._reconcile(harness.name)

    # --- requests ----------------------------------------------------------------------------------------------------

    def handle(self, spec: ModelSpec) -> HandleScope:
        """Hold the servable of a request for a block. Entering it raises CallError as the model server does."""
        return HandleScope(self, spec)

    def acquire(self, spec: ModelSpec) -> tuple[LoaderHarness, ServableHandle]:
        """Resolve a request and count it as a user of the version, until ``release``."""
        with self._lock:
            harness = self._serving.resolve(spec)
            handle = harness.handle
            assert handle is not None
            harness.users += 1
            return harness, handle

    def release(self, harness: LoaderHarness) -> None:
        """End a request's use of the version."""
        with self._lock:
            harness.users -= 1
            if not harness.users and harness.phase is Phase.UNLOADING:
                self._changed.notify_all()

    # --- labels ------------------------------------------------------------------------------------------------------

    def set_label(self, name: str, label: str, version: int) -> None:
        """Assign a label to a version of a model."""
        with self._changed:
            self._serving.set_label(name, label, version)

    def labels(self) -> LabelTable:
        """For each model, its labels and the version of each."""
        with self._changed:
            return self._serving.labels()

    def replace_labels(self, labels: LabelTable) -> None:
        """Replace all labels of all models. Labels that are not in the new table become unknown."""
        with self._changed:
            self._serving.replace_labels(labels)

    # --- states ------------------------------------------------------------------------------------------------------

    def status(self, spec: ModelSpec) -> tuple[VersionStatus, ...]:
        """The states of a model's versions, highest first; a label in ``spec`` is ignored. Raises NotFoundError.

        The list includes all versions that were ever managed.
        """
        with self._changed:
            versions = self._models.get(spec.name, {})
            if spec.version is not None:
                if spec.version not in versions:
                    raise NotFoundError(f"Could not find version {spec.version} of model {spec.name}")
                versions = {spec.version: versions[spec.version]}
            if not versions:
                raise NotFoundError(f"Could not find any versions of model {spec.name}")
            return tuple(versions[number].status for number in sorted(versions, reverse=True))

    def served_names(self) -> set[str]:
        """The models with a version that has not ended."""
        with self._changed:
            return {
                name
                for name, versions in self._models.items()
                if any(known.status.state is not State.END for known in versions.values())
            }

    def managed_names(self) -> set[str]:
        """The models of which any version was ever managed."""
        with self._changed:
            return {name for name, versions in self._models.items() if versions}

    def is_available(self, name: str, version: int) -> bool:
        """Whether a version serves."""
        with self._changed:
            harness = self._models.get(name, {}).get(version)
            return harness is not None and harness.status.state is State.AVAILABLE

    def wait_until(self, predicate: Callable[[], bool], timeout: float = math.inf) -> bool:
        """Wait until the predicate holds; False after ``timeout`` seconds.

        The predicate is evaluated whenever a state changes. It may call the manager, but must not block.
        """
        with self._changed:
            return self._changed.wait_for(predicate, min(timeout, threading.TIMEOUT_MAX))

    def notify_waiters(self) -> None:
        """Evaluate the predicates of ``wait_until`` again, because something outside the manager has changed."""
        with self._changed:
            self._changed.notify_all()


class HandleScope:
    """Holds the servable of a request for a block. A class because every request makes one: a generator is slower."""

    __slots__ = ("_harness", "_manager", "_spec")

    def __init__(self, manager: BasicManager, spec: ModelSpec) -> None:
        self._manager = manager
        self._spec = spec

    def __enter__(self) -> ServableHandle:
        self._harness, handle = self._manager.acquire(self._spec)
        return handle

    def __exit__(self, *_: object) -> None:
        self._manager.release(self._harness)
