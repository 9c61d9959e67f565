"""The flow of ``predict_batched``: splits rows into requests, sends them, and joins the outputs."""

from __future__ import annotations

from collections.abc import Callable

from tfs_client._flows.batching.batch_steps import BatchFlow, Begin, Inbox, Wait
from tfs_client._flows.batching.concurrency_limit import ConcurrencyLimit
from tfs_client._flows.batching.pipeline import Pipeline
from tfs_client._flows.batching.progress.counts import Counts
from tfs_client._flows.batching.recovery import with_place
from tfs_client._flows.batching.rows import JoinedOutputs, Rows
from tfs_client.errors import TFServingError
from tfs_client.results import Prediction
from tfs_client.telemetry.records import Batch


def batched_flow(
    rows: Rows,
    batch_size: int,
    concurrency: ConcurrencyLimit,
    inbox: Inbox,
    clock: Callable[[], float],
    counts: Counts,
) -> BatchFlow[Prediction]:
    """Send all rows, and join their outputs in one prediction. The first part that fails permanently fails them all.

    Args:
        counts: counts the rows.
    """
    pipeline: Pipeline[range] = Pipeline(concurrency, batch_size, isolate=False)
    pipeline.add(range(rows.count))
    result = JoinedOutputs(rows.count)
    began = clock()
    while not pipeline.idle:
        while (job := pipeline.next(clock())) is not None:
            batch = Batch("predict_batched", len(job.rows), job.began - began)
            yield Begin(job, rows.part(job.rows), batch)
        if not inbox:
            yield Wait(pipeline.wait(clock()))
        while inbox:
            job, prediction, error = inbox.popleft()
            if prediction is not None:
                pipeline.answered(job, clock(), prediction)
                result.put(job.rows, prediction)
                counts.done += len(job.rows)
            elif error is not None and pipeline.failed(job, error, clock()):
                if len(job.rows) < rows.count and isinstance(error, TFServingError):
                    raise with_place(error, f"This is the error of rows {job.rows.start} to {job.rows.stop - 1}.")
                raise error
        counts.waiting = pipeline.refused
    return result.prediction(clock() - began)
