"""ServerConfig: how the tiny server is set up. Frozen, and checked when made."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from tfs_client.errors import ConfigError
from tfs_client.model_config import ModelServerConfig
from tfs_client.options import checked_channel_options
from tfs_client.server.access.bounds import Bounds
from tfs_client.server.loader import Retries
from tfs_client.server.security import ServerTLS, checked_secret
from tfs_client.server.threads import checked_threads
from tfs_client.shown import shown

# Arguments of gRPC that it reads as integers only. Of a text it would tell its own log, which is off, and pass it over.
_INTEGERS = re.compile(
    r"grpc\.(max_\w+|absolute_max_\w+|keepalive_\w+|so_reuseport|minimal_stack|server_handshake_timeout_ms"
    r"|default_compression_\w+|http2\.(max|min|lookahead|write_buffer|bdp|hpack)\w+)"
)


@dataclass(frozen=True)
class ServerConfig:
    """Options of the tiny server. Names in brackets are the model server's flags, where they differ.

    How it is reached:
        host: the address to listen at; loopback unless told otherwise, since without a token everybody may call.
        port: the gRPC port; 0 picks a free one, which ``Server.port`` tells. None: no port, only the socket.
        grpc_socket_path: a UNIX socket to listen at, too, for gRPC.
        tls: secures the gRPC port (``--ssl_config_file``); None: plaintext. REST is always plaintext.
        token: what callers must bring as ``authorization: Bearer <token>``; None: everybody may call. Health checks
            need none.
        enable_grpc_healthcheck_service: offer grpc.health.v1.Health, as ModelService, PredictionService and "".
        threads: how many calls run at the same time over gRPC, and the same number over REST; at most 4096.
        tensor_content: answer with tensor content instead of typed fields, as TensorFlow Serving does with
            ``--enable_serialization_as_tensor_content``.
        method_name_check: refuse signatures made for another method (``--enable_signature_method_name_check``).
        drain_seconds: how long a server that is told to stop still serves, while its health is NOT_SERVING already,
            so that those who watch it have time to go elsewhere.
        shutdown_grace: seconds that running calls may take to finish when the server stops.
        version_labels: for each model, the version that a label stands for. A model config replaces them all.
        channel_arguments: gRPC arguments of the listening side; messages may be of any size unless these limit them.
        max_connections: the most connections of each port; never more than a third of the files that the process
            may open. Beyond that REST closes a connection that is idle, or answers 503 with Retry-After; gRPC closes
            the new connection, which is UNAVAILABLE to its client.
        max_waiting_calls: the most gRPC calls that may wait for a thread. Further ones are RESOURCE_EXHAUSTED, "Server
            Threadpool Exhausted", which clients take for a reason to try again later.
        idle_timeout: seconds that a connection may go without a call.
        grpc_body_timeout: seconds that the request of a gRPC call may take to arrive. After that the call is CANCELLED.
        rest_port: the REST port; 0 picks a free one, which ``Server.rest_url`` tells. None: no REST, which needs the
            packages of the extra ``server``.
        rest_timeout: seconds that a call over REST may take from when its body is there, the time included in which it
            waits for a thread; 0 or less for no limit (``--rest_api_timeout_in_ms``).
        rest_cors: let pages of other origins call (``--rest_api_enable_cors_support``).
        rest_max_body: bytes that the body of a REST request may have, also once inflated
            (``--rest_api_max_body_bytes``).
        rest_header_timeout: seconds that the headers of a request may take to arrive.
        rest_body_timeout: seconds that the body of a request may take to arrive, plus one for every 16 KiB of it.
        rest_write_timeout: seconds that the client may take to read an answer, plus one for every 16 KiB of it.
        metrics_path: where the REST port has the page of metrics; None: nowhere (``--monitoring_config_file``).

    Models from the file system:
        model_config: the models to serve; None: those that ``Server.add_model`` and reloads bring.
        model_config_file: the same as a file.
        model_config_file_poll_wait_seconds: how often the file is read and applied again; 0 or less: never.
        file_system_poll_wait_seconds: how often base paths are looked at; 0: once, at the start; less: never.
        num_load_threads, num_unload_threads: how many loads, or unloads, run at the same time; 0: one of each model.
        max_num_load_retries: how often a load that failed is tried again.
        load_retry_interval: seconds between the attempts (``--load_retry_interval_micros``); 0 or less: no pause.
        allow_version_labels_for_unavailable_models: let labels that are new be given to versions that do not serve yet.
        start_wait: seconds that the start waits for versions to appear; for ever, as the model server does, by default.
        reload_wait: the same for a reload that brings models.
        allow_python_reload: let reloads bring models of platform "python" from any base path, whose code the server
            then runs. Otherwise only from those that model_config or model_config_file has.
        model_roots: directories; a reload may load models from below these, and from base paths that model_config or
            model_config_file has. None: from anywhere, unless the gRPC port is open to other machines without a token
            or client certificates; then from below the parents of the configured base paths.

    Seconds may be ``math.inf``, for no limit. The gRPC arguments in ``channel_arguments`` replace those that
    come of these bounds. A stop takes any more than 30 days for 30 days.
    """

    host: str = "127.0.0.1"
    port: int | None = 0
    threads: int = field(default_factory=lambda: 4 * (os.cpu_count() or 1))
    tensor_content: bool = False
    method_name_check: bool = False
    shutdown_grace: float = 10.0
    version_labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    channel_arguments: Mapping[str, int | str] = field(default_factory=dict)
    rest_port: int | None = None
    rest_timeout: float = 30.0
    rest_cors: bool = False
    rest_max_body: int = 1 << 30
    metrics_path: str | None = None
    drain_seconds: float = 0.0
    grpc_socket_path: str | os.PathLike[str] | None = None
    tls: ServerTLS | None = None
    token: str | None = field(default=None, repr=False)
    enable_grpc_healthcheck_service: bool = False
    model_config: ModelServerConfig | None = None
    model_config_file: str | os.PathLike[str] | None = None
    model_config_file_poll_wait_seconds: float = 0.0
    file_system_poll_wait_seconds: float = 1.0
    num_load_threads: int = 0
    num_unload_threads: int = 0
    max_num_load_retries: int = 5
    load_retry_interval: float = 60.0
    allow_version_labels_for_unavailable_models: bool = False
    start_wait: float = math.inf
    reload_wait: float = 60.0
    allow_python_reload: bool = False
    max_connections: int = Bounds.max_connections
    max_waiting_calls: int = Bounds.max_waiting_calls
    idle_timeout: float = Bounds.idle_timeout
    grpc_body_timeout: float = Bounds.grpc_body_timeout
    rest_header_timeout: float = Bounds.rest_header_timeout
    rest_body_timeout: float = Bounds.rest_body_timeout
    rest_write_timeout: float = Bounds.rest_write_timeout
    model_roots: Sequence[str | os.PathLike[str]] | None = None

    def __post_init__(self) -> None:
        self._check_addresses()
        if not isinstance(self.threads, int) or self.threads < 1:
            raise ConfigError(f"expected at least one thread, got {shown(self.threads)}")
        checked_threads("threads (--grpc_max_threads)", self.threads, 1)
        for name in ("shutdown_grace", "drain_seconds", "start_wait", "reload_wait"):
            _check_seconds(name, getattr(self, name), least=0.0)
        for name, value in checked_channel_options(self.channel_arguments).items():
            if _INTEGERS.match(name) and not isinstance(value, int):
                raise ConfigError(f"expected {name} as an integer of 32 bits, got {shown(value)}")
        self._check_rest()
        self.bounds  # noqa: B018  raises
        self._check_callers()
        self._check_models()

    def _check_addresses(self) -> None:
        if self.port is None and self.grpc_socket_path is None:
            raise ConfigError("expected a port or a grpc_socket_path, got neither")
        if self.port is not None:
            _check_port(self.port)
        _check_path("grpc_socket_path", self.grpc_socket_path)

    def _check_rest(self) -> None:
        if self.rest_port is not None:
            _check_port(self.rest_port)
            if self.rest_port and self.rest_port == self.port:
                raise ConfigError(f"expected a port for REST other than gRPC's, got {self.rest_port} for both")
        _check_seconds("rest_timeout", self.rest_timeout)
        _check_flag("rest_cors", self.rest_cors)
        if self.metrics_path is not None and not str(self.metrics_path).startswith("/"):
            raise ConfigError(f"expected metrics_path to start with /, got {shown(self.metrics_path)}")
        if isinstance(self.rest_max_body, bool) or not isinstance(self.rest_max_body, int) or self.rest_max_body < 1:
            raise ConfigError(f"expected rest_max_body in bytes, 1 or more, got {shown(self.rest_max_body)}")

    def _check_callers(self) -> None:
        if self.tls is not None and not isinstance(self.tls, ServerTLS):
            raise ConfigError(f"expected tls=ServerTLS(...) or None, got {shown(self.tls)}")
        if self.token is not None:
            checked_secret(self.token)
        _check_flag("enable_grpc_healthcheck_service", self.enable_grpc_healthcheck_service)

    def _check_models(self) -> None:
        if self.model_config is not None and not isinstance(self.model_config, ModelServerConfig):
            raise ConfigError(f"expected a ModelServerConfig as model_config, got {shown(self.model_config)}")
        if self.model_config is not None and self.model_config_file is not None:
            raise ConfigError("expected model_config or model_config_file, got both")
        _check_path("model_config_file", self.model_config_file)
        if self.model_config_file is not None:  # it is read again when a model may have changed the working directory
            object.__setattr__(self, "model_config_file", os.path.abspath(self.model_config_file))
        for name in ("model_config_file_poll_wait_seconds", "file_system_poll_wait_seconds"):
            _check_seconds(name, getattr(self, name))
        for name in ("num_load_threads", "num_unload_threads"):
            checked_threads(name, getattr(self, name), 0, ", 0 for one of each model")
        _check_flag("allow_version_labels_for_unavailable_models", self.allow_version_labels_for_unavailable_models)
        _check_flag("allow_python_reload", self.allow_python_reload)
        if self.model_roots is not None:
            object.__setattr__(self, "model_roots", _roots(self.model_roots))
        self.load_retries  # noqa: B018  raises

    @property
    def load_retries(self) -> Retries:
        """How often a load that failed is tried again."""
        return Retries(self.max_num_load_retries, self.load_retry_interval)

    @property
    def bounds(self) -> Bounds:
        """The limits on connections and waiting calls, and the timeouts of connections."""
        return Bounds(**{bound.name: getattr(self, bound.name) for bound in fields(Bounds)})


def _check_seconds(name: str, value: object, least: float = -math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise ConfigError(f"expected {name} in seconds{', 0 or more' if least == 0 else ''}, got {shown(value)}")


def _check_path(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, (str, os.PathLike)) or not os.fspath(value)):
        raise ConfigError(f"expected {name} as a path, got {shown(value)}")
    if value is not None and "\0" in str(os.fspath(value)):
        raise ConfigError(f"expected {name} as a path without NUL characters, got {shown(value)}")


def _roots(value: object) -> tuple[str, ...]:
    """Directories as absolute paths, because the working directory may change before they are needed."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ConfigError(f"expected model_roots as a list of directories, got {shown(value)}")
    roots = []
    for root in value:
        path = os.fspath(root) if isinstance(root, (str, os.PathLike)) else None
        if not isinstance(path, str) or not path or "\0" in path or "://" in path:
            raise ConfigError(f"expected model_roots as local directories, got {shown(root)}")
        roots.append(os.path.abspath(path))
    return tuple(roots)


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"expected {name} to be True or False, got {shown(value)}")


def _check_port(port: object) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise ConfigError(f"expected a port from 0 to 65535, got {shown(port)}")
