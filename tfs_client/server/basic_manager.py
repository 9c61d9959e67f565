"""BasicManager: loads and unloads versions, lets requests hold them, and tells their states.

It does what it is told; which versions there should be is decided in ``manager``. Loads and unloads run in threads of
their own, so that models do not wait for each other. Source: core/basic_manager.cc, core/loader_harness.cc.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Collection
from functools import partial

from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import CancelledError, ConfigError, InvalidArgumentError, NotFoundError
from tfs_client.results import State, VersionStatus
from tfs_client.server import loader as loading
from tfs_client.server.file_errors import load_error, status_text
from tfs_client.server.harness import Handle, Harness
from tfs_client.server.loader import Retries
from tfs_client.server.servable import Servable
from tfs_client.server.serving_map import LabelTable, ServingMap
from tfs_client.server.states import OVER, Phase
from tfs_client.server.workers import Workers
from tfs_client.shown import shown

log = logging.getLogger("tfs_client.server")


class BasicManager:
    """All versions of all models. Its methods may be called from any thread.

    Those whose names begin with an underscore need the lock ``_changed``, except what runs in threads of its own.

    Args:
        version_labels: for each model, the version that a label stands for.
        retries: how often a failed load is tried again.
        load_threads, unload_threads: how many loads, or unloads, run at the same time; 0: one of each model.
    """

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
        self._models: dict[str, dict[int, Harness]] = {}
        self._claimed: frozenset[str] = frozenset()
        self._serving = ServingMap(version_labels)
        self._retries = retries
        self._loads = Workers(load_threads, "tfs-load")
        self._unloads = Workers(unload_threads, "tfs-unload")

    def _settled(self, name: str) -> None:
        """A load or unload of this model has come to its end."""
        self._changed.notify_all()

    # --- servables that are brought along ----------------------------------------------------------------------------

    def add(self, name: str, version: int, servable: Servable) -> None:
        """Make a version available. One that is being served is replaced; its calls finish with what they have.

        Raises ConfigError for a model that comes from a configuration.
        """
        if not name:
            raise ConfigError("a model needs a name")
        if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < 1 << 63:
            raise ConfigError(f"model {name!r}: expected a version number from 0 to 2**63 - 1, got {shown(version)}")
        with self._changed:
            versions = self._models.get(name, {})
            if name in self._claimed or any(known.loader and known.managed for known in versions.values()):
                raise ConfigError(f"model {name!r} comes from the server's configuration; take another name")
            known = versions.get(version)
            if known is not None and known.phase is Phase.READY:
                known.hold(servable)  # its users stay counted, so that a removal waits for them too
                return
            harness = self._manage(Harness(name, version))
            harness.move(Phase.LOAD_REQUESTED)
            harness.move(Phase.LOADING)
            self._serve(harness, servable)

    def remove(self, name: str, version: int) -> None:
        """Stop serving a version: new requests no longer find it; returns when those that have it are done."""
        with self._changed:
            harness = self._models.get(name, {}).get(version)
            if harness is None or harness.phase is not Phase.READY:
                raise ConfigError(f"model {name!r} has no version {version} that is being served")
            harness.unwant()
            harness.move(Phase.UNLOAD_REQUESTED)
        self._unload(harness)

    def claim(self, names: Collection[str]) -> None:
        """Keep these names, and no others, for models of a configuration. Raises CallError if one was brought along."""
        with self._changed:
            for name in names:
                if any(
                    known.loader is None and known.phase not in OVER for known in self._models.get(name, {}).values()
                ):
                    raise InvalidArgumentError(
                        f"Illegal to configure model {name}: a model of this name was brought along with the server "
                        "(by --embedded, or Server.add_model); give one of them another name"
                    )
            self._claimed = frozenset(names)

    # --- loading and unloading ---------------------------------------------------------------------------------------

    def _manage(self, harness: Harness) -> Harness:
        self._models.setdefault(harness.name, {})[harness.version] = harness
        return harness

    def _request_load(self, harness: Harness) -> None:
        harness.move(Phase.LOAD_REQUESTED)
        self._loads.submit(harness.name, partial(self._load, harness))

    def _request_unload(self, harness: Harness) -> None:
        harness.move(Phase.UNLOAD_REQUESTED)
        self._unloads.submit(harness.name, partial(self._unload, harness))

    def _load(self, harness: Harness) -> None:
        try:
            servable = self._loaded(harness)
        except BaseException as error:  # whatever it is, the version has come to its end
            failure = load_error(error, str(harness))
            level = logging.ERROR if harness.wanted else logging.INFO
            log.log(level, "Encountered an error for servable version %s: %s", harness, status_text(failure))
            log.log(level, "Servable %s cannot be loaded: %s", harness, status_text(failure))
            with self._changed:
                harness.fail(failure)
                self._settled(harness.name)
            return
        with self._changed:
            if harness.wanted:
                log.info("Successfully loaded servable version %s", harness)
                self._serve(harness, servable)
                self._settled(harness.name)
                return
            harness.move(Phase.UNLOADING)
        self._drop_just_loaded(harness, servable)

    def _loaded(self, harness: Harness) -> Servable:
        assert harness.loader is not None
        who = str(harness)
        loading.reserve(who, harness.loader, self._retries, harness.cancelled)
        log.info("Approving load for servable version %s", who)
        with self._changed:
            harness.move(Phase.LOADING)
            self._changed.notify_all()
        log.info("Loading servable version %s", who)
        return loading.load(who, harness.loader, self._retries, harness.cancelled)

    def _drop_just_loaded(self, harness: Harness, servable: Servable) -> None:
        log.info("Unloading just-loaded servable version %s", harness)
        assert harness.loader is not None
        harness.loader.unload(servable)
        with self._changed:
            harness.fail(CancelledError("Loading of servable cancelled"))
            self._settled(harness.name)

    def _serve(self, harness: Harness, servable: Servable) -> None:
        harness.hold(servable)
        harness.move(Phase.READY)
        self._serving.put(harness)
        self._changed.notify_all()

    def _unload(self, harness: Harness) -> None:
        log.info("Quiescing servable version %s", harness)
        with self._changed:
            harness.move(Phase.UNLOADING)
            self._serving.withdraw(harness)
            self._changed.notify_all()
            self._changed.wait_for(lambda: harness.users == 0)
            servable = harness.release()
        log.info("Done quiescing servable version %s", harness)
        if harness.loader is not None and servable is not None:
            harness.loader.unload(servable)
        del servable  # when END is told it is gone
        log.info("Done unloading servable version %s", harness)
        with self._changed:
            harness.move(Phase.DISABLED)
            self._settled(harness.name)

    # --- requests ----------------------------------------------------------------------------------------------------

    def handle(self, spec: ModelSpec) -> Held:
        """The servable that a request is for, held until a block ends; entering it raises CallError as Serving does."""
        return Held(self, spec)

    def taken(self, spec: ModelSpec) -> tuple[Harness, Handle]:
        """What a request holds from now on; ``given_back`` ends that."""
        with self._lock:
            harness = self._serving.resolve(spec)
            handle = harness.handle
            assert handle is not None
            harness.users += 1
            return harness, handle

    def given_back(self, harness: Harness) -> None:
        """A request is done."""
        with self._lock:
            harness.users -= 1
            if not harness.users and harness.phase is Phase.UNLOADING:
                self._changed.notify_all()

    # --- labels ------------------------------------------------------------------------------------------------------

    def set_label(self, name: str, label: str, version: int) -> None:
        """Let a label stand for a version of a model."""
        with self._changed:
            self._serving.set_label(name, label, version)

    def labels(self) -> LabelTable:
        """For each model, the version that a label stands for."""
        with self._changed:
            return self._serving.labels()

    def replace_labels(self, labels: LabelTable) -> None:
        """All labels of all models at once; what is left out is unknown afterwards."""
        with self._changed:
            self._serving.replace_labels(labels)

    # --- states ------------------------------------------------------------------------------------------------------

    def status(self, spec: ModelSpec) -> tuple[VersionStatus, ...]:
        """The states of a model's versions, highest first; labels count for nothing here. Raises NotFoundError.

        Every version that was ever known is listed, for ever.
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

    def is_available(self, name: str, version: int) -> bool:
        """Whether a version answers requests."""
        with self._changed:
            harness = self._models.get(name, {}).get(version)
            return harness is not None and harness.status.state is State.AVAILABLE

    def wait_until(self, predicate: Callable[[], bool], timeout: float = math.inf) -> bool:
        """Wait until something is so, which is looked at whenever a state has changed; False after ``timeout`` seconds.

        The predicate may ask the manager, and must not wait.
        """
        with self._changed:
            return self._changed.wait_for(predicate, min(timeout, threading.TIMEOUT_MAX))

    def look_again(self) -> None:
        """Something that is waited for has changed elsewhere."""
        with self._changed:
            self._changed.notify_all()


class Held:
    """The servable of a request, for as long as a block lasts. A class for speed alone: every request makes one."""

    __slots__ = ("_harness", "_manager", "_spec")

    def __init__(self, manager: BasicManager, spec: ModelSpec) -> None:
        self._manager = manager
        self._spec = spec

    def __enter__(self) -> Handle:
        self._harness, handle = self._manager.taken(self._spec)
        return handle

    def __exit__(self, *_: object) -> None:
        self._manager.given_back(self._harness)
