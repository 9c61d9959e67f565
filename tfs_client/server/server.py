"""Server: waits for its models, opens the ports, serves until told to stop, and stops in order."""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from tfs_client.errors import ClosedError, ConfigError
from tfs_client.server.access.arrivals import Arrivals
from tfs_client.server.backends.functions import FunctionServable, FunctionSignature
from tfs_client.server.config import ServerConfig
from tfs_client.server.core import ServerCore
from tfs_client.server.grpc_service import GrpcService
from tfs_client.server.health import HealthService
from tfs_client.server.listening import absolute_socket_path, bracketed, listen
from tfs_client.server.loader import Load, Warmup
from tfs_client.server.manager import Manager
from tfs_client.server.measures import Measures
from tfs_client.server.methods import Methods
from tfs_client.server.reload import Metrics
from tfs_client.server.servable import Servable
from tfs_client.server.served import Observer, told
from tfs_client.server.thread_pool import ThreadPool

if TYPE_CHECKING:
    from tfs_client.server.rest.host import RestHost
    from tfs_client.server.rest.pages import Page

log = logging.getLogger("tfs_client.server")

# A busy server that stops says UNAVAILABLE itself until no more calls come, or for so long at the most. Calls that gRPC
# has taken in and not yet handed on when its own stop begins end as CANCELLED, which tells nobody to try elsewhere.
QUIET_SECONDS, SETTLE_SECONDS = 0.05, 0.5

LONGEST = 30 * 24 * 3600.0  # seconds that a stop waits for anything; without limit is more than clocks can count

# Loads and unloads cannot be interrupted. Stopping without grace is no reason to leak what was loaded; but a version
# that is still being loaded when all others are gone may take for ever.
LEAST_UNLOAD_SECONDS, LOAD_SECONDS = 5.0, 1.0


