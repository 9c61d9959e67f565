"""Reloading: replacing the server's configuration, and waiting until all of it is served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tfs_client._calls.status import GetModelStatus
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.asked import Asked
from tfs_client._flows.exchanges import Exchange
from tfs_client._flows.known_signatures import named
from tfs_client._flows.readiness import NOT_YET, pause
from tfs_client._transports.steps import Flow
from tfs_client.errors import DeadlineExceededError, FailedPreconditionError
from tfs_client.results import ModelStatus, Reload

if TYPE_CHECKING:
    from tfs_client.model_config import ModelServerConfig


class Reloading:
    """Replaces the configuration of one client's server.

    Args:
        exchange: makes calls.
        forget: forgets the signatures that clients know; a reload may change them.
        target: the server, for error texts.

    Attributes:
        method: the API method that replaces it.
    """

    method = "HandleReloadConfigRequest"

    def __init__(self, exchange: Exchange, forget: Callable[[], None], target: str) -> None:
        self._exchange = exchange
        self._forget = forget
        self._target = target

    def reload(self, config: ModelServerConfig, metrics: Sequence[str], asked: Asked, *, wait: bool) -> Flow[Reload]:
        """Replace the server's configuration; with ``wait``, return only when all of it is served."""
        from tfs_client._calls.reload import ReloadConfig

        with named(asked):
            result: Reload = yield from self._exchange.send(ReloadConfig(config, metrics), asked)
            self._forget()
            if wait:
                yield from self._until_served(config, asked)
        return result

    def _until_served(self, config: ModelServerConfig, asked: Asked) -> Flow[None]:
        """Poll until every model is served as configured, or the deadline has passed."""
        missing: dict[str, str] = {}
        while True:
            try:
                missing = yield from self._missing(config, asked)
            except DeadlineExceededError:  # the last call has little time; what an earlier one found says more
                missing = missing or {"its models": "no status came in time"}
            if not missing:
                return
            if asked.deadline.passed():
                raise DeadlineExceededError(
                    f"{self._target} accepted the configuration, but within {asked.deadline.limit:g} s did not serve "
                    + "; ".join(f"{name}: {why}" for name, why in missing.items()),
                    self.method,
                )
            yield pause(asked, self._exchange)

    def _missing(self, config: ModelServerConfig, asked: Asked) -> Flow[dict[str, str]]:
        """Models that are not served as configured, and why. Raises for those that never will be."""
        from tfs_client._calls.reload import ReloadConfig, failed, pending

        statuses: dict[str, ModelStatus | None] = {}
        for model in config:
            try:
                call = GetModelStatus(ModelSpec(model.name))
                statuses[model.name] = yield from self._exchange.send(call, asked)
            except NOT_YET:
                statuses[model.name] = None
        if broken := failed(config, statuses):
            raise FailedPreconditionError(
                "the server accepted the configuration, but could not load "
                + "; ".join(f"{name}: {why}" for name, why in broken.items()),
                ReloadConfig.method,
            )
        return pending(config, statuses)
