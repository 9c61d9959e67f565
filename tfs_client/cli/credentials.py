"""The options that secure a command's connection, identify its caller, and name a profile."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

from tfs_client._flows.configuration.tokens import token_of
from tfs_client._transports.retry_hints import TRY_AGAIN, WAITS
from tfs_client.errors import ConfigError

WORDS = (
    ("TLS(ca=FILE)", "--ca FILE"),
    ("TLS(authority=NAME)", "--authority NAME"),
    ("TLS(certificate=FILE, key=FILE)", "--cert FILE --key FILE"),
    ("tls=True", "--tls"),
    ("leave tls out", "leave --tls out"),
    ("model= names", "--model names"),
    ("token= sends a bearer token with every call", "--token TOKEN or --token @FILE sends a bearer token"),
    ("your own token=", "your own --token"),
    ("your own tls=", "your own --cert and --key"),
    ("your own metadata=", "your own --metadata of the same keys"),
    ("token= and", "--token (TFS_TOKEN) and"),
    ("token= or metadata=", "--token or --metadata"),
    ("in metadata=", "in --metadata"),
    ("client.status() shows", "tfs-admin status shows"),
    ("client.models() lists", "tfs-admin status without --model lists"),
    (", and proxy= overrides them", ""),
    (", or pass proxy=None", ""),
    ("RecordingFile.write(path, error.episodes) keeps", "In Python, RecordingFile.write(path, error.episodes) keeps"),
    (TRY_AGAIN, "try again"),
    (f" {WAITS}", ""),
)
"""Phrases of the library's error texts, each with the phrase that users of a command understand."""


@dataclass(frozen=True, eq=False, repr=False)  # generating them would take a millisecond
class CredentialOptions:
    """The values of the options, as the parser reads them."""

    tls: bool
    ca: str | None
    cert: str | None
    key: str | None
    authority: str | None
    token: str | None = field(repr=False)
    metadata: Sequence[str] | None = field(repr=False)
    profile: str | None


def add_arguments(group: argparse._ActionsContainer) -> None:
    """Add the options to a group of a parser."""
    group.add_argument("--tls", action="store_true", help="use TLS and trust the system's certificate authorities")
    group.add_argument("--ca", metavar="FILE", help="use TLS and trust the authorities in this PEM file (TFS_CA)")
    group.add_argument("--cert", metavar="FILE", help="client certificate in PEM, for mutual TLS; requires --key")
    group.add_argument("--key", metavar="FILE", help="private key of --cert in PEM")
    group.add_argument(
        "--authority", metavar="NAME", help="name in the server's certificate, if it differs from the host"
    )
    group.add_argument(
        "--token",
        metavar="TOKEN|@FILE",
        help="bearer token (TFS_TOKEN); @FILE reads it from a file and keeps it out of the process list",
    )
    group.add_argument(
        "--metadata",
        metavar="KEY=VALUE",
        action="append",
        help="metadata to send with every call; repeat for more",
    )
    group.add_argument(
        "--profile",
        metavar="PROFILE",
        help="read unset options from a profile (TFS_PROFILE; default: [default] of the user's file): NAME is a table "
        "of ~/.config/tfs_client/profiles.toml; PATH.toml and PATH.toml#NAME are other files",
    )


def arguments(options: CredentialOptions) -> dict[str, object]:
    """Return the values of the options that the command line has, by the keys of a profile. Raises ConfigError."""
    texts = {"ca": options.ca, "certificate": options.cert, "key": options.key, "authority": options.authority}
    found: dict[str, object] = {key: text for key, text in texts.items() if text is not None}
    if ("certificate" in found) != ("key" in found):
        raise ConfigError("expected both --cert FILE and --key FILE, got only one of them")
    if options.tls:
        found["tls"] = True
    if options.token is not None:
        try:
            found["token"] = token_of(options.token)
        except ConfigError as error:
            raise ConfigError(f"the token: {error}") from None
    if options.metadata:
        found["metadata"] = [_pair(text) for text in options.metadata]
    return found


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ConfigError(f"expected --metadata KEY=VALUE, got {text!r}")
    return key, value
