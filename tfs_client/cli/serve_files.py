"""The files of tfs-serve, protobuf text as the model server's, and what else its flags hold in writing.

All raise CallError with the code and text that the model server would give at its start.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, TypeVar

from tfs_client.errors import ConfigError, InvalidArgumentError
from tfs_client.server.file_errors import file_error
from tfs_client.server.security import ServerTLS, checked_secret

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

log = logging.getLogger("tfs_client.server")

METRICS_PATH = "/monitoring/prometheus/metrics"
_INT32 = range(-(1 << 31), 1 << 31)


def read(path: str) -> str:
    """The content of a file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise file_error(error, path) from None
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"Invalid protobuf file: '{path}'") from None


def message(path: str, kind: type[M]) -> M:
    """The message in a file. The line where it is no such message goes to the log."""
    from google.protobuf import text_format

    text, proto = read(path), kind()
    try:
        return text_format.Parse(text, proto)
    except text_format.ParseError as error:
        log.error("Error parsing text-format %s: %s", proto.DESCRIPTOR.full_name, error)
        raise InvalidArgumentError(f"Invalid protobuf file: '{path}'") from None


def metrics_path(path: str) -> str | None:
    """Where a MonitoringConfig wants the page of metrics; None for nowhere."""
    from tfs_client.protos.tensorflow_serving.config.monitoring_config_pb2 import MonitoringConfig

    prometheus = message(path, MonitoringConfig).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


def tls(path: str) -> ServerTLS:
    """The TLS options in an SSLConfig, which holds certificates and key themselves, not their paths."""
    from tfs_client.protos.tensorflow_serving.config.ssl_config_pb2 import SSLConfig

    config = message(path, SSLConfig)
    try:
        return ServerTLS(
            certificate=config.server_cert.encode(),
            key=config.server_key.encode(),
            ca=config.custom_ca.encode() if config.custom_ca else None,
            client_verify=config.client_verify,
        )
    except ConfigError as error:
        raise InvalidArgumentError(f"{path}: {error}") from None


def token(path: str) -> str:
    """The token in a file; blanks and line ends around it do not count."""
    try:
        return checked_secret(read(path).strip())
    except ConfigError as error:
        raise InvalidArgumentError(f"{path}: {error}") from None


def channel_arguments(text: str) -> dict[str, int | str]:
    """``k=v,k=v``: values are integers where they look like some of 32 bits, and else texts."""
    arguments: dict[str, int | str] = {}
    for item in filter(None, text.split(",")):
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise InvalidArgumentError(f"grpc_channel_arguments: expected name=value, got '{item}'")
        number = int(value) if re.fullmatch(r"[+-]?[0-9]{1,10}", value) else None
        arguments[name] = value if number is None or number not in _INT32 else number
    return arguments
