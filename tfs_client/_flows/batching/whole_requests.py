"""The flow for whole requests: sends each as it is, in order, and again while the server is busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tfs_client._flows.batching.batch_steps import (
    END,
    NOT_YET,
    READ,
    BatchFlow,
    Begin,
    Give,
    Inbox,
    Outcome,
    SourceError,
    Wait,
)
from tfs_client._flows.batching.concurrency_limit import ConcurrencyLimit
from tfs_client._flows.batching.pipeline import Pipeline
from tfs_client.errors import ClosedError, ConfigError, TFServingError


class _Request(NamedTuple):
    number: int
    inputs: object


def whole_request_flow(concurrency: ConcurrencyLimit, inbox: Inbox, clock: Callable[[], float]) -> BatchFlow[None]:
    """Read inputs, send each as a request, and give a prediction or an error for each, in their order."""
    pipeline: Pipeline[list[_Request]] = Pipeline(concurrency, 1, isolate=True)
    outcomes: dict[int, Outcome] = {}  # by number, until it is their turn
    read = given = 0
    end: object = None  # END or a SourceError, once the source has ended
    while True:
        while inbox:
            job, prediction, error = inbox.popleft()
            if prediction is not None:
                pipeline.answered(job, clock(), prediction)
                outcomes[job.rows[0].number] = prediction
                continue
            assert error is not None
            if isinstance(error, (ClosedError, ConfigError)) or not isinstance(error, TFServingError):
                raise error
            if pipeline.failed(job, error, clock()):
                outcomes[job.rows[0].number] = error
        while (next_job := pipeline.next(clock())) is not None:
            yield Begin(next_job, next_job.rows[0].inputs)
        if given in outcomes:
            yield Give(outcomes.pop(given))
            given += 1
        elif end is None and read - given < concurrency.ahead and (answer := (yield READ)) is not NOT_YET:
            if answer is END or isinstance(answer, SourceError):
                end = answer
            else:
                pipeline.add([_Request(read, answer)])
                read += 1
        elif inbox:
            continue
        elif end is not None and read == given:
            if isinstance(end, SourceError):
                raise end.error
            return
        else:
            yield Wait(pipeline.wait(clock()))
