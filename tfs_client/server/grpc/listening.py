"""Listening: opens the gRPC port and UNIX socket of a server, with TLS, and the sockets of its REST port."""

from __future__ import annotations

import errno
import logging
import os
import socket
from contextlib import ExitStack, suppress

import grpc

from tfs_client.errors import ConfigError
from tfs_client.server.access.addresses import addresses, bound, bracketed
from tfs_client.server.config import ServerConfig

MAX_SOCKET_PATH = 103  # bytes, the limit of macOS; that of Linux is 107

ATTEMPTS = 10  # at finding a port that is free at all addresses

UNUSABLE = "the port is in use or not permitted, or this machine does not have the address"

# The model server's line about libevent, for which scripts wait too (util/net_http/server/internal/evhttp_server.cc).
ENTERING = "[evhttp_server.cc : 250] NET_LOG: Entering the event loop ..."

log: logging.Logger = logging.getLogger("tfs_client.server")
# Scripts wait for these lines; see cli/serve/log.py.
ports_log: logging.Logger = logging.getLogger("tfs_client.server.grpc.listening")
net_log: logging.Logger = logging.getLogger("tfs_client.server.net_log")


def absolute_socket_path(config: ServerConfig) -> str | None:
    """Return the absolute path of the UNIX socket, or the path as given if the absolute one is too long."""
    if config.grpc_socket_path is None:
        return None
    given = os.fspath(config.grpc_socket_path)
    path = os.path.abspath(given)
    return path if len(os.fsencode(path)) <= MAX_SOCKET_PATH else given


def check_host(config: ServerConfig) -> None:
    """Raise ConfigError for an unknown host, unless only a UNIX socket is wanted."""
    if config.port is not None:
        _addresses(config.host, config.port, "")
    elif config.rest_port is not None:
        _addresses(config.host, config.rest_port, " for REST")


def listen(server: grpc.Server, config: ServerConfig, socket_path: str | None) -> int | None:
    """Bind the addresses of the config. Returns the port, if any. Raises ConfigError if an address cannot be bound."""
    log.info("Using InsecureServerCredentials" if config.tls is None else "Using SSL credentials")
    port = config.port
    if port is not None:
        found = _addresses(config.host, port, "")
        if not port and len(found) > 1:
            port = _free_port(found)
        for address in found:
            shown = f"{bracketed(config.host)}:{port}"
            if trouble := _trouble(address, port):  # gRPC gives no reason, and may bind 0.0.0.0 instead of ::
                raise ConfigError(f"cannot listen at {shown}: {trouble}")
            port = _bind(server, f"{bracketed(address)}:{port}", shown, config)
    if config.grpc_socket_path is not None:
        _bind(server, f"unix:{socket_path}", f"unix:{socket_path}", config)
    return port


def log_listening(config: ServerConfig, port: int | None) -> None:
    """Log the gRPC addresses, as the model server does once they answer."""
    if port is not None:
        ports_log.info("Running gRPC ModelServer at %s:%d ...", bracketed(config.host), port)
    if config.grpc_socket_path is not None:
        ports_log.info("Running gRPC ModelServer at UNIX socket %s ...", os.fspath(config.grpc_socket_path))


def log_listening_rest(config: ServerConfig, port: int) -> None:
    """Log the REST address, as the model server does once it answers."""
    ports_log.info("Exporting HTTP/REST API at:%s ...", rest_address(config.host, port))
    net_log.info(ENTERING)


def rest_address(host: str, port: int) -> str:
    """Return the REST address for log lines. The model server writes localhost, which is right for the default host."""
    return f"{'localhost' if host == ServerConfig.host else bracketed(host)}:{port}"


def rest_sockets(host: str, port: int) -> list[socket.socket]:
    """Return the listening sockets of a REST port. Raises ConfigError."""
    return listening_sockets(host, port, " for REST")


def listening_sockets(host: str, port: int, purpose: str) -> list[socket.socket]:
    """Return listening sockets at all addresses of a host with the same port; 0: a free one.

    Raises ConfigError, whose text has the purpose.
    """
    found = _addresses(host, port, purpose)
    try:
        return _sockets(found, port)
    except OSError as error:
        trouble = error.strerror or error
        raise ConfigError(f"cannot listen at {bracketed(host)}:{port}{purpose} ({trouble}): {UNUSABLE}") from None


def _free_port(found: list[str]) -> int:
    """Return a port that is free at all addresses; 0 if none is found, and binding reports why."""
    with suppress(OSError), ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in _sockets(found, 0)]
        return int(sockets[0].getsockname()[1])
    return 0


def _sockets(found: list[str], port: int) -> list[socket.socket]:
    """Return listening sockets at these addresses with the same port. Raises OSError.

    For port 0 the system chooses a port at the first address. If it is in use at another address, choose again.
    """
    for _ in range(ATTEMPTS if port == 0 else 1):
        try:
            return _sockets_once(found, port)
        except OSError as error:
            failure = error
            if error.errno != errno.EADDRINUSE:
                break
    raise failure


def _sockets_once(found: list[str], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for address in found:
            sockets.append(bound(address, port))
            sockets[-1].listen(1024)
            port = sockets[-1].getsockname()[1]
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _addresses(host: str, port: int, purpose: str) -> list[str]:
    """Return the addresses of a host. Raises ConfigError for an unknown one."""
    try:
        return addresses(host)
    except (OSError, UnicodeError) as error:
        trouble = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen at {bracketed(host)}:{port}{purpose}: {trouble}") from None


def _bind(server: grpc.Server, where: str, shown: str, config: ServerConfig) -> int:
    try:
        if config.tls is None:
            port = server.add_insecure_port(where)
        else:
            port = server.add_secure_port(where, config.tls.credentials())
    except RuntimeError:
        port = 0
    if not port:
        raise ConfigError(f"cannot listen at {shown}: {_socket_trouble(where) or _other_trouble(config)}")
    return port


def _trouble(address: str, port: int) -> str:
    """Return why the system refuses to bind an address; "" if it does not."""
    try:
        bound(address, port).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _socket_trouble(where: str) -> str:
    """Return the same for a UNIX socket; "" for other addresses."""
    if not where.startswith("unix:"):
        return ""
    path = where.removeprefix("unix:")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.bind(path)
        os.unlink(path)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _other_trouble(config: ServerConfig) -> str:
    if config.tls is None:
        return UNUSABLE
    return "the certificate and the key do not match"
