"""Alternation: calls, or short stretches of calls, of several client programs in turn.

A call leaves caches, memory and the server in a state that the next one finds. So the order is random, not a rotation,
in which one client would always follow the same other one; and before a timed call, the program makes one that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from time import perf_counter
from typing import Any, TypeVar

from comparison.figures import percentile, quartiles, ratio
from comparison.programs import ClientProgram, ProgramError

Answer = TypeVar("Answer")

WARMUP = 10  # calls of each connection that are not counted; fewer, if they take long
FEWEST = 3  # turns of each connection, even if the time is over


@dataclass(frozen=True)
class Effort:
    """How long a row is measured.

    Attributes:
        seconds: for each client.
        connections: of each client, one after the other.
        warmup: seconds after which no further uncounted call begins on a new connection.
    """

    seconds: float
    connections: int
    warmup: float


@dataclass
class Times:
    """The seconds of single calls, by connection."""

    groups: list[list[float]] = field(default_factory=list)

    def result(self, base: Times) -> dict[str, Any]:
        """The figures of a row, with the ratio to the floor."""
        low, middle, high = quartiles(self.groups)
        found = {"calls": sum(map(len, self.groups)), "median": middle, "quartiles": [low, high]}
        return found | ratio(self.groups, base.groups)


@dataclass
class Flows:
    """Stretches of calls with several under way: rates and latencies by connection."""

    rates: list[list[float]] = field(default_factory=list)
    latencies: list[list[float]] = field(default_factory=list)
    cpu: float = 0.0

    def result(self, base: Flows) -> dict[str, Any]:
        """The figures of a row. The ratio compares calls per second: 1 is as fast as the floor, less is slower."""
        calls = sum(map(len, self.latencies))
        low, middle, high = quartiles(self.rates)
        found = {
            "calls": calls,
            "rate": middle,
            "rate_quartiles": [low, high],
            "p50": percentile(self.latencies, 50),
            "p99": percentile(self.latencies, 99),
            "cpu": self.cpu / calls,
        }
        return found | ratio(self.rates, base.rates)


class Participants:
    """The programs that take part in a row. One that fails is left out from then on.

    Attributes:
        failed: by name, why a program failed.
    """

    def __init__(self, programs: Mapping[str, ClientProgram], connect: Callable[[str], None]) -> None:
        """``connect`` opens a new connection of the named program. Raises ProgramError."""
        self._programs = dict(programs)
        self._connect = connect
        self.failed: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Those that have not failed."""
        return list(self._programs)

    def connect(self) -> None:
        """Open a new connection of each."""
        for name in self.names:
            self._guarded(name, lambda name=name: self._connect(name))  # type: ignore[misc]

    def ask(self, name: str, do: str, **command: Any) -> dict[str, Any] | None:
        """Send a command; returns its answer, or None if the program fails or has failed."""
        program = self._programs.get(name)
        return program and self._guarded(name, lambda: program.ask(do, **command))

    def _guarded(self, name: str, run: Callable[[], Answer]) -> Answer | None:
        try:
            return run()
        except ProgramError as error:
            self.failed[name] = str(error)
            del self._programs[name]
            return None


def single_calls(programs: Participants, effort: Effort) -> dict[str, Times]:
    """Time one call of a program, then one of the next. After the last call of a connection, check another answer."""
    found, order = {name: Times() for name in programs.names}, Random(0)
    for _ in range(effort.connections):
        programs.connect()
        for name in programs.names:
            found[name].groups.append([])
            _warm_up(programs, name, effort.warmup)
        end = perf_counter() + effort.seconds * len(programs.names) / effort.connections
        turn = 0
        while programs.names and (turn < FEWEST or perf_counter() < end):
            for name in order.sample(programs.names, len(programs.names)):
                if answer := programs.ask(name, "call", times=2):
                    found[name].groups[-1].append(answer["times"][-1] / 1e9)
            turn += 1
        for name in programs.names:
            programs.ask(name, "check")
    return {name: found[name] for name in programs.names}


def flows(programs: Participants, in_flight: int, effort: Effort) -> dict[str, Flows]:
    """Let one program make calls for a while, then the next. Each checks its last answers."""
    found, order = {name: Flows() for name in programs.names}, Random(0)
    seconds = effort.seconds / effort.connections
    for _ in range(effort.connections):
        programs.connect()
        for name in programs.names:
            programs.ask(name, "flow", in_flight=in_flight, seconds=seconds / 4)
        for name in order.sample(programs.names, len(programs.names)):
            if answer := programs.ask(name, "flow", in_flight=in_flight, seconds=seconds):
                found[name].rates.append([len(answer["times"]) / answer["seconds"]])
                found[name].latencies.append([time / 1e9 for time in answer["times"]])
                found[name].cpu += answer["cpu"]
    return {name: found[name] for name in programs.names}


def _warm_up(programs: Participants, name: str, seconds: float) -> None:
    end = perf_counter() + seconds
    for _ in range(WARMUP):
        programs.ask(name, "call", times=1)
        if perf_counter() > end:
            return
