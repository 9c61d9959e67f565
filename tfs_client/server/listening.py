"""Listening: the gRPC port and UNIX socket of a server, and how they are secured."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import grpc

from tfs_client.errors import ConfigError
from tfs_client.server.config import ServerConfig

MAX_SOCKET_PATH = 103  # bytes; macOS has the shortest, Linux takes 107

log = logging.getLogger("tfs_client.server")


def absolute_socket_path(config: ServerConfig) -> str | None:
    """Where the UNIX socket is, whatever the working directory becomes; as it was given if that would be too long."""
    if config.grpc_socket_path is None:
        return None
    given = os.fspath(config.grpc_socket_path)
    path = os.path.abspath(given)
    return path if len(os.fsencode(path)) <= MAX_SOCKET_PATH else given


def listen(server: grpc.Server, config: ServerConfig, socket_path: str | None) -> int | None:
    """Bind what the config asks for; the port that was bound, if any. Raises ConfigError when it cannot be had."""
    log.info("Using InsecureServerCredentials" if config.tls is None else "Using SSL credentials")
    port = None
    if config.port is not None:
        port = _bind(server, f"{bracketed(config.host)}:{config.port}", config)
        log.info("Running gRPC ModelServer at %s:%d ...", bracketed(config.host), port)
    if config.grpc_socket_path is not None:
        _bind(server, f"unix:{socket_path}", config)
        log.info("Running gRPC ModelServer at UNIX socket %s ...", os.fspath(config.grpc_socket_path))
    return port


def bracketed(host: str) -> str:
    """A host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def _bind(server: grpc.Server, where: str, config: ServerConfig) -> int:
    try:
        if config.tls is None:
            port = server.add_insecure_port(where)
        else:
            port = server.add_secure_port(where, config.tls.credentials())
    except RuntimeError:
        port = 0
    if not port:
        raise ConfigError(f"cannot listen at {where}: {_trouble(where, config)}")
    return port


def _trouble(where: str, config: ServerConfig) -> str:
    """Why gRPC cannot bind an address, of which it says nothing: what the system tells when we try it ourselves."""
    try:
        if where.startswith("unix:"):
            _try_socket(socket.AF_UNIX, where.removeprefix("unix:"))
        else:
            for family, _, _, _, address in socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM):
                _try_socket(family, address)
    except OSError as error:
        return error.strerror or str(error)
    return (
        "the port is not ours to use, or the host is no address of this machine"
        if config.tls is None
        else "certificate and key do not belong together"
    )


def _try_socket(family: int, address: Any) -> None:
    """Bind and listen as gRPC does. Raises OSError."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        try:
            sock.listen()
        finally:
            if family == socket.AF_UNIX:
                os.unlink(address)
