"""The server that a command of tfs-admin calls, from its options, the environment and a profile."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfs_client._flows.configuration.resolved import ARGUMENT
from tfs_client._transports.targets import checked_target
from tfs_client.cli.admin.common_arguments import ServerOptions
from tfs_client.cli.configuration import NO_MODEL, client_of, configuration, text_of, timeout_of
from tfs_client.errors import ConfigError

if TYPE_CHECKING:
    from tfs_client._flows.configuration.resolved import Configuration
    from tfs_client.client import PredictClient


class ServerConnection:
    """How a command reaches its server. Options that are None come from the environment, a profile, or the defaults.

    Args:
        options: the command's options.
        model, version, label: those of the command line.
        one: the name of a command that needs a single server; "" for one that several replicas can answer.
        grpc: whether the command needs gRPC.

    Attributes:
        configuration: the values, with their sources.
        server: the server, as ``--server`` takes it.
        rest: whether it is a REST server.
        timeout: the limit in seconds; None for no limit.

    Raises ConfigError for values that cannot be used.
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        one: str = "",
        grpc: bool = False,
    ) -> None:
        found = configuration(
            options, server=options.server, timeout=options.timeout, model=model or None, version=version, label=label
        )
        found.check()
        self._options = options
        self.configuration: Configuration = found
        self.server: str = text_of(found.target)
        target = checked_target(found.target)
        self.rest: bool = target.rest
        self.timeout: float | None = timeout_of(found)
        if one and grpc and target.rest:
            raise ConfigError(f"{one} needs gRPC, and {target} is a REST server: use its gRPC port, as host:8500")
        if one and len(target.addresses) > 1:
            raise ConfigError(
                f"{one} needs a single server, got {len(target.addresses)} replicas: choose one with --server host:port"
            )

    @property
    def model(self) -> str:
        """The model of the options, the environment or the profile; "" without any."""
        found = self.configuration.found
        return found["model"].value or "" if "model" in found else ""

    def connect(self) -> PredictClient:
        """Return a client of the server. Raises ConfigError."""
        return client_of(self.configuration)

    def arguments(self) -> str:
        """Return the arguments that reach the same server again, quoted for a shell. Secrets become ``...``."""
        options, found = self._options, self.configuration.found
        words = ["--server", self.server, *(["--tls"] if options.tls else [])]
        for key, flag in (("ca", "--ca"), ("certificate", "--cert"), ("key", "--key"), ("authority", "--authority")):
            if key in found and found[key].source == ARGUMENT:
                words += [flag, str(found[key].value)]
        looked_at = self.configuration.looked_at
        if looked_at is not None and looked_at.state == "read":  # --server alone would not apply the one without a name
            words += ["--profile", looked_at.profile.name]
        hidden = []
        if options.token and options.token.startswith("@"):
            words += ["--token", options.token]
        elif options.token:
            hidden = ["--token ..."]
        return " ".join([shlex.join(words), *hidden, *("--metadata ..." for _ in options.metadata or ())])


def models_of(given: Iterable[str | None], configured: str) -> list[str]:
    """Return the models that options name, each once, or the configured one. Raises ConfigError for none."""
    models = [model for model in given if model] or [configured]
    if models == [""]:
        raise ConfigError(NO_MODEL)
    return list(dict.fromkeys(models))
