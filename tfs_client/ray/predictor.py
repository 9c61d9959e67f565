"""Predictor: predictions for the rows of a table, for engines that distribute tables over machines.

It is designed for Ray Data's ``map_batches``; Spark's ``predict_batch_udf`` and Dask's ``map_partitions`` accept it
too. This module imports none of these libraries. The extra ``ray`` installs Ray.
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
from typing import Any, Literal, TypedDict, TypeVar

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._transports.error_meanings import Meaning, meaning_of
from tfs_client.client import PredictClient
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
from tfs_client.ray.columns import (
    Names,
    Rows,
    Table,
    by_alias,
    checked_outcome,
    checked_output,
    error_texts,
    output_column,
    row_errors,
    tensor,
    with_aliases,
)
from tfs_client.results import Prediction
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature

MAX_IDLE = 8  # clients that a process keeps for predictors that may come back; an engine's workers outlive its jobs

# Errors that affect every row are raised to the engine, which retries the batch elsewhere, or ends the job.
_BATCH_ERRORS = (
    UnavailableError,
    DeadlineExceededError,
    CancelledError,
    NotFoundError,
    UnauthenticatedError,
    PermissionDeniedError,
)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counters of a predictor in one process.

    Attributes:
        worker: host name and process id.
        batches: the number of batches.
        rows: the rows in those batches.
        failures: the rows without a prediction.
        seconds: the time spent on those batches.
    """

    worker: str
    batches: int = 0
    rows: int = 0
    failures: int = 0
    seconds: float = 0.0


B = TypeVar("B")  # a batch: a mapping or a frame


class _Sending(TypedDict):
    """The options of ``predict_many`` and ``predict_batched`` that a predictor passes on."""

    batch_size: int
    in_flight: int | Literal["auto"]
    shared: Mapping[str, object] | None


class Predictor:
    """A function that adds a model's outputs to a batch of rows, as further columns.

    ::

        ds.map_batches(
            Predictor,
            fn_constructor_args=(["tf-serving-0:8500", "tf-serving-1:8500"],),
            fn_constructor_kwargs={"model": "resnet", "inputs": {"image": "pixels"}, "outputs": {"probs": "scores"}},
            compute=ray.data.ActorPoolStrategy(size=4), num_cpus=0.5, batch_size=256,
        )

    Args:
        target: the address of the server, or several; None for that of the environment or a profile. See PredictClient.
        inputs: the column of each input, by alias; a list of columns that are named like the inputs; or one column,
            for a model with one input.
        outputs: the column of each output, in the same forms. None: every output, in a column named like it. An
            existing column of that name is replaced.
        keep: the columns of the batch to keep; None for all. Drop large columns, such as pixels, that no later step
            needs.
        batch_size: the rows in a request.
        in_flight: the number of concurrent requests for one batch, or "auto".
        shared: inputs that every request sends unchanged, such as a threshold.
        on_error: "raise", or "column": a row that cannot be predicted fails alone. Its outputs are NaN, 0, False or
            b"", so that columns keep their dtype, and ``error_column`` holds the reason. The whole batch still fails
            if the server cannot be reached, refuses the caller or does not know the model, and after a timeout.
        error_column: the column with the errors; "" in rows without an error.
        report: called after every batch with the Metrics of this process.
        options: options of PredictClient, such as model, signature, timeout, tls, token. Calls are retried according
            to ``RetryPolicy()`` unless ``retry`` is given.

    A batch is a mapping from column to numpy array, or a pandas frame; the result has the same type. Columns are cast
    to the dtype of their input within a kind of number: float64 to float32, int64 to int32. Rows that differ in shape
    are sent in separate requests.

    A predictor is pickled by its configuration: environment and profile are read here, never on another machine. All
    copies in a process share one client, which is made with the first batch, and one set of counters. ``close()``
    closes the client; so does the end of the process.

    Raises ConfigError for invalid options, and when a batch lacks a column; calls raise the errors of PredictClient.
    """

    def __init__(
        self,
        target: str | Iterable[str] | None = None,
        *,
        inputs: Names,
        outputs: Names | None = None,
        keep: Iterable[str] | None = None,
        batch_size: int = 32,
        in_flight: int | Literal["auto"] = 4,
        shared: Mapping[str, object] | None = None,
        on_error: str = "raise",
        error_column: str = "error",
        report: Callable[[Metrics], object] | None = None,
        **options: Any,
    ) -> None:
        self._target, self._options = _configured(target, options)
        self._inputs = by_alias(inputs, "inputs")
        self._outputs = None if outputs is None else by_alias(outputs, "outputs")
        self._keep = None if keep is None else [keep] if isinstance(keep, str) else list(keep)
        self._sending: _Sending = {"batch_size": batch_size, "in_flight": in_flight, "shared": shared}
        if on_error not in ("raise", "column"):
            raise ConfigError(f"expected on_error to be 'raise' or 'column', got {on_error!r}")
        self._on_error = on_error
        self._error_column = error_column
        self._report = report
        self._id = uuid.uuid4().hex  # the same in all copies
        with PredictClient(self._target, **self._options) as client:  # report mistakes here, not on a remote machine
            client.predict_many((), **self._sending)

    def __call__(self, batch: B) -> B:
        """Return the batch with the outputs as further columns."""
        table = Table(batch)
        with _borrowed(self._id, self._open_client) as worker:
            started, failures = perf_counter(), table.count
            try:
                columns, failures = self._predicted(table, worker)
            finally:
                worker.count(table.count, failures, perf_counter() - started)
            if self._report is not None:
                self._report(worker.metrics)
        extended: B = table.extended(columns, self._keep)
        return extended

    def metrics(self) -> Metrics:
        """Return the counters of this predictor and its copies in this process."""
        with _lock:
            worker = _workers.get(self._id)
            return worker.metrics if worker else Metrics(_process_name())

    def close(self) -> None:
        """Close the client of this process and reset the counters. The next batch makes a new client."""
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

    def _open_client(self) -> PredictClient:
        return PredictClient(self._target, **self._options)

    def _predicted(self, table: Table, worker: _Worker) -> tuple[dict[str, Array], int]:
        """Return the new columns, and the number of failed rows."""
        signature = worker.signature(self._options.get("signature"))
        shared = self._sending["shared"] or {}
        takes = {alias: spec for alias, spec in signature.inputs.items() if alias not in shared}
        required = {alias: spec for alias, spec in takes.items() if alias not in signature.optional}
        inputs = with_aliases(self._inputs, required if "" in self._inputs else takes, "input")
        outputs = self._outputs or {alias: alias for alias in sorted(signature.outputs)}  # protobuf maps have no order
        outputs = with_aliases(outputs, signature.outputs, "output")
        tensors = {alias: tensor(table.column(name), takes[alias], alias) for alias, name in inputs.items()}
        rectangular = all(isinstance(rows, np.ndarray) for rows in tensors.values())
        if self._on_error == "raise" and rectangular and table.count:
            prediction = worker.client.predict_batched(tensors, outputs=tuple(outputs), **self._sending)
            return {name: checked_output(prediction, alias, table.count) for alias, name in outputs.items()}, 0
        outcomes = self._one_by_one(worker.client, tensors, tuple(outputs), table.count)
        columns = {name: output_column(outcomes, alias, signature.outputs[alias]) for alias, name in outputs.items()}
        if self._on_error == "column":
            columns[self._error_column] = error_texts(outcomes)
        return columns, sum(isinstance(outcome, TFServingError) for outcome in outcomes)

    def _one_by_one(
        self, client: PredictClient, tensors: Mapping[str, Rows], outputs: tuple[str, ...], count: int
    ) -> list[Prediction | TFServingError]:
        """Return a prediction or an error for each row.

        Raises errors that affect every row; with ``on_error="raise"`` any error.
        """
        errors = row_errors(tensors, count)
        good = [index for index, error in enumerate(errors) if error is None]
        raises = self._on_error == "raise"
        if raises and (first := next(filter(None, errors), None)) is not None:
            raise first
        examples = ({alias: rows[index] for alias, rows in tensors.items()} for index in good)
        found = client.predict_many(
            examples, on_error="raise" if raises else "return", outputs=outputs, **self._sending
        )
        outcomes: dict[int, Prediction | TFServingError] = {
            index: error for index, error in enumerate(errors) if error is not None
        }
        for index, outcome in zip(good, found, strict=True):
            if isinstance(outcome, TFServingError) and (
                isinstance(outcome, _BATCH_ERRORS) or meaning_of(outcome) is Meaning.BUSY
            ):
                raise outcome
            checked = checked_outcome(outcome, outputs)
            if raises and isinstance(checked, TFServingError):
                raise checked
            outcomes[index] = checked
        return [outcomes[index] for index in range(count)]


