"""Authorities that clients trust by default, the same over gRPC and REST.

They are those of Python's ssl: OpenSSL's file and directory, or SSL_CERT_FILE and SSL_CERT_DIR instead, and on Windows
the system's store. The lists bundled with gRPC and httpx do not contain authorities that were added to the system; they
are used only if the system has none.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

from tfs_client._transports.log_records import write
from tfs_client.errors import ConfigError

log: logging.Logger = logging.getLogger("tfs_client.trust")

GRPC_ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"  # gRPC's own variable, for gRPC alone

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # the names by which OpenSSL finds certificates in a directory


def grpc_roots() -> bytes | None:
    """The authorities for gRPC, PEM; None lets gRPC use its bundled list.

    Raises ConfigError if the environment names a file without certificates.
    """
    named = os.environ.get(GRPC_ROOTS)
    if named:
        return _of_variable(GRPC_ROOTS, named)
    found = system_roots()
    if found is None:
        _fallen_back("gRPC")
    return found


def rest_context(*, shared: bool) -> ssl.SSLContext:
    """A TLS context with these authorities; ``shared`` returns a cached one. Raises ConfigError like ``grpc_roots``."""
    found = system_roots()
    if found is None:
        _fallen_back("certifi")
        found = _of_certifi()
    return _shared_context(found) if shared else _context(found)


def _of_certifi() -> bytes:
    try:
        import certifi  # comes with httpx
    except ImportError:
        return b""
    return Path(certifi.where()).read_bytes()


def system_roots() -> bytes | None:
    """The system's authorities, PEM; None if it has none."""
    named, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    paths = ssl.get_default_verify_paths()
    if named:
        _of_variable("SSL_CERT_FILE", named)
    files = [named or paths.openssl_cafile]
    for folder in (folders or paths.openssl_capath).split(os.pathsep):
        files += _hashed(folder)
    stamps = tuple(filter(None, map(_stamp, files)))
    pems = b"\n".join(filter(None, (_read(stamps), _store())))
    if not pems and folders:
        raise ConfigError(
            f"SSL_CERT_DIR names {folders!r}: expected a directory of certificates named by OpenSSL's hashes"
        )
    return pems or None


Stamp = tuple[str, int, int]  # a file, when it was changed, its size


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return path, found.st_mtime_ns, found.st_size


def _hashed(folder: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):
        return
    yield from (os.path.join(folder, name) for name in names if _HASHED.fullmatch(name))


@lru_cache(maxsize=8)
def _read(stamps: tuple[Stamp, ...]) -> bytes:
    """The distinct certificates in files; unreadable files are skipped."""
    found: dict[bytes, None] = {}
    for path, _, _ in stamps:
        try:
            found.update(dict.fromkeys(_PEM.findall(Path(path).read_bytes())))
        except OSError:
            continue
    return _readable(b"\n".join(found)) if found else b""


def _readable(pems: bytes) -> bytes:
    """The certificates that OpenSSL can read. gRPC rejects the whole list for a broken one."""
    if _loads(pems):
        return pems
    return b"\n".join(one for one in _PEM.findall(pems) if _loads(one))


def _loads(pems: bytes) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pems.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        return False
    return True


def _of_variable(name: str, path: str) -> bytes:
    stamp = _stamp(path)
    found = _read((stamp,)) if stamp is not None else b""
    if not found:
        raise ConfigError(f"{name} names {path!r}: expected a file with certificates in PEM form")
    return found


@cache
def _store() -> bytes:
    """The store of Windows, PEM."""
    if sys.platform != "win32":
        return b""
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    return b"\n".join(ssl.DER_cert_to_PEM_cert(one).encode() for one in found)


def _context(pems: bytes) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pems.decode("ascii")) if pems else ssl.create_default_context()


# Reading 150 certificates takes longer than most calls.
_shared_context = lru_cache(maxsize=2)(_context)


@cache
def _fallen_back(whose: str) -> None:
    """Log once that a bundled list is used."""
    paths = ssl.get_default_verify_paths()
    write(
        log,
        logging.WARNING,
        "no certificate authorities found on this system (%s, %s); using the list bundled with %s; set SSL_CERT_FILE "
        "to use others",
        paths.openssl_cafile,
        paths.openssl_capath,
        whose,
    )
