"""The files that flags name, in protobuf text as for the model server, and the flags whose values are lists.

All functions raise CallError, with the code and text of the model server's startup errors.
"""

from __future__ import annotations

import re

from tfs_client._printable import shown
from tfs_client.errors import ConfigError, InvalidArgumentError
from tfs_client.server.access.security import ServerTLS, checked_secret
from tfs_client.server.files import file_uris
from tfs_client.server.files.proto_files import message

METRICS_PATH = "/monitoring/prometheus/metrics"
MAX_TOKEN = 1 << 16  # bytes of a token file
_INT32 = range(-(1 << 31), 1 << 31)


def metrics_path(path: str) -> str | None:
    """Return the path of the metrics page from a MonitoringConfig; None if it is disabled."""
    from tfs_client.protos.tensorflow_serving.config.monitoring_config_pb2 import MonitoringConfig

    prometheus = message(path, MonitoringConfig).prometheus_config
    page = prometheus.path or METRICS_PATH
    if prometheus.enable and not page.startswith("/"):
        raise InvalidArgumentError(f"{path}: expected the path in prometheus_config to start with /, got {shown(page)}")
    return page if prometheus.enable else None


def tls(path: str) -> ServerTLS:
    """Return the TLS options from an SSLConfig, which contains certificates and key, not their paths."""
    from tfs_client.protos.tensorflow_serving.config.ssl_config_pb2 import SSLConfig

    config = message(path, SSLConfig)
    for field in ("server_key", "server_cert", "custom_ca"):
        text = getattr(config, field)
        if "-----BEGIN " not in text and (text or field != "custom_ca"):
            got = f"{len(text)} characters of other text" if text else "nothing"
            raise InvalidArgumentError(
                f"{path}: expected {field} as the content of a PEM file, which begins with '-----BEGIN' and has \\n "
                f"after each line, not as its path; got {got}"
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
    """Read the token in a file, without surrounding whitespace."""
    try:
        # Latin-1 decodes any bytes; the check then reports what is wrong with them.
        return checked_secret(file_uris.read(path, MAX_TOKEN).decode("latin-1").strip())
    except ConfigError as error:
        raise InvalidArgumentError(f"{path}: {error}") from None


def names(text: str) -> list[str]:
    """Split ``a,b`` at commas; whitespace around items is removed."""
    return [name for item in text.split(",") if (name := item.strip())]


def channel_arguments(text: str) -> dict[str, int | str]:
    """Parse ``k=v,k=v``: values are integers if they are numbers of 32 bits, else strings."""
    arguments: dict[str, int | str] = {}
    for item in filter(None, text.split(",")):
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise InvalidArgumentError(f"grpc_channel_arguments: expected name=value, got '{item}'")
        number = int(value) if re.fullmatch(r"[+-]?[0-9]{1,10}", value) else None
        arguments[name] = value if number is None or number not in _INT32 else number
    return arguments
