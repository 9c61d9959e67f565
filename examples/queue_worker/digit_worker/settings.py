"""Settings: what differs between environments, read from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The settings of the worker.

    Attributes:
        queue: the file of the queue.
        target: the model server, ``host:port`` for gRPC or a URL for REST.
        model: the name of the model.
        timeout: seconds for a request to the model server.
        attempts: how often a request is sent if the server is gone.
        batch_size: jobs that share a request.
        receive: jobs that the worker takes from the queue at once.
        lease: seconds for which the queue gives a job to nobody else. Longer than the jobs taken at once need.
        max_tries: how often a job is tried; then it becomes a dead letter.
        poll: seconds between two looks at an empty queue.
        backoff: seconds of the first pause while the model server is down; each pause doubles, up to half a minute.
        token: the bearer token for the model server, if it wants one.
    """

    queue: str = "digits.sqlite3"
    target: str = "localhost:8500"
    model: str = "digits"
    timeout: float = 10.0
    attempts: int = 3
    batch_size: int = 32
    receive: int = 128
    lease: float = 120.0
    max_tries: int = 5
    poll: float = 0.5
    backoff: float = 0.2
    token: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read DIGITS_QUEUE, DIGITS_TARGET and so on. Raises ValueError for a value that is not a number."""
        given = {
            name: type(default)(environment[f"DIGITS_{name.upper()}"])
            for name, default in vars(cls()).items()
            if f"DIGITS_{name.upper()}" in environment
        }
        return cls(**given)
