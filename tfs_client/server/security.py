"""Who may call: TLS of the gRPC port, and the token that calls must bring."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc

from tfs_client.errors import ConfigError, InvalidArgumentError, UnauthenticatedError
from tfs_client.server import regular_files
from tfs_client.shown import shown

LIMIT = 16 << 20  # bytes of a PEM file

Pem = bytes | str | os.PathLike[str]


@dataclass(frozen=True)
class ServerTLS:
    """How the gRPC port is secured (SSLConfig in tensorflow_serving/config/ssl_config.proto).

    Attributes:
        certificate, key: the server's own; the certificate may be followed by those that lead to its authority.
        ca: the authorities that clients' certificates may come from (``custom_ca``).
        client_verify: whether clients must show a certificate (mTLS); it needs ``ca``.

    certificate, key and ca are PEM: the path of a file, or its content as bytes. Files are read when the port opens;
    relative paths are made absolute at once.
    Raises ConfigError for files that are not there or are no PEM.
    """

    certificate: Pem
    key: Pem = field(repr=False)
    ca: Pem | None = None
    client_verify: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.client_verify, bool):
            raise ConfigError(f"expected client_verify to be True or False, got {shown(self.client_verify)}")
        if self.client_verify and self.ca is None:
            raise ConfigError("expected ca, the authorities of clients' certificates, along with client_verify")
        self._pems()
        for name in ("certificate", "key", "ca"):  # they are read again, and the working directory may change
            value = getattr(self, name)
            if value is not None and not isinstance(value, bytes):
                object.__setattr__(self, name, os.path.abspath(value))

    def _pems(self) -> tuple[bytes, bytes, bytes | None]:
        ca = None if self.ca is None else _pem("ca", self.ca)
        return _pem("certificate", self.certificate), _pem("key", self.key), ca

    def credentials(self) -> grpc.ServerCredentials:
        """What a grpc.Server takes; the files are read anew."""
        certificate, key, ca = self._pems()
        ca = ca if self.client_verify else None  # clients that need not show a certificate are not asked for one
        return grpc.ssl_server_credentials([(key, certificate)], ca, self.client_verify)


def _pem(name: str, value: Pem) -> bytes:
    if isinstance(value, bytes):
        data, where = value, f"{len(value)} bytes"
    else:
        try:
            where = repr(os.fspath(value))  # also refuses numbers, which open() takes for files that are open
            data = regular_files.read(value, LIMIT)
        except InvalidArgumentError as error:
            raise ConfigError(f"expected {name} as a PEM file or its bytes: {error.details}") from None
        except (OSError, TypeError, ValueError) as error:
            raise ConfigError(f"expected {name} as a PEM file or its bytes, got {shown(value)}: {error}") from None
    if b"-----BEGIN " not in data:
        raise ConfigError(f"expected {name} in PEM form, which begins with '-----BEGIN', got {where}")
    return data


def checked_secret(token: str) -> str:
    """The token. Raises ConfigError, which does not show it, for one that no header can hold."""
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("expected a token of printable ASCII characters without blanks")
    return token


def check_caller(token: str | None, metadata: Mapping[str, str | bytes]) -> None:
    """Refuse a call that does not bring the token, if there is one. Raises UnauthenticatedError."""
    if token is None:
        return
    brought = metadata.get("authorization", "")
    brought = brought if isinstance(brought, bytes) else brought.encode(errors="replace")
    scheme, _, secret = brought.partition(b" ")
    if not secret:
        raise UnauthenticatedError("expected the metadata 'authorization: Bearer <token>'")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(secret, token.encode()):
        raise UnauthenticatedError("the token is not the one that this server expects")
