"""Server: waits for its models, opens the ports, serves until it is stopped, and stops in order."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from types import NoneType, TracebackType
from typing import TYPE_CHECKING

import grpc

from tfs_client._codec import tfs_serve_calls
from tfs_client._printable import shown
from tfs_client.errors import ClosedError, ConfigError
from tfs_client.options import checked_kind
from tfs_client.server.access.access_log import AccessLog
from tfs_client.server.access.addresses import bracketed
from tfs_client.server.backends.functions import FunctionServable, FunctionSignature
from tfs_client.server.call_hooks import CallHooks
from tfs_client.server.call_record import Observer, Peers, combine_observers
from tfs_client.server.config import ServerConfig
from tfs_client.server.grpc.arrivals import Arrivals
from tfs_client.server.grpc.health import SERVICE as HEALTH_SERVICE
from tfs_client.server.grpc.health import HealthService
from tfs_client.server.grpc.listening import (
    absolute_socket_path,
    check_host,
    listen,
    log_listening,
    log_listening_rest,
)
from tfs_client.server.grpc.reflection import ReflectionService
from tfs_client.server.grpc.service import MODEL_SERVICE, PREDICTION_SERVICE, GrpcService, UnknownMethods
from tfs_client.server.grpc.streams import Streams
from tfs_client.server.lifecycle.core import ServerCore
from tfs_client.server.lifecycle.loader import Load, Warmup
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.methods import Methods
from tfs_client.server.servable import Servable
from tfs_client.server.server_metrics import ServerMetrics
from tfs_client.server.thread_pool import ThreadPool

if TYPE_CHECKING:
    from tfs_client.server.rest.host import RestHost
    from tfs_client.server.rest.pages import Page

log: logging.Logger = logging.getLogger("tfs_client.server")

# A busy server that stops refuses calls with UNAVAILABLE until no call arrives for QUIET_SECONDS, for at most
# SETTLE_SECONDS. Calls that gRPC has accepted but not yet passed on when its own stop begins end as CANCELLED, and
# clients do not retry those elsewhere.
QUIET_SECONDS, SETTLE_SECONDS = 0.05, 0.5

LONGEST = 30 * 24 * 3600.0  # seconds that a stop waits for anything at most; clocks cannot represent infinity

# Loads and unloads cannot be interrupted. A stop without grace must not leak loaded versions, so it waits for unloads;
# but a version that is still loading when all others are unloaded may take forever.
LEAST_UNLOAD_SECONDS, LOAD_SECONDS = 5.0, 1.0


class Server:
    """A small server that answers like TensorFlow Serving.

    Args:
        config: options; by default loopback, a free port, answers in typed fields, no REST, and no models.
        observer: called with a ServedCall at the end of every call, in the thread that served it; if the client goes
            earlier, called at once in another thread.
        began: called with the same ServedCall when a call begins. Requires an observer.
        platforms: for each platform that a configuration may name ("tensorflow"), the function that loads a version: it
            takes the version's directory and returns a Servable. A servable with a ``close`` method is closed when it
            is unloaded.
        warmup: called with every servable that was loaded by ``platforms``, and its directory, before it serves. An
            exception fails the load.
        metrics: counts what is served; by default nothing is counted unless the config has a metrics_path.
        hooks: called at points of every call; for test doubles.
        peers: returns the client's address for the address of a connection; for test doubles behind a relay.

    Models may be added before and after the start. As a context manager it starts on entry, which returns once it
    answers, and stops on exit.

    Attributes:
        manager: the versions of models, and their states.
        core: the configuration of models, and reloads.
    """

    def __init__(
        self,
        config: ServerConfig | None = None,
        *,
        observer: Observer | None = None,
        began: Observer | None = None,
        platforms: Mapping[str, Load] | None = None,
        warmup: Warmup | None = None,
        metrics: ServerMetrics | None = None,
        hooks: CallHooks | None = None,
        peers: Peers | None = None,
    ) -> None:
        checked_kind("config", config, ServerConfig)
        if not isinstance(platforms, (Mapping, NoneType)):
            raise ConfigError(
                f"expected platforms= as load functions by platform, as Platforms().loads, got {shown(platforms)}"
            )
        self.config: ServerConfig = config or ServerConfig()
        if metrics is None and self.config.metrics_path is not None:
            metrics = ServerMetrics()
        path = self.config.access_log
        self._access_log = None if path is None else AccessLog(os.fspath(path))
        listeners = (metrics, self._access_log)
        observer = combine_observers(observer, *(each.ended for each in listeners if each is not None))
        self.manager: Manager = Manager(
            self.config.version_labels,
            retries=self.config.load_retries,
            load_threads=self.config.num_load_threads,
            unload_threads=self.config.num_unload_threads,
        )
        self.core: ServerCore = ServerCore(self.config, self.manager, platforms=platforms, warmup=warmup)
        self._methods = Methods(self.manager, self.config, hooks)
        self._hooks, self._peers = hooks, peers
        self._service = GrpcService(
            self._methods,
            self.config,
            observer,
            began=began,
            core=self.core,
            metrics=metrics.values if metrics else None,
            hooks=hooks,
            peers=peers,
        )
        self._health = HealthService()
        self._observer = observer
        self._began = began
        self._metrics = metrics
        self._server: grpc.Server | None = None
        self._process: int | None = None  # in which it was started, until it is stopped
        self._address = bracketed(self.config.host)
        self._port: int | None = None
        self._socket_path = absolute_socket_path(self.config)
        self._threads: list[ThreadPool] = []
        self._arrivals: Arrivals | None = None
        self._streams: list[Streams] = []
        self._rest: RestHost | None = None
        self._rest_lock = threading.Lock()

    def add_model(self, name: str, model: Servable | Mapping[str, FunctionSignature], *, version: int = 1) -> None:
        """Serve a model version: a servable, or Python functions as signatures, by name."""
        self.manager.add(name, version, FunctionServable(model) if isinstance(model, Mapping) else model)

    def start(self) -> None:
        """Wait until the configured models are served, and open the ports. Returns once they answer.

        Raises ConfigError if an address cannot be bound, CallError for an invalid configuration or a failed model, and
        ClosedError in a forked process if the server was started before the fork.
        """
        self._check_process()
        if self._server is not None:
            return
        self._process = os.getpid()
        try:
            if self.config.rest_port is not None:
                rest_host()
            if self._access_log is not None:
                self._access_log.open()
            check_host(self.config)  # before the loads, which may take minutes
            self.core.start()
            self._start_grpc()
            if self.config.rest_port is not None:
                self.open_rest()
        except Exception:
            self.stop(0)
            raise
        except BaseException:  # mostly Ctrl-C, so do not wait for long
            self._stop(0, LOAD_SECONDS)
            raise

    def _start_grpc(self) -> None:
        options: dict[str, int | str] = {
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": -1,
            "grpc.per_message_decompression": 0,  # see messages.py
            "grpc.so_reuseport": 0,  # a port that is in use is an error; otherwise two servers would share its calls
        }
        options |= self.config.bounds.grpc_arguments()
        options |= self.config.channel_arguments
        threads = ThreadPool(self.config.threads, "tfs-serve")
        server = grpc.server(threads, options=list(options.items()))
        self._service.admission.open()
        reloads, lookups, health, reflection, refusals = (
            ThreadPool(1, f"tfs-serve-{name}") for name in ("reload", "lookup", "health", "reflection", "refusal")
        )
        arrivals = self._arrivals = Arrivals(self.config.grpc_body_timeout)
        self._threads = [threads, reloads, lookups, health, reflection, refusals]
        server.add_generic_rpc_handlers(
            self._service.handlers(
                arrivals=arrivals, threads=threads, refusals=refusals, reloads=reloads, lookups=lookups
            )
        )
        services = [PREDICTION_SERVICE, MODEL_SERVICE]
        if self.config.enable_grpc_healthcheck_service:
            services.append(HEALTH_SERVICE)
            watched = Streams(arrivals, health)
            self._streams.append(watched)
            server.add_generic_rpc_handlers((self._health.handlers(arrivals, watched, health),))
        if self.config.enable_grpc_reflection:
            asked = Streams(arrivals, reflection)
            self._streams.append(asked)
            server.add_generic_rpc_handlers(ReflectionService(services, self.config.token).handlers(asked))
        server.add_generic_rpc_handlers((UnknownMethods(refusals),))
        self._port = listen(server, self.config, self._socket_path)
        server.start()
        log_listening(self.config, self._port)
        self.core.warn_if_exposed()
        self._health.set(True)
        self._server = server

    def open_rest(self, port: int | None = None) -> str:
        """Open the REST port of a running server if it is not open yet.

        The port is ``port``, or the one in the config, or a free one.

        Returns ``rest_url``. Raises ConfigError if the address cannot be bound, or if packages are missing.
        """
        with self._rest_lock:
            self._started()
            if self._rest is None:
                port = port or self.config.rest_port or 0
                host = rest_host()(
                    self._methods,
                    self.config,
                    port,
                    self._observer,
                    self._pages(),
                    began=self._began,
                    hooks=self._hooks,
                    peers=self._peers,
                )
                host.start()
                self._rest = host
                log_listening_rest(self.config, host.port)
            return f"http://{self._address}:{self._rest.port}"

    def _catch_up(self) -> None:
        """Wait until the REST port has detected every client that has already disconnected."""
        with self._rest_lock:
            rest = self._rest
        if rest is not None:
            rest.catch_up()

    def _pages(self) -> dict[str, Page]:
        """The pages of the REST port besides the API."""
        from tfs_client.server.rest.pages import metrics_page, models_page

        pages = {tfs_serve_calls.PAGE: models_page(self.core.names)}
        if (path := self.config.metrics_path) is not None and self._metrics is not None:
            pages[path] = metrics_page(path, self._metrics.page)
        return pages

    def stop(self, grace: float | None = None) -> None:
        """Stop in order: health NOT_SERVING, refuse new calls, finish running calls, unload the configured models.

        Args:
            grace: seconds that running calls may take to finish; by default the config's ``shutdown_grace``.

        May be called repeatedly and from several threads. The server may be started again. In a forked process this
        has no effect on a server that was started before the fork: it belongs to the parent.
        """
        grace = min(self.config.shutdown_grace if grace is None else grace, LONGEST)
        self._stop(grace, max(grace, LEAST_UNLOAD_SECONDS))

    def _stop(self, grace: float, unload: float) -> None:
        if self._is_of_parent():  # no lock is taken: a thread of the parent may hold it
            return
        with self._rest_lock:
            server, self._server = self._server, None
            threads, self._threads = self._threads, []
            arrivals, self._arrivals = self._arrivals, None
            streams, self._streams = self._streams, []
            rest, self._rest = self._rest, None
        self._health.set(False)
        self.core.stop_waiting()
        if server is not None and self.config.drain_seconds:
            time.sleep(min(self.config.drain_seconds, LONGEST))
        if server is not None:
            self._service.admission.close()
            self._service.admission.wait_until_quiet(QUIET_SECONDS, SETTLE_SECONDS)
        for each in streams:
            each.close(min(grace, SETTLE_SECONDS))
        stopped = None if server is None else server.stop(grace)
        if rest is not None:
            rest.stop(grace)
        if stopped is not None:
            stopped.wait()
        if arrivals is not None:
            arrivals.close()
        for pool in threads:
            pool.shutdown(wait=False)
        if not self.core.stop(unload, LOAD_SECONDS):
            log.warning("Some models could not be unloaded in time")
        if self._access_log is not None:
            self._access_log.close()
        self._process = None

    def _check_process(self) -> None:
        """Raise ClosedError in a forked process, for a server of its parent."""
        if self._is_of_parent():
            raise ClosedError(
                "the server was started before the fork and belongs to the parent process; create another one here"
            )

    def _is_of_parent(self) -> bool:
        """Whether it was started before a fork, of which this process is the child: without its threads."""
        return self._process not in (None, os.getpid())

    @property
    def port(self) -> int:
        """The gRPC port. Raises ClosedError if the server is not running, ConfigError if it has no port."""
        self._started()
        if self._port is None:
            raise ConfigError("the server has no port, only a UNIX socket; see target")
        return self._port

    @property
    def target(self) -> str:
        """The target for a client."""
        self._started()
        if self._port is None:
            return f"unix:{self._socket_path}"
        return f"{self._address}:{self._port}"

    @property
    def rest_url(self) -> str:
        """The target for a REST client, e.g. ``http://127.0.0.1:8501``.

        Raises ClosedError if the server is not running, ConfigError if it has no REST port.
        """
        self._started()
        if self._rest is None:
            raise ConfigError("the server does not offer REST: give it ServerConfig(rest_port=0), 0 for a free port")
        return f"http://{self._address}:{self._rest.port}"

    def _is_running(self) -> bool:
        return self._server is not None

    def _started(self) -> None:
        if self._server is None:
            raise ClosedError("the server is not running: start() it, or use it as a context manager")

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __del__(
        self,
        _warn: Callable[..., None] = warnings.warn,
        _program_ends: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        if getattr(self, "_server", None) is None or _program_ends():  # at exit no thread can stop it any more
            return
        if not self._is_of_parent():
            _warn(f"unclosed server at port {self._port or 'none'}: call stop()", ResourceWarning, source=self)
            self.stop(0)


def rest_host() -> type[RestHost]:
    """Import the REST server. Raises ConfigError if the packages that it needs are missing."""
    try:
        from tfs_client.server.rest.host import RestHost
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "h11", "anyio"):
            raise
        raise ConfigError(f"REST needs the package {error.name}: pip install 'tfs-client[server]'") from error
    return RestHost
