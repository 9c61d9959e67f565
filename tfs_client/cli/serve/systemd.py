"""Notifications to systemd, by the protocol of sd_notify(3): tfs-serve is ready or is stopping.

Without NOTIFY_SOCKET in the environment, the process is not a ``Type=notify`` service, and nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket

from tfs_client._printable import printable, shown

log: logging.Logger = logging.getLogger("tfs_client.server")


class ServiceManager:
    """The service manager that started this process, if any.

    Removes NOTIFY_SOCKET from the environment, so that processes that models start cannot send notifications.
    """

    def __init__(self) -> None:
        self._socket = os.environ.pop("NOTIFY_SOCKET", "")
        self._warned = False

    def ready(self, status: str) -> None:
        """Report that the server is ready."""
        self._notify("READY=1", status)

    def stopping(self) -> None:
        """Report that the server is stopping."""
        self._notify("STOPPING=1", "Finishing running calls")

    def _notify(self, assignments: str, status: str) -> None:
        if not self._socket:
            return
        address = os.fsencode(self._socket)
        if address.startswith(b"@"):  # an abstract socket
            address = b"\0" + address[1:]
        line = printable(status).replace("\n", " ")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)  # a service manager that does not read must not block the server
                sock.sendto(f"{assignments}\nSTATUS={line}\n".encode(), address)
        except OSError as error:
            if not self._warned:
                log.warning("cannot notify the service manager at NOTIFY_SOCKET %s: %s", shown(self._socket), error)
            self._warned = True
