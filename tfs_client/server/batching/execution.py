"""Execution of a batch: merge the inputs, run the model once, split the outputs, and answer every task.

An error is the answer of every task in the batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

from tfs_client.errors import CallError, InternalError, ResourceExhaustedError
from tfs_client.server.batching.merging import cut, merge
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.batching.tasks import LATE, Task, Tensors
from tfs_client.server.call_deadlines import time_limit
from tfs_client.server.model_failures import text_of

log: logging.Logger = logging.getLogger(__name__)

Model = Callable[[Tensors], Tensors]


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A batch that has left its queue, for metrics.

    Attributes:
        sizes: the rows of each task.
        executed: the rows that the model gets, padding rows included; 0 if all tasks are late and the batch is not run.
        waited: the seconds that each task spent in the queue.
        tensors: the number of inputs of each task.
    """

    sizes: tuple[int, ...]
    executed: int
    waited: tuple[float, ...]
    tensors: int


Observer = Callable[[BatchRun], None]


def results(tasks: Sequence[Task], model: Model, parameters: BatchingParameters, now: float) -> list[Tensors]:
    """Return the outputs of each task. Raises CallError for all of them.

    The model's time limit is the time left until the latest deadline.
    """
    deadline = _deadline(tasks)
    if deadline <= now:
        raise ResourceExhaustedError(LATE)
    sizes = [task.size for task in tasks]
    extra = parameters.executed_size(sum(sizes)) - sum(sizes)
    inputs = merge([task.inputs for task in tasks], extra, pad=parameters.pad_variable_length_inputs)
    with time_limit(deadline - now):
        outputs = model(inputs)
    return list(cut(outputs, sizes, extra))


def _deadline(tasks: Sequence[Task]) -> float:
    return max(task.deadline for task in tasks)


def answer(tasks: Sequence[Task], model: Model, parameters: BatchingParameters, now: float) -> None:
    """Give every task its answer. Does not raise: an error becomes the answer of all tasks."""
    try:
        answers = results(tasks, model, parameters, now)
    except CallError as error:
        _refuse(tasks, error)
    except BaseException as error:  # also SystemExit and pytest's outcomes: callers wait for an answer
        log.exception("a batch failed")
        _refuse(tasks, InternalError(text_of(error)))
    else:
        for task, outputs in zip(tasks, answers, strict=True):
            task.answer.put(outputs)


def _refuse(tasks: Sequence[Task], error: CallError) -> None:
    for task in tasks:
        own = copy(error)  # each caller raises it in another thread
        own.__cause__ = error
        task.answer.put(own)


def observe(observer: Observer | None, tasks: Sequence[Task], parameters: BatchingParameters, now: float) -> None:
    """Report a batch that has left its queue to the observer, if there is one."""
    if observer is None:
        return
    sizes = tuple(task.size for task in tasks)
    waited = tuple(now - task.enqueued for task in tasks)
    executed = parameters.executed_size(sum(sizes)) if now < _deadline(tasks) else 0
    try:
        observer(BatchRun(sizes, executed, waited, len(tasks[0].inputs)))
    except BaseException:  # an observer's error must not affect the callers, nor end the thread
        log.exception("the observer failed")
