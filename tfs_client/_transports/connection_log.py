"""ConnectionLog: what the log says about the connection of one transport."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from tfs_client._transports.log_records import write

_log = logging.getLogger("tfs_client.connections")


class ConnectionLog:
    """Logs when the connection to a server is made, lost and made again, as the calls notice it.

    Args:
        target: the server, without passwords.
        transport: "grpc" or "rest".

    Attributes:
        down: whether there was no connection when the last call ended.
    """

    def __init__(self, target: str, transport: str) -> None:
        self._target = target
        self._fields = {"target": target, "transport": transport}
        self._connected = False
        self._lost: float | None = None  # when the connection was lost; None while it was not
        self.down = True

    def up(self) -> None:
        """A call was answered, for the first time since the connection was down."""
        self.down = False
        lost, self._lost = self._lost, None
        if lost is not None:
            seconds = time.monotonic() - lost
            fields = {**self._fields, "seconds": seconds}
            write(_log, logging.INFO, "reconnected to %s after %.1f s", self._target, seconds, extra=fields)
        elif not self._connected:
            write(_log, logging.INFO, "connected to %s", self._target, extra=self._fields)
        self._connected = True

    def lost(self) -> None:
        """A call did not reach the server, or the connection broke during it."""
        self.down = True
        if self._connected and self._lost is None:
            self._lost = time.monotonic()
            write(_log, logging.INFO, "lost the connection to %s", self._target, extra=self._fields)

    def closed(self) -> None:
        """The client was closed. Logged once, for a connection that was made."""
        if not self._connected:
            return
        self._connected = False
        write(_log, logging.DEBUG, "closed the connection to %s", self._target, extra=self._fields)


def log_addresses(names: Sequence[str], address: str, before: str) -> None:
    """Log the addresses that names of replicas have been resolved to, "" before for none."""
    target = ", ".join(names)
    write(
        _log,
        logging.INFO,
        "the addresses of %s are %s%s",
        target,
        address,
        f", before {before}" if before else "",
        extra={"target": target, "address": address, "before": before},
    )


def log_unresolved(name: str, *, known: bool) -> None:
    """Log that a name cannot be resolved any more; ``known``: calls still use its last addresses."""
    text = "; keeping the known addresses" if known else ""
    write(_log, logging.INFO, "cannot resolve %s%s", name, text, extra={"target": name})
