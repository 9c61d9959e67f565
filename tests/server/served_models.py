"""Running servers of text models below a directory, and clients of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_dirs import TextPlatform, put

from tfs_client import ModelConfig, ModelServerConfig, NotFoundError, PredictClient
from tfs_client.errors import StatusCode
from tfs_client.server import ServedCall, Server, ServerConfig
from tfs_client.server.server_metrics import ServerMetrics

FAST = {"file_system_poll_wait_seconds": 0.01, "max_num_load_retries": 0}


class Served:
    """A running server of text models, and a client of it.

    Attributes:
        config: what it was started with.
        failures: the calls that the server has not answered with OK.
        metrics: what the server counts.
    """

    def __init__(self, base: Path, *models: ModelConfig, **options: Any) -> None:
        self.base = base
        self.platform = TextPlatform()
        self.metrics = ServerMetrics()
        self.config = ModelServerConfig(models)
        self.failures: list[ServedCall] = []
        self.server = Server(
            ServerConfig(**{"model_config": self.config} | FAST | options),
            platforms=dict.fromkeys(("tensorflow", "other", "python"), self.platform),
            observer=lambda call: self.failures.append(call) if call.code is not StatusCode.OK else None,
            metrics=self.metrics,
        )
        self.server.start()
        self.client = PredictClient(self.server.target, timeout=20)

    def close(self) -> None:
        for gate in self.platform.gates.values():
            gate.set()
        self.client.close()
        self.server.stop()

    def reload(self, config: ModelServerConfig) -> None:
        self.client.reload_config(config)

    def said(self, model: str = "m", **options: Any) -> str:
        said: bytes = self.client.predict({}, model=model, **options).array.item()
        return said.decode()

    def states(self, model: str = "m") -> dict[int, str]:
        try:
            return {known.version: known.state.name for known in self.client.status(model=model).versions}
        except NotFoundError:
            return {}

    def until(self, states: dict[int, str], model: str = "m") -> None:
        """Wait until the versions of a model are in these states."""
        until(lambda: self.states(model) == states)

    def until_available(self, *versions: int, model: str = "m") -> None:
        """Wait until these versions of a model, and no others, serve."""
        until(lambda: {known for known, state in self.states(model).items() if state == "AVAILABLE"} == {*versions})

    def watches(self, model: str) -> bool:
        """Whether a configuration with this model has been applied, or is being applied."""
        source = self.server.core._source
        return source is not None and model in source.names


class Starter:
    """Start servers: ``serve(serve.model("m", 1, 2))``; ``model`` creates versions and returns their config."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.started: list[Served] = []

    def __call__(self, *models: ModelConfig, **options: Any) -> Served:
        self.started.append(Served(self.base, *models, **options))
        return self.started[-1]

    def model(self, name: str, *versions: int, text: str = "", **options: Any) -> ModelConfig:
        for version in versions:
            put(self.base / name, version, text)
        return ModelConfig(name, str(self.base / name), **options)

    def close(self) -> None:
        for served in self.started:
            served.close()


def until(predicate: Callable[[], bool]) -> None:
    """Wait until something is so, ten seconds at most."""
    end = time.monotonic() + 10
    while not predicate():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
