"""Settings: what differs between environments, read from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The settings of the service.

    Attributes:
        target: the model server, ``host:port`` for gRPC or a URL for REST.
        model: the name of the model.
        timeout: seconds that a request may wait for the model. A caller can ask for less, not for more.
        max_waiting: requests of one process that may wait for the model at once; more are refused. Each holds a thread,
            so the process needs more threads than this: for refusals and for probes.
        attempts: how often a call is sent if the server is gone.
        batch_delay: seconds that a request waits for others, to share a call to the model with them.
        ready_for: seconds for which an answer of the readiness probe is kept.
        shutdown_timeout: seconds that waiting requests get when a worker stops.
        token: the bearer token for the model server, if it wants one.
    """

    target: str = "localhost:8500"
    model: str = "digits"
    timeout: float = 2.0
    max_waiting: int = 16
    attempts: int = 3
    batch_delay: float = 0.002
    ready_for: float = 1.0
    shutdown_timeout: float = 5.0
    token: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read DIGITS_TARGET, DIGITS_TIMEOUT and so on. Raises ValueError for a value that is not a number."""
        given = {
            name: type(default)(environment[f"DIGITS_{name.upper()}"])
            for name, default in vars(cls()).items()
            if f"DIGITS_{name.upper()}" in environment
        }
        return cls(**given)
