"""ServerConfig: the options of the tiny server. Frozen, and validated on construction."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

from tfs_client._printable import shown
from tfs_client.errors import ConfigError
from tfs_client.model_config import ModelServerConfig
from tfs_client.options import check_flag, checked_channel_options
from tfs_client.server.access.addresses import is_loopback
from tfs_client.server.access.bounds import Bounds
from tfs_client.server.access.security import ServerTLS, checked_secret
from tfs_client.server.files.file_uris import is_uri, local_path
from tfs_client.server.thread_pool import checked_threads

# Arguments that gRPC reads as integers only. It ignores a string, and reports it only in its own log, which is off.
_INTEGERS = re.compile(
    r"grpc\.(max_\w+|absolute_max_\w+|keepalive_\w+|so_reuseport|minimal_stack|server_handshake_timeout_ms"
    r"|default_compression_\w+|http2\.(max|min|lookahead|write_buffer|bdp|hpack)\w+)"
)


@dataclass(frozen=True)
class Retries:
    """How often a failed load is retried.

    Attributes:
        count: attempts after the first one (``--max_num_load_retries``).
        pause: seconds before each of them; 0 or less for none (``--load_retry_interval_micros``).
    """

    count: int = 5
    pause: float = 60.0

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 0:
            raise ConfigError(f"expected a number of load retries, 0 or more, got {shown(self.count)}")
        number = isinstance(self.pause, (int, float)) and not isinstance(self.pause, bool)
        if not number or self.pause != self.pause:
            raise ConfigError(f"expected the pause between load attempts in seconds, got {shown(self.pause)}")


@dataclass(frozen=True)
class ServerConfig:
    """Options of the tiny server. The model server's flags are in brackets where their names differ.

    How it is reached:
        host: the address to listen on, or a name of one or several; "0.0.0.0" and "::" mean all addresses, IPv4 and
            IPv6. Loopback by default, because without a token anyone may call.
        port: the gRPC port; 0: a free port, see ``Server.port``; None: no port, only the socket.
        grpc_socket_path: the path of a UNIX socket on which gRPC listens too.
        tls: secures the gRPC port (``--ssl_config_file``); None: plaintext. REST is always plaintext.
        token: callers must send ``authorization: Bearer <token>``; None: anyone may call. Health checks need no token.
        enable_grpc_healthcheck_service: offer grpc.health.v1.Health for ModelService, PredictionService and "".
        enable_grpc_reflection: offer grpc.reflection.v1 and v1alpha, so that tools like grpcurl need no .proto files.
        threads: the number of gRPC calls that run at the same time (``--grpc_max_threads``); at most 4096.
        rest_threads: the same for REST (``--rest_api_num_threads``); None: as many as ``threads``.
        tensor_content: send tensor content instead of typed fields, as TensorFlow Serving does with
            ``--enable_serialization_as_tensor_content``.
        method_name_check: refuse signatures that are meant for another method
            (``--enable_signature_method_name_check``).
        drain_seconds: how long a stopping server still serves while its health is already NOT_SERVING, so that
            load balancers have time to send calls elsewhere.
        shutdown_grace: seconds that running calls may take to finish when the server stops.
        version_labels: for each model, its labels and the version of each. A model config replaces them all.
        channel_arguments: arguments of the gRPC server; the size of messages is unlimited unless they limit it.
        max_connections: the maximum number of connections of each port; never more than a third of the files that the
            process may open. Above it, REST closes an idle connection, or answers 503 with Retry-After; gRPC closes
            the new connection, so its client gets UNAVAILABLE.
        max_waiting_calls: the maximum number of gRPC calls that wait for a thread. Further calls fail with
            RESOURCE_EXHAUSTED, "Server Threadpool Exhausted", which clients may retry later.
        thread_pool_exhausted: the treatment of gRPC predictions that arrive while all threads are busy. "queue": they
            wait for a thread. "refuse": they fail with RESOURCE_EXHAUSTED, "Server Threadpool Exhausted", as in the
            model server.
        idle_timeout: seconds for which a connection may be idle.
        grpc_body_timeout: seconds that the request of a gRPC call may take to arrive. Then the call ends as CANCELLED.
        rest_port: the REST port; 0: a free port, see ``Server.rest_url``; None: no REST. REST needs the packages of the
            extra ``server``.
        rest_timeout: seconds that a REST call may take once its body has arrived, including the time for which it
            waits for a thread; 0 or less: no limit (``--rest_api_timeout_in_ms``).
        rest_cors: allow calls from pages of other origins (``--rest_api_enable_cors_support``).
        rest_max_body: the maximum size of a request's body in bytes, before and after decompression
            (``--rest_api_max_body_bytes``).
        rest_header_timeout: seconds that the headers of a request may take to arrive.
        rest_body_timeout: seconds that the body of a request may take to arrive, plus one for every 16 KiB of it.
        rest_write_timeout: seconds that the client may take to read an answer, plus one for every 16 KiB of it.
        metrics_path: the path of the metrics page on the REST port; None: no page (``--monitoring_config_file``).

    What it logs about calls:
        access_log: a file to which a line of JSON is appended for each call; "-": standard output; None: no log.

    Models from the file system:
        model_config: the models to serve; None: only those of ``Server.add_model`` and of reloads.
        model_config_file: the same as a file, given as a path or as ``file:///path``.
        model_config_file_poll_wait_seconds: the period after which the file is applied again; 0 or less: never.
        file_system_poll_wait_seconds: the period of polls of base paths; 0: one poll, at the start; below 0: none.
        num_load_threads, num_unload_threads: the number of loads, or unloads, that run at the same time; 0: one of each
            model.
        max_num_load_retries: how often a failed load is retried.
        load_retry_interval: seconds between the attempts (``--load_retry_interval_micros``); 0 or less: no pause.
        flush_filesystem_caches: False logs ``Finished reloading config``, as the model server does. Only remote file
            systems have caches to flush, and this server reads local ones.
        allow_version_labels_for_unavailable_models: allow new labels for versions that do not serve yet.
        start_wait: seconds for which the start waits for versions to appear; by default forever, as the model server.
        reload_wait: the same for a reload with new models.
        allow_python_reload: let reloads load models of platform "python", whose code the server runs, from any base
            path; otherwise only from base paths in model_config or model_config_file.
        model_roots: directories; a reload may load models from below them, and from base paths in model_config or
            model_config_file. None: from anywhere, unless other machines can reach the gRPC port without a token or a
            client certificate; then from below the parents of the configured base paths.

    Seconds may be ``math.inf``, for no limit. The gRPC arguments in ``channel_arguments`` override those that these
    limits imply. A stop waits at most 30 days for anything.
    """

    host: str = "127.0.0.1"
    port: int | None = 0
    threads: int = field(default_factory=lambda: 4 * (os.cpu_count() or 1))
    rest_threads: int | None = None
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
    enable_grpc_reflection: bool = True
    model_config: ModelServerConfig | None = None
    model_config_file: str | os.PathLike[str] | None = None
    model_config_file_poll_wait_seconds: float = 0.0
    file_system_poll_wait_seconds: float = 1.0
    num_load_threads: int = 0
    num_unload_threads: int = 0
    max_num_load_retries: int = 5
    load_retry_interval: float = 60.0
    flush_filesystem_caches: bool = True
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
    access_log: str | os.PathLike[str] | None = None
    thread_pool_exhausted: Literal["queue", "refuse"] = "queue"

    def __post_init__(self) -> None:
        self._check_addresses()
        checked_threads("threads (--grpc_max_threads)", self.threads, 1)
        if self.thread_pool_exhausted not in ("queue", "refuse"):
            raise ConfigError(
                "expected thread_pool_exhausted (--thread_pool_exhausted) of 'queue' or 'refuse', "
                f"got {shown(self.thread_pool_exhausted)}"
            )
        if self.rest_threads is not None:
            checked_threads("rest_threads (--rest_api_num_threads)", self.rest_threads, 1)
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
        if not isinstance(self.host, str) or not self.host:
            raise ConfigError(f"expected a host as an address or a name, got {shown(self.host)}")
        if self.host.startswith("[") and self.host.endswith("]"):  # an IPv6 address as in URLs
            object.__setattr__(self, "host", self.host[1:-1])
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
        check_flag("rest_cors", self.rest_cors)
        if self.metrics_path is not None and not str(self.metrics_path).startswith("/"):
            raise ConfigError(f"expected metrics_path to start with /, got {shown(self.metrics_path)}")
        if isinstance(self.rest_max_body, bool) or not isinstance(self.rest_max_body, int) or self.rest_max_body < 1:
            raise ConfigError(f"expected rest_max_body in bytes, 1 or more, got {shown(self.rest_max_body)}")

    def _check_callers(self) -> None:
        if self.tls is not None and not isinstance(self.tls, ServerTLS):
            raise ConfigError(f"expected tls=ServerTLS(...) or None, got {shown(self.tls)}")
        if self.token is not None:
            checked_secret(self.token)
        _check_path("access_log", self.access_log)
        if self.access_log != "-":
            self._make_absolute("access_log")  # it is reopened after a rotation
        for name in ("enable_grpc_healthcheck_service", "enable_grpc_reflection"):
            check_flag(name, getattr(self, name))

    def _check_models(self) -> None:
        if self.model_config is not None and not isinstance(self.model_config, ModelServerConfig):
            raise ConfigError(f"expected a ModelServerConfig as model_config, got {shown(self.model_config)}")
        if self.model_config is not None and self.model_config_file is not None:
            raise ConfigError("expected model_config or model_config_file, got both")
        _check_path("model_config_file", self.model_config_file)
        self._make_absolute("model_config_file")  # it is read again
        for name in ("model_config_file_poll_wait_seconds", "file_system_poll_wait_seconds"):
            _check_seconds(name, getattr(self, name))
        for name in ("num_load_threads", "num_unload_threads"):
            checked_threads(name, getattr(self, name), 0, ", 0 for one of each model")
        check_flag("allow_version_labels_for_unavailable_models", self.allow_version_labels_for_unavailable_models)
        check_flag("allow_python_reload", self.allow_python_reload)
        if self.model_roots is not None:
            object.__setattr__(self, "model_roots", _roots(self.model_roots))
        self.load_retries  # noqa: B018  raises

    def _make_absolute(self, name: str) -> None:
        """Make a path absolute, because a model may change the working directory before it is used again."""
        path = getattr(self, name)
        if path is not None and not is_uri(os.fspath(path)):
            object.__setattr__(self, name, os.path.abspath(path))

    @property
    def load_retries(self) -> Retries:
        """How often a failed load is retried."""
        return Retries(self.max_num_load_retries, self.load_retry_interval)

    def is_exposed(self) -> bool:
        """Whether other machines can reach the gRPC port without a token or a client certificate.

        A UNIX socket counts as local: the permissions of its directory decide who may connect.
        """
        if self.port is None or self.token is not None:
            return False
        if self.tls is not None and self.tls.client_verify:
            return False
        return not is_loopback(self.host)

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
        if isinstance(path, str) and path.startswith("file://"):
            path = local_path(path)
        if not isinstance(path, str) or not path or "\0" in path or "://" in path:
            raise ConfigError(f"expected model_roots as local directories, got {shown(root)}")
        roots.append(os.path.abspath(path))
    return tuple(roots)


def _check_port(port: object) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise ConfigError(f"expected a port from 0 to 65535, got {shown(port)}")
