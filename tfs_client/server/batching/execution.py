"""Running a batch: merge, run the model once, cut, and hand every task its answer or the error that all share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

from tfs_client.errors import CallError, InternalError, ResourceExhaustedError
from tfs_client.server.batching.merging import cut, merge
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.batching.tasks import LATE, Task, Tensors
from tfs_client.server.deadlines import time_limit
from tfs_client.server.failures import text_of

log = logging.getLogger(__name__)

Model = Callable[[Tensors], Tensors]


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A batch that left its queue, for those who count.

    Attributes:
        sizes: the rows of each task in it.
        executed: the rows it is run with, padding rows included; 0 when all its tasks are late, and it is not run.
        waited: the seconds that each task spent in the queue.
        tensors: how many inputs each task has.
    """

    sizes: tuple[int, ...]
    executed: int
    waited: tuple[float, ...]
    tensors: int


Observer = Callable[[BatchRun], None]


def results(tasks: Sequence[Task], model: Model, parameters: BatchingParameters, now: float) -> list[Tensors]:
    """The outputs of each task. Raises CallError, which is every task's.

    The model gets what is left of the longest deadline as its time limit.
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
    """Give every task its answer. Raises nothing: what goes wrong is the tasks' answer."""
    try:
        answers = results(tasks, model, parameters, now)
    except CallError as error:
        _refuse(tasks, error)
    except BaseException as error:  # also SystemExit and pytest's outcomes: somebody waits for an answer
        log.exception("a batch failed")
        _refuse(tasks, InternalError(text_of(error)))
    else:
        for task, outputs in zip(tasks, answers, strict=True):
            task.answer.put(outputs)


def _refuse(tasks: Sequence[Task], error: CallError) -> None:
    for task in tasks:
        own = copy(error)  # every caller raises its own, in a thread of its own
        own.__cause__ = error
        task.answer.put(own)


def observe(observer: Observer | None, tasks: Sequence[Task], parameters: BatchingParameters, now: float) -> None:
    """Tell the observer, if there is one, of a batch that has left its queue."""
    if observer is None:
        return
    sizes = tuple(task.size for task in tasks)
    waited = tuple(now - task.enqueued for task in tasks)
    executed = parameters.executed_size(sum(sizes)) if now < _deadline(tasks) else 0
    try:
        observer(BatchRun(sizes, executed, waited, len(tasks[0].inputs)))
    except BaseException:  # the observer's trouble is not the callers', and must not end the thread
        log.exception("the observer failed")
