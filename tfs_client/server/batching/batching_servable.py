"""BatchingServable: a servable that runs calls which arrive together as one call of another servable."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from weakref import WeakValueDictionary

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.errors import UnavailableError
from tfs_client.server.batching import execution
from tfs_client.server.batching.execution import Observer
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.batching.queues import CLOSED, BatchQueue
from tfs_client.server.batching.scheduler import BatchScheduler
from tfs_client.server.batching.tasks import Task, Tensors, joined, rows_of
from tfs_client.server.call_deadlines import UNLIMITED, client_waits, deadline
from tfs_client.server.servable import Run, Servable, run_together
from tfs_client.signatures import Signature, TensorSpec

log: logging.Logger = logging.getLogger(__name__)

Key = tuple[frozenset[str], frozenset[str]]


class BatchingServable:
    """A servable whose calls run in batches. Calls that feed and fetch the same tensors share batches.

    Args:
        servable: the wrapped servable. It gets rows of several calls at once, from several threads.
        parameters: the batching parameters; by default TensorFlow Serving's defaults.
        scheduler: threads shared with other servables, which are not closed with this one. By default this servable
            has its own threads, whose number and name the parameters set.
        observer: called with a BatchRun before every batch, in the thread that runs it.

    ``run`` waits for the answer. It observes the call's deadline if ``time_limit`` has set one. Every input must have
    the same number of rows, and every output has a row for each of them. A call without rows runs alone, at once.

    A context manager. ``close`` refuses new calls, runs those that wait, and closes the wrapped servable if that has a
    ``close`` method.
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
        # Weak, because there may be any number of combinations of tensors. The scheduler keeps the queues in use; an
        # idle queue has no state worth keeping.
        self._queues: WeakValueDictionary[Key, BatchQueue] = WeakValueDictionary()
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

    @property
    def signature_defs(self) -> Mapping[str, bytes] | None:
        """The serialized signatures of the model, if it has them; see ``Servable``."""
        return getattr(self._servable, "signature_defs", None)

    @property
    def checked_shapes(self) -> Collection[str]:
        """The signatures whose inputs must have the declared shapes; see ``Servable``."""
        return getattr(self._servable, "checked_shapes", ())

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Return values of the inputs that a request may omit. They too must have as many rows as the request."""
        return self._servable.defaults(signature)

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Compute the named outputs, together with other calls.

        Raises CallError, which another call may have caused.
        """
        return self._batched([Run(signature, inputs, outputs)])[0]

    def run_together(self, runs: Sequence[Run]) -> Sequence[Mapping[str, Array]]:
        """Compute outputs of several signatures, as one call if the servable supports it; see ``run_together``."""
        if hasattr(self._servable, "run_together"):
            return self._batched(runs)
        return [self.run(*run) for run in runs]

    def _batched(self, runs: Sequence[Run]) -> Sequence[Mapping[str, Array]]:
        now, limit = time.monotonic(), deadline()
        fed: dict[str, Array] = {}
        fetched: set[str] = set()
        for signature, inputs, outputs in runs:
            names = self._names_of(signature)
            for alias, array in inputs.items():
                fed[names.inputs[alias]] = np.asarray(array)
            fetched.update([names.outputs[alias] for alias in outputs])
        rows = rows_of(fed)
        if not rows:  # TensorFlow Serving lets it wait until a call with rows arrives
            return run_together(self._servable, runs)
        task = Task(fed, rows, now, now + UNLIMITED if limit is None else limit, client_waits())
        queue = self._queue((frozenset(fed), frozenset(fetched)), runs)
        tensors = joined(self._scheduler.submit(queue, task))
        return [
            {alias: tensors[self._names_of(signature).outputs[alias]] for alias in outputs}
            for signature, _, outputs in runs
        ]

    def _names_of(self, signature: str) -> _Names:
        names = self._names.get(signature)
        if names is None:
            names = self._names[signature] = _Names.of(signature, self._servable.signatures[signature])
        return names

    def _queue(self, key: Key, runs: Sequence[Run]) -> BatchQueue:
        """Return the queue for calls that feed and fetch these tensors.

        Its batches run as calls of the signatures in the first such call.
        """
        with self._lock:
            if self._closed:
                raise UnavailableError(CLOSED)
            queue = self._queues.get(key)
            if queue is None:
                model = _Model(self._servable, [_Part.of(run, self._names_of(run.signature)) for run in runs])
                run_batch = _BatchRunner(model, self._parameters, self._observer)
                queue = self._queues[key] = BatchQueue(self._parameters, run_batch)
        return queue

    def close(self) -> None:
        """Refuse new calls, run those that wait, and close the wrapped servable if it has a ``close`` method."""
        with self._lock:
            closed, self._closed = self._closed, True
        self._scheduler.shut(list(self._queues.values()))
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

    def __del__(self, _warn: Callable[..., object] = warnings.warn) -> None:
        if not getattr(self, "_closed", True):
            _warn("unclosed batching servable: call close()", ResourceWarning, source=self)
            self._scheduler.shut(list(self._queues.values()), wait=False)
            if self._owns:
                self._scheduler.stop()


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of the tensors behind the aliases of a signature."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @classmethod
    def of(cls, name: str, signature: Signature) -> _Names:
        inputs = _tensor_names(name, signature.inputs)
        if len(set(inputs.values())) < len(inputs):  # two aliases of one tensor have separate values
            inputs = {alias: f"{name}/{alias}" for alias in inputs}
        return cls(inputs, _tensor_names(name, signature.outputs))


def _tensor_names(signature: str, specs: Mapping[str, TensorSpec]) -> dict[str, str]:
    return {alias: spec.tensor_name or f"{signature}/{alias}" for alias, spec in specs.items()}


@dataclass(frozen=True, slots=True)
class _Part:
    """The tensors that a call feeds to a signature and fetches from it: the alias of each by its name."""

    signature: str
    feeds: Mapping[str, str]
    fetches: Mapping[str, str]

    @classmethod
    def of(cls, run: Run, names: _Names) -> _Part:
        return cls(
            run.signature,
            {names.inputs[alias]: alias for alias in run.inputs},
            {names.outputs[alias]: alias for alias in run.outputs},
        )


@dataclass(frozen=True, slots=True)
class _Model:
    """A servable that takes and returns tensors by name."""

    servable: Servable
    parts: Sequence[_Part]

    def __call__(self, tensors: Tensors) -> Tensors:
        runs = [
            Run(part.signature, {alias: tensors[name] for name, alias in part.feeds.items()}, [*part.fetches.values()])
            for part in self.parts
        ]
        answers = run_together(self.servable, runs)
        return {
            name: answer[alias]
            for part, answer in zip(self.parts, answers, strict=True)
            for name, alias in part.fetches.items()
        }


@dataclass(frozen=True, slots=True)
class _BatchRunner:
    """Runs the batches of a queue. It does not refer to the BatchingServable, whose __del__ warns if it is unclosed."""

    model: _Model
    parameters: BatchingParameters
    observer: Observer | None

    def __call__(self, tasks: list[Task], now: float) -> None:
        wanted = [task for task in tasks if not task.dropped(now)]
        execution.observe(self.observer, wanted or tasks, self.parameters, now)
        if wanted:
            execution.answer(wanted, self.model, self.parameters, now)
