"""The server that a profile is for. A profile without a server is for any; credentials go to no other server."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from tfs_client._flows.configuration.keys import server
from tfs_client._transports.targets import checked_target
from tfs_client.errors import ConfigError

CREDENTIALS: Mapping[str, str] = {
    "token": "your own token=",
    "certificate": "your own tls=",
    "key": "your own tls=",
    "metadata": "your own metadata=",
}
"""The options that identify the caller, each with the argument that replaces that of a profile."""


def difference(used: object, source: str, keys: Mapping[str, object], folder: str) -> str:
    """Say how the server in use differs from the one that a profile names; "" if it does not.

    Some of the profile's replicas are its server, too. An address without ``grpcs://`` is not the one with it, because
    it would be reached without TLS.

    Args:
        used: the target, or several; not from the profile.
        source: where it comes from.
        keys, folder: the profile, and the folder of its file.
    """
    if "server" not in keys:
        return ""
    try:
        target = checked_target(used)  # type: ignore[arg-type]  # it is checked
    except ConfigError:
        return ""  # such a target is never called
    try:
        own = checked_target(server(keys["server"], folder))
    except ConfigError:
        return f"its server cannot be read, and the server in use is {target} ({source})"
    if {*target.addresses} <= {*own.addresses} and (target.secure or not own.secure):
        return ""
    return f"its server is {own}, and the server in use is {target} ({source})"


def rest_difference(url: str, keys: Mapping[str, object], folder: str, *, secure: bool) -> str:
    """Say why a REST port is not one of the profile's server; "" if it is one. Raises ConfigError for a wrong URL.

    Args:
        url: the REST port. It must be on the same host, and with TLS if the gRPC port has it.
        keys, folder: the profile, and the folder of its file.
        secure: whether the options require TLS.
    """
    if "server" not in keys:
        return ""
    port = checked_target(url)
    own = checked_target(server(keys["server"], folder))
    hosts = {urlsplit(own.addresses[0]).hostname} if own.rest else {host for host, _ in own.hosts}
    if urlsplit(port.addresses[0]).hostname in hosts and (port.secure or not (secure or own.secure)):
        return ""
    return f"its server is {own}, and the REST server is {port}"
