"""The previous configuration of a reload: the file it is saved in, and the command that restores it."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from tfs_client._transports.deadline import Deadline
from tfs_client.cli.admin.reload.checks import refused_labels, statuses_of
from tfs_client.cli.admin.reload.saved_configs import save_next_to
from tfs_client.cli.admin.server_connection import ServerConnection
from tfs_client.errors import TFServingError
from tfs_client.model_config import ModelServerConfig

if TYPE_CHECKING:
    from tfs_client.client import PredictClient

STATUS_TIMEOUT = 2.0  # seconds; an error waits to be shown


class PreviousConfig:
    """The configuration that a reload replaces.

    Args:
        file: the model config file that the command reads; the previous configuration is saved next to it.
        connection: the server.
        previous: the configuration; None if it is unknown.
        new: the configuration that replaces it.

    Attributes:
        connection: the server.
        path: the file in which it is saved; "" if it is not saved.
    """

    def __init__(
        self, file: str, connection: ServerConnection, previous: ModelServerConfig | None, new: ModelServerConfig
    ) -> None:
        self.connection: ServerConnection = connection
        self._previous = previous
        self._needed = previous is None or bool(new.difference(previous))
        self.path: str = ""
        if previous is not None and self._needed:
            self.path = save_next_to(file, previous.to_text())

    def drop(self) -> None:
        """Remove the file."""
        if self.path:
            with suppress(OSError):
                os.unlink(self.path)

    def restoring(self, client: PredictClient | None = None) -> str:
        """Return a sentence with the command that restores it; "" if nothing changes.

        With a client, the command first removes the labels that would make the server refuse it.
        """
        if not self._needed:
            return ""
        if self._previous is None:
            return "The previous configuration is unknown, because the server does not report it."
        back = f"tfs-admin reload {self.connection.arguments()} --config {shlex.quote(self.path)}"
        commands = [f"{back} --yes --wait"]
        if unlabelled := self._unlabel_options(client):
            commands.insert(0, f"{back} {shlex.join(unlabelled)} --yes --wait")
        return f"The previous configuration is saved; to restore it: {' && '.join(commands)}"

    def _unlabel_options(self, client: PredictClient | None) -> list[str]:
        """Return options that remove the labels whose versions are not AVAILABLE: the server would refuse them."""
        labelled = [model for model in self._previous or () if model.labels]
        if client is None or not labelled:
            return []
        try:
            statuses = statuses_of(client, labelled, Deadline.after(STATUS_TIMEOUT))
        except TFServingError:
            return []
        refused = refused_labels(labelled, statuses)
        return [word for name, label, _ in refused for word in ("--unlabel", f"{name}:{label}")]
