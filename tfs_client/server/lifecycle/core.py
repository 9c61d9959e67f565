"""ServerCore: applies a configuration of models, and waits until they are served.

It connects the parts: a source that finds versions, loaders that call the platform's function, and a manager that loads
and unloads. Configurations come at the start, from reloads, or from a file that is polled.
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
from tfs_client.server.access.model_roots import ModelRoots
from tfs_client.server.config import ServerConfig
from tfs_client.server.lifecycle import model_list
from tfs_client.server.lifecycle.loader import Load, Loader, Warmup
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.lifecycle.model_list import ListedModel, Models
from tfs_client.server.lifecycle.periodic import PeriodicFunction
from tfs_client.server.lifecycle.serving_map import LabelTable
from tfs_client.server.lifecycle.source import MonitoredModel, Source, VersionPath, versions_now
from tfs_client.server.lifecycle.waiting import AvailabilityWait

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.config import model_server_config_pb2 as schema

log: logging.Logger = logging.getLogger("tfs_client.server")


class ServerCore:
    """The models of a server. Its methods may be called from any thread.

    Args:
        config: the models, the periods of polls, and the time limits for waiting.
        manager: loads and unloads versions.
        platforms: for each platform, the function that loads a version from its directory.
        warmup: called with every servable that was loaded, before it serves.
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
        # Held while a configuration is put in force; reentrant because the server may be garbage-collected meanwhile.
        # Not held while waiting for models: a wrong configuration must not delay the one that corrects it.
        self._lock = threading.RLock()
        self._in_force: schema.ModelServerConfig | None = None
        self._models: Models = ()
        self._served_models: frozenset[str] = frozenset()  # models that have been waited for with success
        self._roots = ModelRoots(config.model_roots, exposed=config.is_exposed())
        self._own_paths: frozenset[str] = frozenset()  # the base paths of the server's own configuration
        self._code_paths: frozenset[str] = frozenset()  # those of them that may contain code
        self._loads: dict[str, Load] = {}
        self._source: Source | None = None
        self._file_polling: PeriodicFunction | None = None
        self._stopping = Event()

    def start(self) -> None:
        """Apply the initial configuration, if any, and return when its models are served.

        Raises CallError, with the model server's code and text, for an invalid configuration or a failed model.
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
                self._poll_file(period)

    def _poll_file(self, period: float) -> None:
        self._file_polling = PeriodicFunction(self._reload_file, period, "tfs-config-file")
        self._file_polling.start()

    def read_file_again(self) -> None:
        """Apply the model config file again now, as its poll does. Does not wait."""
        with self._lock:
            if self._file_polling is not None:
                self._file_polling.run_soon()
            elif self._config.model_config_file is not None and not self._stopping.is_set():
                self._poll_file(math.inf)

    def reload(self, config: ModelServerConfig | schema.ModelServerConfig, *, gone: Event | None = None) -> None:
        """Replace the configuration, and return when new models are served. Does not wait for other models.

        A model counts as new until a configuration has waited for it with success. The wait ends early if ``gone`` is
        set and ``notify_waiters`` is called.

        Raises CallError with the model server's code and text: DEADLINE_EXCEEDED if a new model has had no version for
        ``reload_wait`` seconds, where the model server would wait forever (the configuration stays in force); ABORTED
        if another configuration has replaced this one and does not contain a model that is waited for.
        """
        proto = config.to_proto() if isinstance(config, ModelServerConfig) else config
        try:
            self._check_roots(proto)
        except CallError as error:
            _log_refusal(error, self._in_force, proto)
            raise
        self._apply(proto, self._config.reload_wait, gone)

    def in_force(self) -> schema.ModelServerConfig:
        """Return the configuration as it was given; an empty list of models without one."""
        config = self._in_force
        return ModelServerConfig().to_proto() if config is None else config

    def names(self) -> list[str]:
        """Return the names of the models that are configured or served, in alphabetical order."""
        return sorted({model.name for model in self._models} | self._manager.served_names())

    def notify_waiters(self) -> None:
        """Let waiting reloads check whether their clients have gone."""
        self._manager.notify_waiters()

    def stop_waiting(self) -> None:
        """Refuse configurations and end all waits: such calls fail with UNAVAILABLE."""
        self._stopping.set()
        self._manager.notify_waiters()

    def stop(self, timeout: float, loads: float = math.inf) -> bool:
        """Stop polling, and unload all versions; False if that takes longer than ``timeout`` seconds.

        Running loads get at most ``loads`` seconds once all else is unloaded.
        May be called repeatedly; ``start`` may follow.
        """
        self.stop_waiting()
        end = time.monotonic() + timeout
        alone = self._lock.acquire(timeout=timeout)  # so that no other thread opens another source
        try:
            source, self._source = self._source, None
            polling, self._file_polling = self._file_polling, None
            self._models, self._in_force, self._served_models = (), None, frozenset()
            self._own_paths = self._code_paths = frozenset()
            self._manager.reserve_names(())
        finally:
            if alone:
                self._lock.release()
        done = True
        if source is not None:
            source.stop(0)  # it reports no more, though a poll may still run: a file system may hang
            done = self._manager.unload_all(max(0.0, end - time.monotonic()), loads)
            source.stop(max(0.0, end - time.monotonic()))
        if polling is not None:
            polling.stop(max(0.0, end - time.monotonic()))
        return done

    # --- a configuration, step by step -------------------------------------------------------------------------------

    def _apply(
        self, config: schema.ModelServerConfig, timeout: float, gone: Event | None = None, *, own: bool = False
    ) -> None:
        """Put a configuration in force and wait for its models. ``own``: it is the server's own configuration."""
        gone = gone or Event()
        models, first = self._put_in_force(config, gone, own)
        if models is None:
            return
        source = self._source
        patient = timeout if source is None or source.polls else None
        self._wait_for(models, gone).wait(patient, "servable" if first else "model")
        self._mark_served(models)
        self._finish(models)

    def _finish(self, models: Models) -> None:
        model_list.check_not_logged(models)
        log.info("Finished adding/updating models")
        if not self._config.flush_filesystem_caches:
            log.info("Finished reloading config")

    def _put_in_force(self, config: schema.ModelServerConfig, gone: Event, own: bool) -> tuple[Models | None, bool]:
        """Check a configuration and apply it. Returns its models, None for none, and whether they are the first ones.

        A configuration that is refused changes nothing. One that is in force stays, even if its models fail.
        """
        with self._lock:
            if self._stopping.is_set():
                raise UnavailableError("the server is stopping")
            if gone.is_set():
                raise CancelledError("the client disconnected; nothing was changed")
            before = self._in_force
            try:
                return self._replace(config, own)
            except CallError as error:
                refusal = error
        _log_refusal(refusal, before, config)
        raise refusal

    def _replace(self, config: schema.ModelServerConfig, own: bool) -> tuple[Models | None, bool]:
        """As ``_put_in_force``; the caller holds the lock."""
        models = self._read(config)
        if models is None:
            log.info("Taking no action for empty config.")
            log.warning("The configuration is empty. To serve no models, write `model_config_list {}`")
            return None, False
        labels = self._checked(models, own)
        self._manager.reserve_names([model.name for model in models])
        self._models, self._in_force = models, config
        self._manager.replace_labels(labels)
        self._loads |= {model.name: self._platforms[model_list.platform_of(model)] for model in models}
        if own:
            self._own_paths = frozenset(model.base_path for model in models)
            self._code_paths = model_list.code_paths(models)
        return models, self._watch(models)

    def _read(self, config: schema.ModelServerConfig) -> Models | None:
        """Return the models of a configuration; None for none. Only a list may follow a list."""
        if self._in_force is not None and config.WhichOneof("config") != "model_config_list":
            raise FailedPreconditionError(
                "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
                "another."
            )
        return model_list.read(config)

    def _check_roots(self, config: schema.ModelServerConfig) -> None:
        """Refuse a reload that names forbidden directories. Runs without the lock: a file system may block forever."""
        models = model_list.read(config) or ()
        model_list.check_names_and_paths(models)
        model_list.check_readable(models)
        self._roots.check(models, self._own_paths, _version_directories)

    def _allowed(self, path: str) -> str:
        return self._roots.allowed(path, self._own_paths)

    def warn_if_exposed(self) -> None:
        """Log a warning if other machines can send reloads without a token or client certificate."""
        if not self._roots.exposed or not self._platforms:
            return
        roots = ", ".join(self._roots.roots(self._own_paths) or ())
        log.warning(
            "Anyone who can reach the gRPC port may call the models, and load others %s. Models are "
            "programs. Restrict callers with --token_file, or --ssl_config_file with client_verify; restrict reloads "
            "with --model_roots=DIR,...",
            f"from {roots}" if roots else "only from the configured directories",
        )

    def _checked(self, models: Models, own: bool) -> LabelTable:
        """Check all models, and return their labels. The model server's checks come first, in its order."""
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
            if not ahead and self._in_force is None:
                log.warning(
                    "A server that starts with labels needs --allow_version_labels_for_unavailable_models, because no "
                    "version is AVAILABLE yet"
                )
            raise

    def _watch(self, models: Models) -> bool:
        """Let the source poll these models. Returns whether it is the first configuration."""
        source, first = self._source, self._source is None
        if source is None:
            source = self._source = Source(self._aspire, self._config.file_system_poll_wait_seconds)
        self._served_models &= {model.name for model in models}
        source.update(MonitoredModel(model.name, model.base_path, model.versions) for model in models)
        if first:
            source.start()
        self._manager.notify_waiters()  # calls may wait for models of the previous configuration
        return first

    def _wait_for(self, models: Models, gone: Event | None = None) -> AvailabilityWait:
        """The wait for those models that have not been waited for with success."""
        new = [model for model in models if model.name not in self._served_models]
        return AvailabilityWait(self._manager, new, self._is_in_force, self._stopping, gone or Event())

    def _mark_served(self, models: Models) -> None:
        """Record that these models need no further wait, unless they have been removed."""
        with self._lock:
            self._served_models |= {model.name for model in models if self._is_in_force(model)}

    def _is_in_force(self, model: ListedModel) -> bool:
        return any((known.name, known.base_path) == (model.name, model.base_path) for known in self._models)

    def _aspire(self, name: str, versions: Sequence[VersionPath]) -> None:
        """Pass the versions that the source found on to the manager."""
        self._manager.aspire(
            name,
            {version: Loader(path, self._loads[name], self._warmup, self._allowed) for version, path in versions},
        )

    def _reload_file(self) -> None:
        """Apply the model config file again. Errors are logged.

        Does not wait for its models, because the next file would have to wait too. Instead, each application of the
        file logs the models that have failed since.
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
            if self._wait_for(models).are_served("servable" if first else "model"):
                self._mark_served(models)
            self._finish(models)
        except CallError as error:
            log.error("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error.details)


def _version_directories(model: ListedModel) -> list[str]:
    """The version directories that a poll would find now."""
    return [path for _, path in versions_now(MonitoredModel(model.name, model.base_path, model.versions))]


def _log_refusal(refusal: CallError, old: schema.ModelServerConfig | None, new: schema.ModelServerConfig) -> None:
    """Log why a configuration is refused, the configuration in force, and the refused one. Not at the start.

    The model server does the same if the refused one is not a list.
    """
    if old is None:
        return
    from tfs_client.protos import text_format

    log.error("%s", refusal.details)
    for which, config in (("Old", old), ("New", new)):
        # Part of the format string, because the log joins the lines of arguments. Line feeds in its values are escaped.
        log.error(f"{which} config: {text_format.MessageToString(config, as_utf8=False).rstrip()}")
