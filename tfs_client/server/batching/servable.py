"""BatchingServable: any servable, with calls that arrive together run as one."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from tfs_client.errors import UnavailableError
from tfs_client.server.batching import execution
from tfs_client.server.batching.execution import Observer
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.batching.queues import CLOSED, BatchQueue
from tfs_client.server.batching.scheduler import BatchScheduler
from tfs_client.server.batching.tasks import Task, Tensors, joined, rows_of
from tfs_client.server.deadlines import UNLIMITED, deadline
from tfs_client.server.servable import Array, Servable
from tfs_client.signatures import Signature, TensorSpec

log = logging.getLogger(__name__)

Key = tuple[frozenset[str], frozenset[str]]


class BatchingServable:
    """A servable whose calls run in batches. Calls meet when they feed and fetch the same tensors.

    Args:
        servable: what runs. It is given rows of several calls at once, from several threads.
        parameters: TensorFlow Serving's defaults unless given.
        scheduler: the threads to share with other servables; without one this servable has its own, of the number and
            name that the parameters say. It is not closed with the servable.
        observer: called with a BatchRun before every batch, in the thread that runs it.

    ``run`` waits for the answer. The deadline of the call counts where ``time_limit`` has said it. Every input needs
    rows, the same number in each, and every output has a row for each. A call without any row is run at once, alone.

    A context manager; ``close`` refuses new calls, lets those that wait run, and closes the servable within, if that
    has a ``close`` too.
    """

    def __init__(
        self,
        servable: Servable,
        parameters: BatchingParameters | None = None,
        *,
        scheduler: BatchScheduler | None = None,
        observer: Observer | None = None,
    ) -> None:
        log.info("Wrapping session to perform batch processing")
        self._servable = servable
        self._parameters = parameters or BatchingParameters()
        self._observer = observer
        self._lock = threading.Lock()
        self._queues: dict[Key, BatchQueue] = {}
        self._names: dict[str, _Names] = {}
        self._owns = scheduler is None
        self._scheduler = scheduler or BatchScheduler(
            self._parameters.num_batch_threads, name=self._parameters.thread_pool_name
        )
        self._closed = False

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures of the servable, by name."""
        return self._servable.signatures

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Values of the inputs that a request may leave out. They too need as many rows as the request's."""
        return self._servable.defaults(signature)

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Compute the named outputs, together with other calls. Raises CallError, which may be another call's fault."""
        now, limit = time.monotonic(), deadline()
        names = self._names_of(signature)
        fed = {names.inputs[alias]: np.asarray(array) for alias, array in inputs.items()}
        rows = rows_of(fed)
        if not rows:  # Serving lets it wait until a call with rows comes along
            return self._servable.run(signature, inputs, outputs)
        task = Task(fed, rows, now, now + UNLIMITED if limit is None else limit)
        tensors = joined(self._scheduler.submit(self._queue(signature, inputs, outputs), task))
        return {alias: tensors[names.outputs[alias]] for alias in outputs}

    def _names_of(self, signature: str) -> _Names:
        names = self._names.get(signature)
        if names is None:
            names = self._names[signature] = _Names.of(signature, self._servable.signatures[signature])
        return names

    def _queue(self, signature: str, inputs: Iterable[str], outputs: Iterable[str]) -> BatchQueue:
        """The queue for calls of this kind. Its batches run as calls of the signature that came first."""
        names = self._names_of(signature)
        feeds = {names.inputs[alias]: alias for alias in inputs}
        fetches = {names.outputs[alias]: alias for alias in outputs}
        key = frozenset(feeds), frozenset(fetches)
        with self._lock:
            if self._closed:
                raise UnavailableError(CLOSED)
            queue = self._queues.get(key)
            if queue is None:
                run = _Runs(_Model(self._servable, signature, feeds, fetches), self._parameters, self._observer)
                queue = self._queues[key] = self._scheduler.open(self._parameters, run)
        return queue

    def close(self) -> None:
        """Refuse new calls, let those that wait run, and close the servable within, if it can be closed."""
        with self._lock:
            closed, self._closed = self._closed, True
        self._scheduler.shut(self._queues.values())
        if self._owns:
            self._scheduler.close()
        close = getattr(self._servable, "close", None)
        if close is not None and not closed:
            close()

    def __enter__(self) -> BatchingServable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not getattr(self, "_closed", True):
            _warn("unclosed batching servable: call close()", ResourceWarning, source=self)
            self._scheduler.shut(self._queues.values(), wait=False)
            if self._owns:
                self._scheduler.stop()


@dataclass(frozen=True, slots=True)
class _Names:
    """The tensors behind the aliases of a signature."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @classmethod
    def of(cls, name: str, signature: Signature) -> _Names:
        inputs = _tensor_names(name, signature.inputs)
        if len(set(inputs.values())) < len(inputs):  # two values for one tensor: keep them apart
            inputs = {alias: f"{name}/{alias}" for alias in inputs}
        return cls(inputs, _tensor_names(name, signature.outputs))


def _tensor_names(signature: str, specs: Mapping[str, TensorSpec]) -> dict[str, str]:
    return {alias: spec.tensor_name or f"{signature}/{alias}" for alias, spec in specs.items()}


@dataclass(frozen=True, slots=True)
class _Model:
    """A servable by tensor names: what is fed and fetched, with an alias for each."""

    servable: Servable
    signature: str
    feeds: Mapping[str, str]
    fetches: Mapping[str, str]

    def __call__(self, tensors: Tensors) -> Tensors:
        inputs = {alias: tensors[name] for name, alias in self.feeds.items()}
        answer = self.servable.run(self.signature, inputs, list(self.fetches.values()))
        return {name: answer[alias] for name, alias in self.fetches.items()}


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs the batches of a queue. It does not know the BatchingServable, so that a forgotten one can be noticed."""

    model: _Model
    parameters: BatchingParameters
    observer: Observer | None

    def __call__(self, tasks: list[Task], now: float) -> None:
        execution.observe(self.observer, tasks, self.parameters, now)
        execution.answer(tasks, self.model, self.parameters, now)
