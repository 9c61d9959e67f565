"""Queries and clients for real servers, which can be pickled for other processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfs_client import AsyncPredictClient, ConfigError, Prediction


@dataclass
class Doubled:
    """A request to the model ``double``."""

    value: float
    at: float | None = None
    expected: float | None = None
    rows: int = 2

    async def send(self, client: AsyncPredictClient) -> Prediction:
        return await client.predict({"x": np.array([self.value] * self.rows, np.float32)})

    def difference(self, answer: Any) -> str:
        expected = 2 * self.value if self.expected is None else self.expected
        found = answer.array.tolist()
        return "" if found == [expected] * self.rows else f"y: expected {expected}, got {found}"


@dataclass(frozen=True)
class LiveQueries:
    """``wrong``: the reference of every second query is wrong. ``pace``: seconds between them in their recording."""

    count: int = 8
    wrong: bool = False
    pace: float | None = None
    fails: bool = False

    def make(self) -> Sequence[Doubled]:
        if self.fails:
            raise ConfigError("no pictures found")
        return [
            Doubled(
                float(number),
                None if self.pace is None else number * self.pace,
                -1.0 if self.wrong and number % 2 else None,
            )
            for number in range(self.count)
        ]


@dataclass(frozen=True)
class MakeClient:
    target: str
    timeout: float = 30.0

    def __call__(self) -> AsyncPredictClient:
        return AsyncPredictClient(self.target, model="double", timeout=self.timeout)


@dataclass
class Killing(Doubled):
    """Kills the process that sends it."""

    async def send(self, client: AsyncPredictClient) -> Prediction:
        os.kill(os.getpid(), signal.SIGKILL)
        return await super().send(client)


@dataclass(frozen=True)
class KillingQueries:
    def make(self) -> Sequence[Doubled]:
        return [Doubled(0.0), Killing(1.0)]