class Server:
    """A small server that answers like TensorFlow Serving.

    Args:
        config: options; by default loopback, a free port, answers in typed fields, no REST, and no models.
        observer: called with a ServedCall at the end of every call, in the thread that served it; or in another as soon
            as the client has gone, for which the call has ended then.
        began: called with the same ServedCall when a call begins, if there is an observer.
        platforms: for each platform that models of a configuration may have ("tensorflow"), the function that loads a
            version: it gets the version's directory and returns a Servable. One with a ``close`` method is closed when
            it is unloaded.
        warmup: called with every servable that was loaded so, and its directory, before it serves; what it raises
            makes the load fail.
        metrics: tells the values of metrics, for reloads that ask how much they grew; by default those of ``measures``.
        measures: counts what is served; without one there are counts only if the config has a metrics_path.

    Models may be added before and after the start. As a context manager it is started on entry, when it returns it
    answers, and stopped on exit.

    Attributes:
        manager: the models' versions and their states.
        core: the configuration of models, and its reload.
    """

    def __init__(
        self,
        config: ServerConfig | None = None,
        *,
        observer: Observer | None = None,
        began: Observer | None = None,
        platforms: Mapping[str, Load] | None = None,
        warmup: Warmup | None = None,
        metrics: Metrics | None = None,
        measures: Measures | None = None,
    ) -> None:
        self.config = config or ServerConfig()
        if measures is None and self.config.metrics_path is not None:
            measures = Measures()
        observer = told(observer, measures.ended if measures else None)
        self.manager = Manager(
            self.config.version_labels,
            retries=self.config.load_retries,
            load_threads=self.config.num_load_threads,
            unload_threads=self.config.num_unload_threads,
        )
        self.core = ServerCore(self.config, self.manager, platforms=platforms, warmup=warmup)
        self._methods = Methods(self.manager, self.config)
        values = metrics or (measures.values if measures else None)
        self._service = GrpcService(self._methods, self.config, observer, began=began, core=self.core, metrics=values)
        self._health = HealthService()
        self._observer = observer
        self._began = began
        self._measures = measures
        self._server: grpc.Server | None = None
        self._address = bracketed(self.config.host)
        self._port: int | None = None
        self._socket_path = absolute_socket_path(self.config)
        self._threads: list[ThreadPool] = []
        self._arrivals: Arrivals | None = None
        self._rest: RestHost | None = None
        self._rest_lock = threading.Lock()

    def add_model(self, name: str, model: Servable | Mapping[str, FunctionSignature], *, version: int = 1) -> None:
        """Serve a model version: a servable, or signatures made of Python functions by name."""
        self.manager.add(name, version, FunctionServable(model) if isinstance(model, Mapping) else model)

    def start(self) -> None:
        """Wait until the configured models are served, and open the ports; returns once they answer.

        Raises ConfigError when an address cannot be had, and CallError for a configuration or a model that is not good.
        """
        if self._server is not None:
            return
        try:
            if self.config.rest_port is not None:
                rest_host()
            self.core.start()
            self._start_grpc()
            if self.config.rest_port is not None:
                self.open_rest()
        except Exception:
            self.stop(0)
            raise
        except BaseException:  # Ctrl-C, mostly, and whoever pressed it waits
            self._stop(0, LOAD_SECONDS)
            raise

    def _start_grpc(self) -> None:
        options: dict[str, int | str] = {
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": -1,
            "grpc.per_message_decompression": 0,  # see messages.py
            "grpc.so_reuseport": 0,  # a port that another server has is an error, not half of its calls
        }
        options |= self.config.bounds.grpc_arguments()
        options |= self.config.channel_arguments
        threads = ThreadPool(self.config.threads, "tfs-serve")
        server = grpc.server(threads, options=list(options.items()))
        self._service.admission.open()
        reloads, lookups, health, refusals = (
            ThreadPool(1, f"tfs-serve-{name}") for name in ("reload", "lookup", "health", "refusal")
        )
        arrivals = self._arrivals = Arrivals(self.config.grpc_body_timeout)
        self._threads = [threads, reloads, lookups, health, refusals]
        server.add_generic_rpc_handlers(
            self._service.handlers(
                arrivals=arrivals, threads=threads, refusals=refusals, reloads=reloads, lookups=lookups
            )
        )
        if self.config.enable_grpc_healthcheck_service:
            server.add_generic_rpc_handlers((self._health.handlers(arrivals, health),))
        self._port = listen(server, self.config, self._socket_path)
        server.start()
        self.core.warn_if_exposed()
        self._health.set(True)
        self._server = server

    def open_rest(self, port: int | None = None) -> str:
        """Open the REST port of a running server, if that has not been done; the config's, or else a free one.

        Returns ``rest_url``. Raises ConfigError when the address cannot be had, or when the packages are missing.
        """
        with self._rest_lock:
            self._started()
            if self._rest is None:
                port = port or self.config.rest_port or 0
                host = rest_host()(self._methods, self.config, port, self._observer, self._pages(), began=self._began)
                host.start()
                self._rest = host
                log.info("Exporting HTTP/REST API at:localhost:%d ...", host.port)
            return f"http://{self._address}:{self._rest.port}"

    def catch_up(self) -> None:
        """Return when the REST side has noticed which clients have gone by now."""
        with self._rest_lock:
            rest = self._rest
        if rest is not None:
            rest.catch_up()

    def _pages(self) -> dict[str, Page]:
        """What the REST port has besides the API."""
        path = self.config.metrics_path
        if path is None or self._measures is None:
            return {}
        from tfs_client.server.rest.pages import metrics_page

        return {path: metrics_page(path, self._measures.page)}

    def stop(self, grace: float | None = None) -> None:
        """Stop in order: health NOT_SERVING, no new calls, the end of running ones, no models from a configuration.

        Args:
            grace: seconds that running calls may take to finish; the config's by default.

        May be called again, and from several threads. The server may be started again.
        """
        grace = min(self.config.shutdown_grace if grace is None else grace, LONGEST)
        self._stop(grace, max(grace, LEAST_UNLOAD_SECONDS))

    def _stop(self, grace: float, unload: float) -> None:
        with self._rest_lock:
            server, self._server = self._server, None
            threads, self._threads = self._threads, []
            arrivals, self._arrivals = self._arrivals, None
            rest, self._rest = self._rest, None
        self._health.set(False)
        self.core.give_up()
        if server is not None and self.config.drain_seconds:
            time.sleep(min(self.config.drain_seconds, LONGEST))
        if server is not None:
            self._service.admission.close()
            self._service.admission.settle(QUIET_SECONDS, SETTLE_SECONDS)
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

    @property
    def port(self) -> int:
        """The port that was bound. Raises ClosedError when the server is not running, ConfigError without a port."""
        self._started()
        if self._port is None:
            raise ConfigError("the server has no port, only the socket that target tells")
        return self._port

    @property
    def target(self) -> str:
        """What a client takes as its target."""
        self._started()
        if self._port is None:
            return f"unix:{self._socket_path}"
        return f"{self._address}:{self._port}"

    @property
    def rest_url(self) -> str:
        """What a REST client takes as its target, e.g. ``http://127.0.0.1:8501``.

        Raises ClosedError when the server is not running, ConfigError when it has no REST side.
        """
        self._started()
        if self._rest is None:
            raise ConfigError("the server does not offer REST: give it ServerConfig(rest_port=0), 0 for a free port")
        return f"http://{self._address}:{self._rest.port}"

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

    def __del__(self, _warn: Any = warnings.warn, _program_ends: Any = sys.is_finalizing) -> None:
        if getattr(self, "_server", None) is not None and not _program_ends():  # then no thread could stop it any more
            _warn(f"unclosed server at port {self._port or 'none'}: call stop()", ResourceWarning, source=self)
            self.stop(0)


def rest_host() -> type[RestHost]:
    """The REST side. Raises ConfigError when the packages that it needs are missing."""
    try:
        from tfs_client.server.rest.host import RestHost
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "h11", "anyio"):
            raise
        raise ConfigError(f"REST needs the package {error.name}: pip install 'tfs-client[server]'") from error
    return RestHost
