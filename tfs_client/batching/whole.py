"""The flow for requests that are sent as they are: in order, paced like batches, and sent again while the server is
busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tfs_client.batching.pace import Pace
from tfs_client.batching.pipeline import Pipeline
from tfs_client.batching.steps import END, NOT_YET, READ, BatchFlow, Begin, Broken, Give, Inbox, Wait
from tfs_client.errors import ClosedError, ConfigError, TFServingError


class _Request(NamedTuple):
    number: int
    inputs: Any


def predict_each(pace: Pace, inbox: Inbox, clock: Callable[[], float]) -> BatchFlow[None]:
    """Read inputs, send each as a request, and give a prediction or an error for each, in their order."""
    pipeline: Pipeline[list[_Request]] = Pipeline(pace, 1, alone=True)
    there: dict[int, Any] = {}
    read = given = 0
    end: Any = None  # END or Broken, once the source has no more
    while True:
        while inbox:
            job, prediction, error = inbox.popleft()
            if prediction is not None:
                pipeline.answered(job, clock())
                there[job.rows[0].number] = prediction
                continue
            assert error is not None
            if isinstance(error, (ClosedError, ConfigError)) or not isinstance(error, TFServingError):
                raise error
            if pipeline.failed(job, error, clock()):
                there[job.rows[0].number] = error
        while (next_job := pipeline.next(clock())) is not None:
            yield Begin(next_job, next_job.rows[0].inputs)
        if given in there:
            yield Give(there.pop(given))
            given += 1
        elif end is None and read - given < pace.ahead and (answer := (yield READ)) is not NOT_YET:
            if answer is END or isinstance(answer, Broken):
                end = answer
            else:
                pipeline.add([_Request(read, answer)])
                read += 1
        elif inbox:
            continue
        elif end is not None and read == given:
            if isinstance(end, Broken):
                raise end.error
            return
        else:
            yield Wait(pipeline.wait(clock()))
