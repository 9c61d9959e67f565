"""What tfs-admin calls, as told by options and environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tfs_client.cli.admin_arguments import DEFAULT_SERVER
from tfs_client.cli.credentials import credentials
from tfs_client.errors import ConfigError

if TYPE_CHECKING:
    from tfs_client.client import PredictClient


def connect(options: Any, **which: Any) -> PredictClient:
    """A client of the server; ``which`` may name model, version and label. Raises ConfigError."""
    secured = credentials(options)
    from tfs_client.client import PredictClient  # imports numpy, and grpc or httpx when it is made

    return PredictClient(server_of(options), timeout=options.timeout, **secured, **which)


def server_of(options: Any) -> str:
    """The server's target."""
    return options.server or os.environ.get("TFS_SERVER") or DEFAULT_SERVER


def models_of(options: Any) -> list[str]:
    """The models that are asked about, each once. Raises ConfigError for none."""
    given = options.model if isinstance(options.model, list) else [options.model]
    models = [model for model in given if model] or [os.environ.get("TFS_MODEL")]
    named = [model for model in dict.fromkeys(models) if model]
    if not named:
        raise ConfigError("which model? Give --model NAME, or set TFS_MODEL")
    return named


def check_grpc(options: Any) -> None:
    """Raise ConfigError for a REST server: it would refuse, and before that somebody would have been asked."""
    if (server := server_of(options)).startswith(("http://", "https://")):
        raise ConfigError(
            f"REST has no {options.command}, and {server} is a REST server: give its gRPC port, as host:8500"
        )
