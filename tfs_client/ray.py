"""Predictor: the rows of a table through a model, for the engines that spread tables over machines.

Made for Ray Data's ``map_batches``; Spark's ``predict_batch_udf`` and Dask's ``map_partitions`` take it as well. This
module imports none of them. The extra ``ray`` installs the first.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any

import numpy as np

from tfs_client.client import PredictClient
from tfs_client.columns import (
    Array,
    Names,
    Rows,
    Table,
    by_alias,
    error_texts,
    gathered,
    kept,
    tensor,
    unfit,
    whole,
    with_aliases,
)
from tfs_client.error_meanings import Meaning, meaning_of
from tfs_client.errors import (
    CancelledError,
    ConfigError,
    DeadlineExceededError,
    NotFoundError,
    PermissionDeniedError,
    TFServingError,
    UnauthenticatedError,
    UnavailableError,
)
from tfs_client.options import RetryPolicy
from tfs_client.results import Prediction
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature

IDLE = 8  # clients that a process keeps for predictors it may meet again; workers outlive the jobs they work for

# Errors that affect every row are raised to the engine, which tries the batch again elsewhere, or ends the job.
_NO_ROW_TO_BLAME = (
    UnavailableError,
    DeadlineExceededError,
    CancelledError,
    NotFoundError,
    UnauthenticatedError,
    PermissionDeniedError,
)


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a predictor has done in one process so far.

    Attributes:
        worker: host name and process id.
        batches: how often it was called.
        rows: rows in those batches.
        failures: rows of those for which there is no prediction.
        seconds: time in those calls.
    """

    worker: str
    batches: int = 0
    rows: int = 0
    failures: int = 0
    seconds: float = 0.0


class Predictor:
    """A function from a batch of rows to the same batch with a model's outputs as further columns.

    ::

        ds.map_batches(
            Predictor,
            fn_constructor_args=(["tf-serving-0:8500", "tf-serving-1:8500"],),
            fn_constructor_kwargs={"model": "resnet", "inputs": {"image": "pixels"}, "outputs": {"probs": "scores"}},
            compute=ray.data.ActorPoolStrategy(size=4), num_cpus=0.5, batch_size=256,
        )

    Args:
        target: where the model is; see PredictClient.
        inputs: the column of each input, by alias; a list of columns that are named like inputs; or one column, for a
            model with one input.
        outputs: the column for each output, likewise. None: every output, under its alias. A column that is there
            already is replaced.
        keep: which columns of the batch go on; None for all. Pixels that nobody needs any more are better left behind.
        batch_size: rows in a request.
        in_flight: requests of one batch that are under way at once, or "auto".
        shared: inputs that go with every request as they are, such as a threshold.
        on_error: "raise", or "column": a row that cannot be predicted fails alone. Its outputs are NaN, 0, False or
            b"", so that columns keep their dtype, and ``error_column`` tells why. A server that cannot be reached,
            refuses the caller or does not know the model fails the whole batch all the same, and so does a timeout.
        error_column: the column with the errors; "" in rows without.
        report: called after every batch with the Metrics of this process.
        options: those of PredictClient, such as model, signature, timeout, tls, token. Calls are tried again as
            ``RetryPolicy()`` says unless ``retry`` says otherwise.

    A batch is a mapping from column to numpy array, or a pandas frame, and so is what comes back. Columns are cast to
    the dtype of their input where that changes no kind of number: float64 to float32, int64 to int32. Rows that differ
    in shape go in requests of their own.

    It is pickled by its configuration. All copies of a predictor in a process share one client, which is made with the
    first batch, and are counted together. ``close()`` closes it; the end of the process does so as well.

    Raises ConfigError for options that make no sense, also when a batch has not the columns it should have; calls
    raise what PredictClient raises.
    """

    def __init__(
        self,
        target: str | Iterable[str],
        *,
        inputs: Names,
        outputs: Names | None = None,
        keep: Iterable[str] | None = None,
        batch_size: int = 32,
        in_flight: int | str = 4,
        shared: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        error_column: str = "error",
        report: Callable[[Metrics], Any] | None = None,
        **options: Any,
    ) -> None:
        self._target = target if isinstance(target, str) else list(target)
        self._options = {"retry": RetryPolicy(), **options}
        self._inputs = by_alias(inputs, "inputs")
        self._outputs = None if outputs is None else by_alias(outputs, "outputs")
        self._keep = None if keep is None else [keep] if isinstance(keep, str) else list(keep)
        self._sending: dict[str, Any] = {"batch_size": batch_size, "in_flight": in_flight, "shared": shared}
        if on_error not in ("raise", "column"):
            raise ConfigError(f"expected on_error to be 'raise' or 'column', got {on_error!r}")
        self._on_error = on_error
        self._error_column = error_column
        self._report = report
        self._id = uuid.uuid4().hex  # the same in all copies
        with PredictClient(self._target, **self._options) as client:  # mistakes show here, not on a machine far away
            client.predict_many((), **self._sending)

    def __call__(self, batch: Any) -> Any:
        """The batch, with the outputs."""
        table = Table(batch)
        with _at_work(self._id, self._opened) as worker:
            started, failures = perf_counter(), table.count
            try:
                columns, failures = self._predicted(table, worker)
            finally:
                worker.count(table.count, failures, perf_counter() - started)
            if self._report is not None:
                self._report(worker.metrics)
        return table.extended(columns, self._keep)

    def metrics(self) -> Metrics:
        """What this predictor and its copies have done in this process."""
        with _lock:
            worker = _workers.get(self._id)
            return worker.metrics if worker else Metrics(_here())

    def close(self) -> None:
        """Close the client of this process, and count anew. The next batch makes another."""
        with _lock:
            worker = _workers.pop(self._id, None)
        if worker is not None:
            worker.client.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Predictor({self._target!r}, model={self._options.get('model')!r}, inputs={self._inputs!r})"

    def _opened(self) -> PredictClient:
        return PredictClient(self._target, **self._options)

    def _predicted(self, table: Table, worker: _Worker) -> tuple[dict[str, Array], int]:
        """The new columns, and how many rows failed."""
        signature = worker.signature(self._options.get("signature"))
        shared = self._sending["shared"] or {}
        takes = {alias: spec for alias, spec in signature.inputs.items() if alias not in shared}
        required = {alias: spec for alias, spec in takes.items() if alias not in signature.optional}
        inputs = with_aliases(self._inputs, required if "" in self._inputs else takes, "input")
        outputs = self._outputs or {alias: alias for alias in sorted(signature.outputs)}  # a map has no order
        outputs = with_aliases(outputs, signature.outputs, "output")
        tensors = {alias: tensor(table.column(name), takes[alias], alias) for alias, name in inputs.items()}
        rectangular = all(isinstance(rows, np.ndarray) for rows in tensors.values())
        if self._on_error == "raise" and rectangular and table.count:
            prediction = worker.client.predict_batched(tensors, outputs=tuple(outputs), **self._sending)
            return {name: whole(prediction, alias, table.count) for alias, name in outputs.items()}, 0
        outcomes = self._one_by_one(worker.client, tensors, tuple(outputs), table.count)
        columns = {name: gathered(outcomes, alias, signature.outputs[alias]) for alias, name in outputs.items()}
        if self._on_error == "column":
            columns[self._error_column] = error_texts(outcomes)
        return columns, sum(isinstance(outcome, TFServingError) for outcome in outcomes)

    def _one_by_one(
        self, client: PredictClient, tensors: Mapping[str, Rows], outputs: tuple[str, ...], count: int
    ) -> list[Prediction | TFServingError]:
        """A prediction or an error for each row. Raises what no row is to blame for; or, if so wanted, any error."""
        outcomes: list[Any] = unfit(tensors, count)
        good = [index for index, error in enumerate(outcomes) if error is None]
        raises = self._on_error == "raise"
        if raises and len(good) < count:
            raise next(filter(None, outcomes))
        examples = ({alias: rows[index] for alias, rows in tensors.items()} for index in good)
        found = client.predict_many(
            examples, on_error="raise" if raises else "return", outputs=outputs, **self._sending
        )
        for index, outcome in zip(good, found, strict=True):
            if isinstance(outcome, TFServingError) and (
                isinstance(outcome, _NO_ROW_TO_BLAME) or meaning_of(outcome) is Meaning.BUSY
            ):
                raise outcome
            outcomes[index] = kept(outcome, outputs)
            if raises and isinstance(outcomes[index], TFServingError):
                raise outcomes[index]
        return outcomes


