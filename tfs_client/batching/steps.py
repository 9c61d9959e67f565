"""Steps of batch flows: what they ask of the world outside. ``blocking`` and ``awaited`` perform them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from tfs_client.batching.pipeline import Job
from tfs_client.results import Prediction

Result = TypeVar("Result")


@dataclass(frozen=True)
class Begin:
    """Begin a call; how it ends comes to the inbox. There is no answer."""

    job: Job[Any]
    inputs: Any


class Wait(NamedTuple):
    """Wait until something has come to the inbox, or to ``Read``, or for some seconds; None: as long as it takes."""

    seconds: float | None


class Read:
    """Read an example from the source. The answer is the example, ``END``, ``NOT_YET``, or ``Broken``."""


class Give(NamedTuple):
    """Hand a result to the one who asked for results."""

    result: Any


class Ended(NamedTuple):
    """How a call ended: with a prediction, or with an error."""

    job: Job[Any]
    prediction: Prediction | None
    error: BaseException | None


class Broken(NamedTuple):
    """The source raised instead of giving an example."""

    error: BaseException


END = object()
NOT_YET = object()
READ = Read()

Inbox = deque[Ended]
Step = Begin | Wait | Read | Give
BatchFlow = Generator[Step, Any, Result]
