"""Security: TLS of the gRPC port, and the token of callers."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc

from tfs_client._codec import regular_files
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, InvalidArgumentError, UnauthenticatedError
from tfs_client.options import check_flag

LIMIT = 16 << 20  # bytes of a PEM file

Pem = bytes | str | os.PathLike[str]


@dataclass(frozen=True)
class ServerTLS:
    """How the gRPC port is secured (SSLConfig in tensorflow_serving/config/ssl_config.proto).

    Attributes:
        certificate, key: of the server; the certificate may be followed by its chain up to the authority.
        ca: the authorities for clients' certificates (``custom_ca``).
        client_verify: require a certificate from clients (mTLS); needs ``ca``.

    certificate, key and ca are PEM: the path of a file, or its content as bytes. Files are read when the port opens;
    relative paths are made absolute at once.
    Raises ConfigError for files that are missing or not PEM.
    """

    certificate: Pem
    key: Pem = field(repr=False)
    ca: Pem | None = None
    client_verify: bool = False

    def __post_init__(self) -> None:
        check_flag("client_verify", self.client_verify)
        if self.client_verify and self.ca is None:
            raise ConfigError("expected ca, the authorities that issue client certificates, with client_verify")
        self._pems()
        for name in ("certificate", "key", "ca"):  # read again when the port opens; the working directory may change
            value = getattr(self, name)
            if value is not None and not isinstance(value, bytes):
                object.__setattr__(self, name, os.path.abspath(value))

    def _pems(self) -> tuple[bytes, bytes, bytes | None]:
        ca = None if self.ca is None else _pem("ca", self.ca)
        return _pem("certificate", self.certificate), _pem("key", self.key), ca

    def credentials(self) -> grpc.ServerCredentials:
        """Read the files again, and return the credentials for a grpc.Server."""
        certificate, key, ca = self._pems()
        ca = ca if self.client_verify else None  # without client_verify, clients are not asked for a certificate
        return grpc.ssl_server_credentials([(key, certificate)], ca, self.client_verify)


def _pem(name: str, value: Pem) -> bytes:
    if isinstance(value, bytes):
        data, where = value, f"{len(value)} bytes"
    else:
        try:
            where = repr(os.fspath(value))  # also refuses numbers, which open() accepts as file descriptors
            data = regular_files.read(value, LIMIT)
        except InvalidArgumentError as error:
            raise ConfigError(f"expected {name} as a PEM file or its bytes: {error.details}") from None
        except (OSError, TypeError, ValueError) as error:
            raise ConfigError(f"expected {name} as a PEM file or its bytes, got {shown(value)}: {error}") from None
    if b"-----BEGIN " not in data:
        raise ConfigError(f"expected {name} in PEM form, which begins with '-----BEGIN', got {where}")
    return data


def checked_secret(token: str) -> str:
    """Return the token. Raises ConfigError, without the token, if a header cannot contain it."""
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("expected a token of printable ASCII characters without spaces")
    return token


def check_caller(token: str | None, metadata: Mapping[str, str | bytes]) -> None:
    """Raise UnauthenticatedError if a token is required and the call does not have it."""
    if token is None:
        return
    sent = metadata.get("authorization", "")
    sent = sent if isinstance(sent, bytes) else sent.encode(errors="replace")
    scheme, _, secret = sent.partition(b" ")
    if not secret:
        raise UnauthenticatedError("expected the metadata 'authorization: Bearer <token>'")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(secret, token.encode()):
        raise UnauthenticatedError("invalid token")