class _Worker:
    """The state that all copies of a predictor in a process share.

    Attributes:
        client: their client.
        metrics: their counters.
        busy: the number of batches being processed; guarded by the module's lock.
    """

    def __init__(self, client: PredictClient) -> None:
        self.client = client
        self.metrics = Metrics(_process_name())
        self.busy = 0
        self._signature: Signature | None = None

    def signature(self, name: str | None) -> Signature:
        """Return the signature, fetched once: the columns of a table should not change when the model does."""
        if self._signature is None:
            self._signature = self.client.signatures().named(name or DEFAULT_SIGNATURE)
        return self._signature

    def count(self, rows: int, failures: int, seconds: float) -> None:
        """Count one more batch."""
        with _lock:
            had = self.metrics
            self.metrics = Metrics(
                had.worker, had.batches + 1, had.rows + rows, had.failures + failures, had.seconds + seconds
            )


_lock = threading.Lock()
_workers: dict[str, _Worker] = {}  # by the id of their predictor; the last used one is last


@contextmanager
def _borrowed(predictor: str, open_client: Callable[[], PredictClient]) -> Iterator[_Worker]:
    """Mark the worker of a predictor as busy within the block; evict those idle the longest beyond MAX_IDLE."""
    with _lock:
        worker = _workers.pop(predictor, None) or _Worker(open_client())
        _workers[predictor] = worker
        worker.busy += 1
        idle = [key for key, other in _workers.items() if not other.busy]
        evicted = [_workers.pop(key) for key in idle[: max(0, len(_workers) - MAX_IDLE)]]
    for other in evicted:
        other.client.close()
    try:
        yield worker
    finally:
        with _lock:
            worker.busy -= 1


def _configured(target: str | Iterable[str] | None, options: dict[str, Any]) -> tuple[str | list[str], dict[str, Any]]:
    """Return the target and the options of the clients, with those of the environment and a profile."""
    profile = options.pop("profile", None)
    if target is None or profile is not None:
        from tfs_client._flows.configuration import resolved
        from tfs_client._flows.settings import Settings

        configuration = resolved.of_client(target, profile, options)
        target, options = configuration.target, configuration.options()
        try:
            PredictClient(target, **options).close()
        except ConfigError as error:
            raise configuration.explained(error, Settings.checked) from None
    return target if isinstance(target, str) else list(target), {"retry": RetryPolicy(), **options}


def _process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _reset_after_fork() -> None:
    """Reset the counters in a forked process; its clients open new connections by themselves."""
    global _lock
    _lock = threading.Lock()
    for worker in _workers.values():
        worker.metrics, worker.busy = Metrics(_process_name()), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
