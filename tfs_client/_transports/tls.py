"""Certificates and keys, checked before a connection uses them. Shared by both protocols.

gRPC itself reads them with the first connection, logs its errors, and reports the server as unavailable.
"""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from pathlib import Path

from tfs_client.errors import ConfigError
from tfs_client.options import TLS


def checked_pems(tls: TLS) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Return the authorities, the key and the certificate of a TLS, after checking that they are readable and match.

    Raises ConfigError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLError):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # the connection decides which keys are long enough
    ca = tls.pem("ca")
    if ca is not None:
        try:
            context.load_verify_locations(cadata=ca.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError) as error:
            raise no_authorities(error) from error
    load_own(context, tls)
    return ca, tls.pem("key"), tls.pem("certificate")


def no_authorities(error: Exception) -> ConfigError:
    """The error for a ``ca`` that cannot be read."""
    return ConfigError(f"expected ca to hold certificates in PEM form: {error}")


def load_own(context: ssl.SSLContext, tls: TLS) -> None:
    """Load the client's own certificate, if any. Raises ConfigError."""
    certificate, key = tls.pem("certificate"), tls.pem("key")
    if certificate is None or key is None:
        return
    try:
        with tempfile.TemporaryDirectory() as folder:  # ssl reads them from files only; the directory is private
            certificate_file, key_file = Path(folder, "certificate"), Path(folder, "key")
            certificate_file.write_bytes(certificate)
            key_file.write_bytes(key)
            context.load_cert_chain(certificate_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(f"expected a certificate and its key, both in PEM form and not encrypted: {error}") from error


def _no_password() -> str:
    """Prevent ssl from asking at the terminal for the password of an encrypted key."""
    return ""
