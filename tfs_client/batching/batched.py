"""The flow of ``predict_batched``: rows in, split, sent, and put together."""

from __future__ import annotations

from collections.abc import Callable

from tfs_client.batching.pace import Pace
from tfs_client.batching.pipeline import Pipeline
from tfs_client.batching.rows import Rejoined, Rows
from tfs_client.batching.steps import BatchFlow, Begin, Inbox, Wait
from tfs_client.batching.verdicts import with_place
from tfs_client.errors import TFServingError
from tfs_client.results import Prediction


def predict_batched(
    rows: Rows, batch_size: int, pace: Pace, inbox: Inbox, clock: Callable[[], float]
) -> BatchFlow[Prediction]:
    """Send all rows, and put what comes back in one prediction. The first part that fails for good fails it all."""
    pipeline: Pipeline[range] = Pipeline(pace, batch_size, alone=False)
    pipeline.add(range(rows.count))
    result = Rejoined(rows.count)
    began = clock()
    while not pipeline.idle:
        while (job := pipeline.next(clock())) is not None:
            yield Begin(job, rows.part(job.rows))
        if not inbox:
            yield Wait(pipeline.wait(clock()))
        while inbox:
            job, prediction, error = inbox.popleft()
            if prediction is not None:
                pipeline.answered(job, clock())
                result.put(job.rows, prediction)
            elif error is not None and pipeline.failed(job, error, clock()):
                if len(job.rows) < rows.count and isinstance(error, TFServingError):
                    raise with_place(error, f"It was about rows {job.rows.start} to {job.rows.stop - 1}.")
                raise error
    return result.prediction(clock() - began)
