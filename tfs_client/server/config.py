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
        threads: how many calls run at the same time.
        tensor_content: answer with tensor content instead of typed fields, as TensorFlow Serving does with
            ``--enable_serialization_as_tensor_content``.
        method_name_check: refuse signatures made for another method (``--enable_signature_method_name_check``).
        shutdown_grace: seconds that running calls may take to finish when the server stops.
        version_labels: for each model, the version that a label stands for.
        channel_arguments: gRPC arguments of the listening side; messages may be of any size unless these limit them.
    """

    host: str = "127.0.0.1"
    port: int = 0
    threads: int = field(default_factory=lambda: 4 * (os.cpu_count() or 1))
    tensor_content: bool = False
    method_name_check: bool = False
    shutdown_grace: float = 10.0
    version_labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    channel_arguments: Mapping[str, int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.port, int) or not 0 <= self.port < 65536:
            raise ConfigError(f"expected a port from 0 to 65535, got {self.port!r}")
        if not isinstance(self.threads, int) or self.threads < 1:
            raise ConfigError(f"expected at least one thread, got {self.threads!r}")
        if not isinstance(self.shutdown_grace, (int, float)) or not self.shutdown_grace >= 0:
            raise ConfigError(f"expected shutdown_grace in seconds, 0 or more, got {self.shutdown_grace!r}")
        checked_channel_options(self.channel_arguments)
