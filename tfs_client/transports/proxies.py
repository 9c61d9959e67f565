"""Proxies that the environment sets, for error texts: whoever meets one seldom thinks of it."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from tfs_client.targets import without_password


def proxy_note(url: str) -> str:
    """A sentence on the proxy that HTTP calls to a URL go by; empty when they go by none."""
    from urllib.request import getproxies  # brings half of the standard library's network modules along

    proxies = getproxies()
    parts = urlsplit(url)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return _note(proxy, parts.netloc.rpartition("@")[2], "NO_PROXY")


def grpc_proxy_note(address: str) -> str:
    """A sentence on the proxy that gRPC calls to an address go by; empty when they go by none.

    https://github.com/grpc/grpc/blob/master/doc/environment_variables.md
    """
    if address.startswith(("unix:", "unix-abstract:", "vsock:")):
        return ""
    proxy = next(filter(None, map(os.environ.get, ("grpc_proxy", "https_proxy", "http_proxy"))), None)
    return _note(proxy, address.rpartition("/")[2], "no_proxy")


def _note(proxy: str | None, host: str, exceptions: str) -> str:
    if not proxy:
        return ""
    from urllib.request import proxy_bypass

    if proxy_bypass(host):
        return ""
    return (
        f" The environment sends such calls by the proxy {without_password(proxy)}; {exceptions} lists the hosts that "
        "are reached without one."
    )
