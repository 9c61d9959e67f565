"""Stages: what load a run applies, and for how long."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from tfs_client._printable import shown
from tfs_client.cli.bench.measured import Measured
from tfs_client.errors import ConfigError, TFServingError

HIGHEST_RATE = 1e6  # requests per second


@dataclass(frozen=True)
class ClosedLoop:
    """A fixed number of callers; each sends its next request as soon as the last one is answered.

    Attributes:
        concurrency: requests in flight, over all processes.
    """

    concurrency: int

    def __post_init__(self) -> None:
        _check("concurrency", self.concurrency, "1 or more", self.concurrency >= 1)


@dataclass(frozen=True)
class OpenLoop:
    """Requests are sent at times that do not depend on the answers.

    Attributes:
        rate: requests per second, over all processes; at most a million.
        arrivals: "fixed", at equal distances, or "poisson", at random ones, independent of each other.
        end_rate: the rate at the end of the stage, for a ramp; None for a constant rate. The warm-up of a ramp has the
            rate of its beginning.
    """

    rate: float
    arrivals: Literal["fixed", "poisson"] = "poisson"
    end_rate: float | None = None

    def __post_init__(self) -> None:
        rates = (self.rate,) if self.end_rate is None else (self.rate, self.end_rate)
        for rate in rates:
            _check("rate", rate, f"0 to {HIGHEST_RATE:,.0f} requests per second", 0 <= rate <= HIGHEST_RATE)
        _check("rate", self.rate, "a rate above 0, or a ramp to one", any(rates))
        _check("arrivals", self.arrivals, "'fixed' or 'poisson'", self.arrivals in ("fixed", "poisson"))


@dataclass(frozen=True)
class RecordedPace:
    """Requests are sent at the times of a recording, once each. Raises ConfigError where a query has no time.

    Attributes:
        factor: 2 sends them twice as fast.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        _check("factor", self.factor, "a number above 0", 0 < self.factor < math.inf)


@dataclass(frozen=True)
class Stage:
    """A part of a run with one load.

    Attributes:
        load: how requests are sent.
        seconds: how long requests are measured; a recording also ends with the answer to its last request.
        warmup: seconds before, with the same load, that are not measured.
        bound: the latency, in seconds, within which an answer counts as good; None for all.
        seed: of random arrivals, and of the order of queries.
    """

    load: ClosedLoop | OpenLoop | RecordedPace
    seconds: float
    warmup: float = 0.0
    bound: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check("seconds", self.seconds, "a number above 0", 0 < self.seconds < math.inf)
        _check("warmup", self.warmup, "0 or more seconds", 0 <= self.warmup < math.inf)
        _check("bound", self.bound, "a number of seconds above 0, or None", self.bound is None or self.bound > 0)
        _check("seed", self.seed, "0 or more", self.seed >= 0)


Progress = Callable[[Measured], None]
"""Receives about four times a second what a stage has measured so far; nothing during warm-up."""

Enough = Callable[[Measured], bool]
"""Decides from what was measured so far whether a stage may end early."""


class GeneratorError(TFServingError):
    """The load generator itself failed: one of its client processes was killed, or does not respond."""


class Generator(Protocol):
    """Applies load to one target, from one process or from several."""

    def run(self, stage: Stage, progress: Progress | None = None, enough: Enough | None = None) -> Measured:
        """Run a stage, and return what it measured, merged over all processes.

        Raises TFServingError if the queries cannot be sent at all, and GeneratorError if a client process ends or
        hangs; failed requests are counted instead.
        """
        ...

    def close(self) -> None:
        """End the processes and close the connections."""
        ...


def _check(name: str, value: object, expected: str, valid: bool) -> None:
    if not valid:
        raise ConfigError(f"{name}: expected {expected}, got {shown(value)}")
