"""ServerCore: applies a configuration of models, and waits until they are served.

It connects the parts: a source that looks for versions, loaders made of them by the platform's function, a manager that
loads and unloads. Configurations come at the start, by reload, or from a file that is read again and again.
Source: model_servers/server_core.cc, model_servers/server.cc.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING

from tfs_client.errors import CallError, CancelledError, FailedPreconditionError, UnavailableError
from tfs_client.model_config import ModelServerConfig
from tfs_client.server import model_list
from tfs_client.server.access.model_roots import ModelRoots
from tfs_client.server.config import ServerConfig
from tfs_client.server.loader import Load, Loader, Warmup
from tfs_client.server.manager import Manager
from tfs_client.server.model_list import ListedModel, Models
from tfs_client.server.periodic import Periodic
from tfs_client.server.serving_map import LabelTable
from tfs_client.server.source import Source, VersionPath, Watched
from tfs_client.server.waiting import Awaited

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

log = logging.getLogger("tfs_client.server")


class ServerCore:
    """The models of a server. Its methods may be called from any thread.

    Args:
        config: which models there are, how often they are looked for, and how long they are waited for.
        manager: what loads and unloads them.
        platforms: for each platform, the function that loads a version from its directory.
        warmup: run on every servable that was loaded, before it serves.
    """

    def __init__(
        self,
        config: ServerConfig,
        manager: Manager,
        *,
        platforms: Mapping[str, Load] | None = None,
        warmup: Warmup | None = None,
    ) -> None:
        self._config = config
        self._manager = manager
        self._platforms = dict(platforms or {})
        self._warmup = warmup
        # One configuration at a time is put in force; reentrant for a server that is collected meanwhile. Nobody waits
        # for models with it: a configuration that is wrong would hold up the one that corrects it.
        self._lock = threading.RLock()
        self._models: Models = ()
        self._arrived: frozenset[str] = frozenset()  # the models that need not be waited for again
        self._roots = ModelRoots(config)
        self._own_paths: frozenset[str] = frozenset()  # the base paths of the server's own configuration
        self._code_paths: frozenset[str] = frozenset()  # those of them that code may come from
        self._loads: dict[str, Load] = {}
        self._source: Source | None = None
        self._file_polling: Periodic | None = None
        self._stopping = Event()

    def start(self) -> None:
        """Apply the initial configuration, if there is one; returns when its models are served.

        Raises CallError, with the model server's code and text, for a configuration or a model that is not good.
        """
        self._stopping.clear()
        file, period = self._config.model_config_file, self._config.model_config_file_poll_wait_seconds
        if file is not None or self._config.model_config is not None:
            log.info("The ports open once every model of the configuration is served")
        if self._config.model_config is not None:
            self._apply(self._config.model_config.to_proto(), self._config.start_wait, own=True)
        elif file is not None:
            self._apply(model_list.read_file(file), self._config.start_wait, own=True)
            if period > 0:
                self._file_polling = Periodic(self._reload_file, period, "tfs-config-file")
                self._file_polling.start()

    def reload(self, config: ModelServerConfig | schema.ModelServerConfig, *, gone: Event | None = None) -> None:
        """Replace the configuration; returns when models that are new are served. For others it does not wait.

        New is also what an earlier configuration has brought and not got served. Once ``gone`` is set, and
        ``look_again`` called, nobody waits any longer.

        Raises CallError with the model server's code and text. DEADLINE_EXCEEDED when a new model has had no version
        for ``reload_wait`` seconds, where the model server would wait for ever; the configuration stays. ABORTED when
        another configuration has taken its place, and left out a model that is waited for.
        """
        proto = config.to_proto() if isinstance(config, ModelServerConfig) else config
        self._check_roots(proto)
        self._apply(proto, self._config.reload_wait, gone)

    def look_again(self) -> None:
        """Whoever a reload is for may have gone."""
        self._manager.look_again()

    def give_up(self) -> None:
        """Take no more configurations, and wait for no more models: such calls fail with UNAVAILABLE."""
        self._stopping.set()
        self._manager.look_again()

    def stop(self, timeout: float, loads: float = math.inf) -> bool:
        """Look for no more versions, and unload all that were found; False when that takes longer than ``timeout``.

        Loads under way get at most ``loads`` seconds once all others are unloaded.
        May be called again, and ``start`` after it.
        """
        self.give_up()
        end = time.monotonic() + timeout
        alone = self._lock.acquire(timeout=timeout)  # so that no configuration on its way opens another source
        try:
            source, self._source = self._source, None
            polling, self._file_polling = self._file_polling, None
            self._models, self._arrived = (), frozenset()
            self._own_paths = self._code_paths = frozenset()
            self._manager.claim(())
        finally:
            if alone:
                self._lock.release()
        done = True
        if source is not None:
            source.stop(0)  # nothing more comes from it, though it may still be looking: a file system may hang
            done = self._manager.unload_all(max(0.0, end - time.monotonic()), loads)
            source.stop(max(0.0, end - time.monotonic()))
        if polling is not None:
            polling.stop(max(0.0, end - time.monotonic()))
        return done

    # --- a configuration, step by step -------------------------------------------------------------------------------

    def _apply(
        self, config: schema.ModelServerConfig, patience: float, gone: Event | None = None, *, own: bool = False
    ) -> None:
        """Put a configuration in force, and wait for its models; ``own`` is one that the server has itself."""
        gone = gone or Event()
        models, first = self._put_in_force(config, gone, own)
        if models is None:
            return
        source = self._source
        patient = patience if source is None or source.polls else None
        self._awaited(models, gone).wait(patient, "servable" if first else "model")
        self._arrive(models)
        model_list.check_not_logged(models)
        log.info("Finished adding/updating models")

    def _put_in_force(self, config: schema.ModelServerConfig, gone: Event, own: bool) -> tuple[Models | None, bool]:
        """Check a configuration and do what it says; its models, None for none, and whether they are the first ones.

        What is refused leaves everything as it was. Once it is in force it stays, whatever becomes of its models.
        """
        with self._lock:
            if self._stopping.is_set():
                raise UnavailableError("the server is stopping")
            if gone.is_set():
                raise CancelledError("the client has gone, and nothing was changed")
            models = model_list.read(config)
            if models is None:
                log.info("Taking no action for empty config.")
                log.warning("The configuration is empty; no models at all are written model_config_list {}")
                return None, False
            labels = self._checked(models, own)
            self._manager.claim([model.name for model in models])
            self._models = models
            self._manager.replace_labels(labels)
            self._loads |= {model.name: self._platforms[model_list.platform_of(model)] for model in models}
            if own:
                self._own_paths = frozenset(model.base_path for model in models)
                self._code_paths = model_list.code_paths(models)
            return models, self._watch(models)

    def _check_roots(self, config: schema.ModelServerConfig) -> None:
        """Refuse a reload that names forbidden directories. Without the lock: a file system may take for ever."""
        models = model_list.read(config) or ()
        model_list.check_names_and_paths(models)
        model_list.check_readable(models)
        self._roots.check(models, self._own_paths)

    def _allowed(self, path: str) -> str:
        return self._roots.allowed(path, self._own_paths)

    def warn_if_exposed(self) -> None:
        """Log a warning if other machines can send reloads without a token or client certificate."""
        if not self._roots.exposed or not self._platforms:
            return
        below = ", ".join(self._roots.roots(self._own_paths) or ()) or "no directory but the configured ones"
        log.warning(
            "Everyone who can reach the gRPC port may call the models, and load others from %s. Models are "
            "programs. Restrict callers with --token_file, or --ssl_config_file with client_verify; restrict reloads "
            "with --model_roots=DIR,...",
            below,
        )

    def _checked(self, models: Models, own: bool) -> LabelTable:
        """The labels of a list in which every model is good. The model server's checks come first, in its order."""
        model_list.check_names_and_paths(models)
        model_list.check_platforms_kept(self._models, models)
        labels = self._labels(models)
        log.info("Adding/updating models.")
        for model in models:
            log.info(" (Re-)adding model: %s", model.name)
            model_list.check_supported([model], self._platforms)
        model_list.check_readable(models)
        if not own and not self._config.allow_python_reload:
            model_list.check_code(models, self._code_paths)
        return labels

    def _labels(self, models: Models) -> LabelTable:
        ahead = self._config.allow_version_labels_for_unavailable_models
        try:
            return model_list.checked_labels(
                models, self._manager.is_available, self._manager.labels(), allow_unavailable=ahead
            )
        except FailedPreconditionError:
            if not ahead:
                log.error(
                    "With --allow_version_labels_for_unavailable_models labels may wait for their versions, which a "
                    "server that starts with labels needs"
                )
            raise

    def _watch(self, models: Models) -> bool:
        """Let the source watch these models; whether there was none before."""
        source, first = self._source, self._source is None
        if source is None:
            source = self._source = Source(self._aspire, self._config.file_system_poll_wait_seconds)
        self._arrived &= {model.name for model in models}
        source.update(Watched(model.name, model.base_path, model.versions) for model in models)
        if first:
            source.start()
        self._manager.look_again()  # for those who wait for models of the configuration before
        return first

    def _awaited(self, models: Models, gone: Event | None = None) -> Awaited:
        """Those models that were not waited for with success before."""
        new = [model for model in models if model.name not in self._arrived]
        return Awaited(self._manager, new, self._is_in_force, self._stopping, gone or Event())

    def _arrive(self, models: Models) -> None:
        """These models need not be waited for again, unless they are gone already."""
        with self._lock:
            self._arrived |= {model.name for model in models if self._is_in_force(model)}

    def _is_in_force(self, model: ListedModel) -> bool:
        return any((known.name, known.base_path) == (model.name, model.base_path) for known in self._models)

    def _aspire(self, name: str, versions: Sequence[VersionPath]) -> None:
        """What the source found becomes what the manager is to have."""
        self._manager.aspire(
            name,
            {version: Loader(path, self._loads[name], self._warmup, self._allowed) for version, path in versions},
        )

    def _reload_file(self) -> None:
        """Apply the model config file once more; what goes wrong is logged.

        Nobody waits for its models here, where the next file would have to wait, too. Each time the file is applied
        those that have failed since are told.
        """
        assert self._config.model_config_file is not None
        try:
            config = model_list.read_file(self._config.model_config_file)
        except CallError as error:
            log.error("Failed to read ModelServerConfig file: %s", error.details)
            return
        try:
            models, first = self._put_in_force(config, Event(), own=True)
            if models is None:
                return
            if self._awaited(models).are_served("servable" if first else "model"):
                self._arrive(models)
            model_list.check_not_logged(models)
            log.info("Finished adding/updating models")
        except CallError as error:
            log.error("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error.details)
