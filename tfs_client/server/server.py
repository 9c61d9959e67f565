"""Server: opens the port, serves until told to stop, and stops in order."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from tfs_client.errors import ClosedError, ConfigError
from tfs_client.server.backends.functions import FunctionServable, FunctionSignature
from tfs_client.server.config import ServerConfig
from tfs_client.server.grpc_service import GrpcService
from tfs_client.server.manager import Manager
from tfs_client.server.methods import Methods
from tfs_client.server.servable import Servable
from tfs_client.server.served import Observer

if TYPE_CHECKING:
    from tfs_client.server.rest.host import RestHost


class Server:
    """A small server that answers like TensorFlow Serving.

    Args:
        config: options; by default loopback, a free port, answers in typed fields, and no REST.
        observer: called with a ServedCall at the end of every call, in the thread that served it.

    Models may be added before and after the start. As a context manager it is started on entry, when it returns it
    answers, and stopped on exit.
    """

    def __init__(self, config: ServerConfig | None = None, *, observer: Observer | None = None) -> None:
        self.config = config or ServerConfig()
        self.manager = Manager(self.config.version_labels)
        self._methods = Methods(self.manager, self.config)
        self._service = GrpcService(self._methods, self.config, observer)
        self._observer = observer
        self._server: grpc.Server | None = None
        self._port = 0
        self._rest: RestHost | None = None
        self._rest_lock = threading.Lock()

    def add_model(self, name: str, model: Servable | Mapping[str, FunctionSignature], *, version: int = 1) -> None:
        """Serve a model version: a servable, or signatures made of Python functions by name."""
        self.manager.add(name, version, FunctionServable(model) if isinstance(model, Mapping) else model)

    def start(self) -> None:
        """Open the ports; returns once they answer. Raises ConfigError when an address cannot be had."""
        if self._server is not None:
            return
        self._start_grpc()
        if self.config.rest_port is not None:
            try:
                self.open_rest()
            except BaseException:
                self.stop(0)
                raise

    def _start_grpc(self) -> None:
        options = {
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": -1,
            "grpc.so_reuseport": 0,  # a port that another server has is an error, not half of its calls
        } | dict(self.config.channel_arguments)
        server = grpc.server(
            ThreadPoolExecutor(self.config.threads, thread_name_prefix="tfs-serve"), options=list(options.items())
        )
        server.add_generic_rpc_handlers(self._service.handlers())
        address = _bracketed(self.config.host)
        try:
            port = server.add_insecure_port(f"{address}:{self.config.port}")
        except RuntimeError:
            port = 0
        if not port:
            raise ConfigError(
                f"cannot listen at {address}:{self.config.port}: the port is taken or not ours to use, "
                "or the host is no address of this machine"
            )
        server.start()
        self._server, self._port, self._address = server, port, address

    def open_rest(self) -> str:
        """Open the REST port of a running server, if that has not been done; a free one unless the config has one.

        Returns ``rest_url``. Raises ConfigError when the address cannot be had, or when the packages are missing.
        """
        with self._rest_lock:
            self._started()
            if self._rest is None:
                host = _rest_host()(self._methods, self.config, self.config.rest_port or 0, self._observer)
                host.start()
                self._rest = host
            return f"http://{self._address}:{self._rest.port}"

    def stop(self, grace: float | None = None) -> None:
        """Refuse new calls, let running ones finish in ``grace`` seconds (the config's by default), close the ports."""
        grace = self.config.shutdown_grace if grace is None else grace
        with self._rest_lock:
            server, self._server = self._server, None
            rest, self._rest = self._rest, None
        stopped = None if server is None else server.stop(grace)
        if rest is not None:
            rest.stop(grace)
        if stopped is not None:
            stopped.wait()

    @property
    def port(self) -> int:
        """The port that was bound."""
        self._started()
        return self._port

    @property
    def target(self) -> str:
        """What a client takes as its target."""
        self._started()
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

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if getattr(self, "_server", None) is not None:
            _warn(f"unclosed server at port {self._port}: call stop()", ResourceWarning, source=self)
            self.stop(0)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _rest_host() -> type[RestHost]:
    """The REST side, whose packages not everybody has."""
    try:
        from tfs_client.server.rest.host import RestHost
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "h11", "anyio"):
            raise
        raise ConfigError(f"REST needs the package {error.name}: pip install 'tfs-client[server]'") from error
    return RestHost
