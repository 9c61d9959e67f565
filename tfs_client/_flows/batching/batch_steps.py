"""The steps of batch flows: what they ask of their caller. ``performing`` and ``performing_aio`` perform them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from tfs_client._flows.batching.pipeline import Job
from tfs_client.errors import TFServingError
from tfs_client.results import Prediction
from tfs_client.telemetry.records import Batch

Result = TypeVar("Result")
Outcome = Prediction | TFServingError  # of an example, or of a whole request


@dataclass(frozen=True)
class Begin:
    """Begin a request. Its end is put into the inbox; the step has no answer.

    Attributes:
        job: the rows of the request.
        inputs: the same rows as inputs.
        batch: the batch that the request is a part of, for hooks; None for a request of the user's own.
    """

    job: Job[Any]
    inputs: object
    batch: Batch | None = None


class Wait(NamedTuple):
    """Wait until the inbox or the source has something new, for at most ``seconds``; None sets no limit."""

    seconds: float | None


class Read:
    """Read an example from the source. The answer is the example, ``END``, ``NOT_YET`` or a ``SourceError``."""


class Give(NamedTuple):
    """Give a result to the caller of the batch call."""

    result: Outcome


class Ended(NamedTuple):
    """The end of a request: a prediction or an error."""

    job: Job[Any]
    prediction: Prediction | None
    error: BaseException | None


class SourceError(NamedTuple):
    """An error that the source raised instead of giving an example."""

    error: BaseException


END = object()
NOT_YET = object()
READ = Read()

Inbox = deque[Ended]
Step = Begin | Wait | Read | Give
BatchFlow = Generator[Step, object, Result]
