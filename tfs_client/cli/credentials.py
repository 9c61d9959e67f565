"""The options that say how a command secures its connection, who it is, and what else goes along."""

from __future__ import annotations

import os
from typing import Any

from tfs_client.errors import ConfigError
from tfs_client.options import TLS
from tfs_client.retries import WAITS

WORDS = (
    ("TLS(ca=FILE)", "--ca FILE"),
    ("TLS(authority=NAME)", "--authority NAME"),
    ("TLS(certificate=FILE, key=FILE)", "--cert FILE --key FILE"),
    ("tls=True", "--tls"),
    ("leave tls out", "leave --tls out"),
    ("model= names", "--model names"),
    ("token= sends one with every call", "--token sends one"),
    ("token= and", "--token (TFS_TOKEN) and"),
    ("token= or metadata=", "--token or --metadata"),
    ("in metadata=", "in --metadata"),
    (", and proxy= overrides them", ""),
    (", or pass proxy=None", ""),
    ("retry=RetryPolicy() tries such calls again", "try again"),
    (f" {WAITS}", ""),
)
"""What the library's texts call an option, and what it is called here."""


FLAGS = ("tls", "ca", "cert", "key", "authority", "token", "metadata")


def add_arguments(group: Any) -> None:
    """Add the options to a group of a parser."""
    group.add_argument("--tls", action="store_true", help="TLS, with the authorities that the system trusts")
    group.add_argument("--ca", metavar="FILE", help="TLS, with the authorities in this PEM file")
    group.add_argument("--cert", metavar="FILE", help="the client's own certificate, PEM (mTLS); with --key")
    group.add_argument("--key", metavar="FILE", help="the key of --cert, PEM")
    group.add_argument("--authority", metavar="NAME", help="the name in the server's certificate, if not the host's")
    group.add_argument(
        "--token",
        metavar="TOKEN|@FILE",
        help="a bearer token (TFS_TOKEN); @FILE keeps it out of the list of processes",
    )
    group.add_argument(
        "--metadata", metavar="KEY=VALUE", action="append", help="goes along with every call; may be given again"
    )


def credentials(options: Any) -> dict[str, Any]:
    """What a client is made with: tls, token and metadata. Raises ConfigError."""
    metadata = [_pair(text) for text in options.metadata or ()]
    return {"tls": _tls(options), "token": _token(options), "metadata": metadata}


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