class _Worker:
    """What the copies of a predictor share in a process.

    Attributes:
        client: theirs.
        metrics: what they have done.
        busy: how many batches are being worked on; counted under the lock of all workers.
    """

    def __init__(self, client: PredictClient) -> None:
        self.client = client
        self.metrics = Metrics(_here())
        self.busy = 0
        self._signature: Signature | None = None

    def signature(self, name: str | None) -> Signature:
        """The signature, asked for once: columns of a table should not change when the model does."""
        if self._signature is None:
            self._signature = self.client.signatures().named(name or DEFAULT_SIGNATURE)
        return self._signature

    def count(self, rows: int, failures: int, seconds: float) -> None:
        """One more batch."""
        with _lock:
            had = self.metrics
            self.metrics = Metrics(
                had.worker, had.batches + 1, had.rows + rows, had.failures + failures, had.seconds + seconds
            )


_lock = threading.Lock()
_workers: dict[str, _Worker] = {}  # by the id of their predictor; the one used last comes last


@contextmanager
def _at_work(predictor: str, opened: Callable[[], PredictClient]) -> Iterator[_Worker]:
    with _lock:
        worker = _workers.pop(predictor, None) or _Worker(opened())
        _workers[predictor] = worker
        worker.busy += 1
        idle = [key for key, other in _workers.items() if not other.busy]
        left = [_workers.pop(key) for key in idle[: max(0, len(_workers) - IDLE)]]
    for other in left:
        other.client.close()
    try:
        yield worker
    finally:
        with _lock:
            worker.busy -= 1


def _here() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _forked() -> None:
    """In a forked process: the clients make connections of their own, and counting begins anew."""
    global _lock
    _lock = threading.Lock()
    for worker in _workers.values():
        worker.metrics, worker.busy = Metrics(_here()), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
