"""The files of tfs-serve, protobuf text as the model server's, and what else its flags hold in writing.

All raise CallError with the code and text that the model server would give at its start.
"""

from __future__ import annotations

import re

from tfs_client.errors import ConfigError, InvalidArgumentError
from tfs_client.server import regular_files
from tfs_client.server.file_errors import file_error
from tfs_client.server.proto_files import message
from tfs_client.server.security import ServerTLS, checked_secret

METRICS_PATH = "/monitoring/prometheus/metrics"
MAX_TOKEN = 1 << 16  # bytes of a token file
_INT32 = range(-(1 << 31), 1 << 31)


def metrics_path(path: str) -> str | None:
    """Where a MonitoringConfig wants the page of metrics; None for nowhere."""
    from tfs_client.protos.tensorflow_serving.config.monitoring_config_pb2 import MonitoringConfig

    prometheus = message(path, MonitoringConfig).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


def tls(path: str) -> ServerTLS:
    """The TLS options in an SSLConfig, which holds certificates and key themselves, not their paths."""
    from tfs_client.protos.tensorflow_serving.config.ssl_config_pb2 import SSLConfig

    config = message(path, SSLConfig)
    for field in ("server_key", "server_cert", "custom_ca"):
        text = getattr(config, field)
        if "-----BEGIN " not in text and (text or field != "custom_ca"):
            got = f"a text of {len(text)} characters" if text else "nothing"
            raise InvalidArgumentError(
                f"{path}: expected {field} to be what is in a PEM file, which begins with '-----BEGIN', its lines "
                f"ended by \\n, and not the path of one; got {got}"
            )
    try:
        return ServerTLS(
            certificate=config.server_cert.encode(),
            key=config.server_key.encode(),
            ca=config.custom_ca.encode() if config.custom_ca else None,
            client_verify=config.client_verify,
        )
    except ConfigError as error:
        raise InvalidArgumentError(f"{path}: {error}".replace("expected ca,", "expected custom_ca,")) from None


def token(path: str) -> str:
    """The token in a file; blanks and line ends around it do not count."""
    try:
        # Any bytes are some text in Latin-1, and the check says what is wrong.
        return checked_secret(regular_files.read(path, MAX_TOKEN).decode("latin-1").strip())
    except OSError as error:
        raise file_error(error, path) from None
    except ConfigError as error:
        raise InvalidArgumentError(f"{path}: {error}") from None


def names(text: str) -> list[str]:
    """``a,b``: a list, whose items may have blanks around them."""
    return [name for item in text.split(",") if (name := item.strip())]


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
