"""The steps of a sequence of faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, get_args

from tfs_client._printable import shown
from tfs_client.errors import CallError, ConfigError
from tfs_client.testing.faults.argument_checks import check_count, check_failure, check_state
from tfs_client.testing.faults.kinds import Fault


@dataclass(frozen=True)
class Pass:
    """A step of a sequence: calls that are answered normally.

    Attributes:
        times: their number.
    """

    times: int = 1

    def __post_init__(self) -> None:
        check_count("times", self.times)


@dataclass(frozen=True)
class Repeat:
    """A step of a sequence: a fault for several calls; a fault by itself is a step of one call.

    Attributes:
        fault: the fault.
        times: the number of calls.
    """

    fault: Fault
    times: int

    def __post_init__(self) -> None:
        check_fault(self.fault)
        check_count("times", self.times)


@dataclass(frozen=True)
class VersionLoading:
    """A step of a sequence: the version is LOADING, from the first call of this step on.

    The step counts all calls of the model, GetModelMetadata and GetModelStatus too: while the version is away, clients
    that look for signatures first, and those that wait for the model, make no others. So each failure that a client
    sees is one call. Without ``seconds`` the version becomes AVAILABLE when the next call after the step arrives,
    whatever its method; with ``seconds``, at the latest when a later step is for the same version. See
    ``ModelStates.loading``.

    Attributes:
        version: the version; None: the version that would have answered the first call, else that of the step before.
        seconds: the duration of the load.
        times: the number of calls in this step.
    """

    version: int | None = None
    seconds: float | None = None
    times: int = 1

    def __post_init__(self) -> None:
        check_state(self.version, self.seconds)
        check_count("times", self.times)


@dataclass(frozen=True)
class VersionUnloading:
    """A step of a sequence: the version is UNLOADING, from the first call of this step on.

    The step counts calls as VersionLoading does. Without ``seconds`` the unload ends when the next call after the step
    arrives; see ``ModelStates.unloading``.

    Attributes:
        version: the version; None: the version that would have answered the first call, else that of the step before.
        seconds: the duration of the unload.
        times: the number of calls in this step.
    """

    version: int | None = None
    seconds: float | None = None
    times: int = 1

    def __post_init__(self) -> None:
        check_state(self.version, self.seconds)
        check_count("times", self.times)


@dataclass(frozen=True)
class VersionFails:
    """A step of a sequence: the version has failed to load; see ``ModelStates.failed``.

    The step counts calls as VersionLoading does. The version stays failed after it; VersionLoading loads it again.

    Attributes:
        error: what GetModelStatus reports.
        version: the version; None: the version that would have answered the first call, else that of the step before.
        times: the number of calls in this step.
    """

    error: CallError
    version: int | None = None
    times: int = 1

    def __post_init__(self) -> None:
        check_failure(self.error)
        check_state(self.version, None)
        check_count("times", self.times)


VersionStep: TypeAlias = VersionLoading | VersionUnloading | VersionFails
VERSION_STEPS = (VersionLoading, VersionUnloading, VersionFails)
Step: TypeAlias = Fault | Pass | Repeat | VersionLoading | VersionUnloading | VersionFails
"""Any step of ``FakeServer.faults.sequence``."""


def check_fault(fault: object) -> None:
    """Raise ConfigError unless this is a fault."""
    if isinstance(fault, (Pass, Repeat, *VERSION_STEPS)):
        raise ConfigError(f"expected a fault, got {shown(fault)}, which is a step of faults.sequence([...])")
    if not isinstance(fault, get_args(Fault)):
        raise ConfigError(f"expected a fault such as faults.Busy(), got {shown(fault)}")


def check_step(step: object) -> None:
    """Raise ConfigError unless this can be a step of a sequence."""
    if not isinstance(step, get_args(Step)):
        raise ConfigError(f"expected a step such as faults.Busy() or faults.Pass(times=2), got {shown(step)}")
