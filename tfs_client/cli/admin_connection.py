"""What tfs-admin calls, and with which credentials, as told by options and environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tfs_client.cli.admin_arguments import DEFAULT_SERVER
from tfs_client.errors import ConfigError
from tfs_client.options import TLS

if TYPE_CHECKING:
    from tfs_client.client import PredictClient

WORDS = (
    ("TLS(ca=FILE)", "--ca FILE"),
    ("TLS(authority=NAME)", "--authority NAME"),
    ("TLS(certificate=FILE, key=FILE)", "--cert FILE --key FILE"),
    ("tls=True", "--tls"),
    ("leave tls out", "leave --tls out"),
    ("model= names", "--model names"),
)
"""What the library's texts call an option, and what it is called here."""


def connect(options: Any, **which: Any) -> PredictClient:
    """A client of the server; ``which`` may name model, version and label. Raises ConfigError."""
    tls, token, metadata = _tls(options), _token(options), [_pair(text) for text in options.metadata]
    from tfs_client.client import PredictClient  # imports numpy, and grpc or httpx when it is made

    server = server_of(options)
    return PredictClient(server, timeout=options.timeout, tls=tls, token=token, metadata=metadata, **which)


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


def _tls(options: Any) -> TLS | bool | None:
    given = {"ca": options.ca, "certificate": options.cert, "key": options.key, "authority": options.authority}
    if any(value is not None for value in given.values()):
        return TLS(**given)
    return True if options.tls else None


def _token(options: Any) -> str | None:
    token = _read(options.token or os.environ.get("TFS_TOKEN") or "")
    # Two lines would be two tokens, and gRPC says no more to them than that they are invalid metadata.
    if token is not None and not (token and token.isascii() and token.isprintable()):
        raise ConfigError("the token: expected a line of printable ASCII text")  # and not what it is: it is a secret
    return token


def _read(text: str) -> str | None:
    """A token, or what is in the file that @FILE names; None for no text."""
    if not text.startswith("@"):
        return text or None
    try:
        with open(text[1:], encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token: cannot read {text[1:]!r}: {error}") from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ConfigError(f"expected --metadata KEY=VALUE, got {text!r}")
    return key, value
