"""Targets: the server and the model that the load is applied to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tfs_client._transports.targets import checked_target, without_password
from tfs_client.cli.bench.arguments import BenchOptions
from tfs_client.cli.configuration import NO_MODEL, client_of, configuration, target_of, text_of, timeout_of
from tfs_client.errors import ConfigError
from tfs_client.signatures import Signatures

if TYPE_CHECKING:
    from tfs_client._flows.configuration.resolved import Configuration
    from tfs_client.aio import AsyncPredictClient


@dataclass(frozen=True)
class ClientMaker:
    """Makes the client of a process. Can be pickled."""

    target: str | list[str]
    options: Mapping[str, Any] = field(repr=False)

    def __call__(self) -> AsyncPredictClient:
        """Return a new client."""
        from tfs_client.aio import AsyncPredictClient

        return AsyncPredictClient(self.target, **self.options)


class BenchTarget:
    """A server and a model, from the options, the environment and a profile.

    Args:
        options: the command's options.
        server, version: those of this target; the options' own do not count.

    Attributes:
        server: the server, as ``--server`` takes it.
        name: the server and the version that was asked for, for reports; without passwords.
        rest: whether it is a REST server.
        model: the model; "" if a recording says which.
        signature: the signature; "" for the default.
        version: the version that was asked for; None if the server chooses, or if a recording says which.
        timeout: seconds for each request; None for no limit.

    Raises ConfigError for values that cannot be used.
    """

    def __init__(self, options: BenchOptions, server: str | None, version: int | None) -> None:
        recorded = options.recording is not None
        own = {"version": version, "label": options.label, "signature": options.signature, "model": options.model}
        found = configuration(options, server=server, timeout=options.timeout, **({} if recorded else own))
        found.check()
        self.configuration: Configuration = found
        self.server: str = text_of(found.target)
        self.version: int | None = version if recorded else self.value("version")
        self.name: str = without_password(self.server) + ("" if self.version is None else f" version {self.version}")
        self.rest: bool = checked_target(found.target).rest
        self.timeout: float | None = timeout_of(found)
        self.model: str = ""
        self.signature: str = ""
        self._signatures: Signatures | None = None
        if not recorded:
            self.model = self.value("model") or ""
            self.signature = self.value("signature") or ""
            if not self.model:
                raise ConfigError(NO_MODEL)
        client_of(found).close()  # errors of the configuration name its sources

    def value(self, key: str) -> Any:
        """Return a value of the configuration, wherever it comes from; None without one."""
        found = self.configuration.found
        return found[key].value if key in found else None

    def signatures(self) -> Signatures:
        """Fetch the model's signatures. Raises CallError."""
        if self._signatures is None:
            with client_of(self.configuration) as client:
                self._signatures = client.signatures(timeout=self.timeout)
        return self._signatures

    def make_client(self) -> Callable[[], AsyncPredictClient]:
        """Return what makes the clients of the load.

        They never retry, because a retry would hide an error in a latency. Over REST they get the signatures: clients
        that fetch them do so again every minute, in the middle of a stage.
        """
        options = {**self.configuration.options(), "retry": None, "timeout": self.timeout}
        if self.rest and self.model:
            options["signatures"] = self.signatures()
        return ClientMaker(target_of(self.configuration), options)


def targets(options: BenchOptions) -> tuple[BenchTarget, BenchTarget | None]:
    """Return the target, and the one that it is compared with."""
    first = BenchTarget(options, options.target or options.server, options.version)
    if options.compare is None:
        return first, None
    # For BASE, the profile may leave out what it says for another server.
    timeout = math.inf if first.timeout is None else first.timeout
    version, label = options.compare_version, None
    if version is None:
        version, label = first.version, first.value("label")
    asked = replace(completed(options, first), timeout=timeout, label=label)
    return first, BenchTarget(asked, options.compare, version)


def completed(options: BenchOptions, target: BenchTarget) -> BenchOptions:
    """Return the options with the model and the signature of the environment or a profile."""
    if options.recording is not None:
        return options
    return replace(options, model=target.model, signature=target.signature or None)
