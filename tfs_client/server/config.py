"""ServerConfig: how the tiny server is set up. Frozen, and checked when made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from tfs_client.errors import ConfigError
from tfs_client.options import checked_channel_options


@dataclass(frozen=True)
class ServerConfig:
    """Options of the tiny server.

    Attributes:
        host: the address to listen at; loopback unless told otherwise, since there is no authentication.
        port: the gRPC port; 0 picks a free one, which ``Server.port`` tells.
        threads: how many calls run at the same time, over gRPC and once more over REST.
        tensor_content: answer with tensor content instead of typed fields, as TensorFlow Serving does with
            ``--enable_serialization_as_tensor_content``.
        method_name_check: refuse signatures made for another method (``--enable_signature_method_name_check``).
        shutdown_grace: seconds that running calls may take to finish when the server stops.
        version_labels: for each model, the version that a label stands for.
        channel_arguments: gRPC arguments of the listening side; messages may be of any size unless these limit them.
        rest_port: the REST port; 0 picks a free one, which ``Server.rest_url`` tells. None: no REST, which needs the
            packages of the extra ``server``.
        rest_timeout: seconds that a call over REST may run; 0 or less for no limit (``--rest_api_timeout_in_ms``).
        rest_cors: let pages of other origins call (``--rest_api_enable_cors_support``).
        rest_max_body: bytes that the body of a REST request may have.
    """

    host: str = "127.0.0.1"
    port: int = 0
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

    def __post_init__(self) -> None:
        _check_port(self.port)
        if not isinstance(self.threads, int) or self.threads < 1:
            raise ConfigError(f"expected at least one thread, got {self.threads!r}")
        if not isinstance(self.shutdown_grace, (int, float)) or not self.shutdown_grace >= 0:
            raise ConfigError(f"expected shutdown_grace in seconds, 0 or more, got {self.shutdown_grace!r}")
        checked_channel_options(self.channel_arguments)
        self._check_rest()

    def _check_rest(self) -> None:
        if self.rest_port is not None:
            _check_port(self.rest_port)
            if self.rest_port and self.rest_port == self.port:
                raise ConfigError(f"expected a port for REST other than gRPC's, got {self.rest_port} for both")
        if isinstance(self.rest_timeout, bool) or not isinstance(self.rest_timeout, (int, float)):
            raise ConfigError(f"expected rest_timeout in seconds, 0 for no limit, got {self.rest_timeout!r}")
        if self.rest_timeout != self.rest_timeout:
            raise ConfigError("expected rest_timeout in seconds, 0 for no limit, got nan")
        if not isinstance(self.rest_cors, bool):
            raise ConfigError(f"expected rest_cors to be True or False, got {self.rest_cors!r}")
        if isinstance(self.rest_max_body, bool) or not isinstance(self.rest_max_body, int) or self.rest_max_body < 1:
            raise ConfigError(f"expected rest_max_body in bytes, 1 or more, got {self.rest_max_body!r}")


def _check_port(port: object) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise ConfigError(f"expected a port from 0 to 65535, got {port!r}")
