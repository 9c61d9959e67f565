"""The local engine: one client, and threads that read and decode pictures while requests are under way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, cast

from tfs_client.batching.blocking import each
from tfs_client.batching.pace import pace_of
from tfs_client.cli.bulk.engines import Job
from tfs_client.cli.bulk.outcomes import Failed, Outcome, Row, fails_alone
from tfs_client.cli.bulk.preparing import Preparation
from tfs_client.client import PredictClient
from tfs_client.errors import CancelledError, TFServingError
from tfs_client.results import Prediction

DECODERS = min(8, (os.cpu_count() or 1) + 1)  # threads; Pillow decodes without holding the others up
DROPPED = 1000  # pictures; a server that stops may cancel the requests that it has not begun, and no client tries again

Inputs = Mapping[str, Any]
Answer = Prediction | TFServingError


def outcomes(job: Job, names: Iterable[str]) -> Iterator[Outcome]:
    """An outcome for each name, in their order; those that the server has dropped are tried once more at the end.

    At most (in_flight + 1) batches of pictures are held, and a few that are being decoded.
    """
    pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="tfs-predict-decode")
    try:
        with job.client() as client:
            preparation = job.preparation(client)
            dropped: list[str] = []
            for some, most in ((names, DROPPED), (dropped, 0)):  # the second list is made while the first is read
                reading = _Reading(preparation, ahead(preparation, some, pool, max(job.batch_size, 2 * DECODERS)))
                with closing(_answers(client, job, preparation, reading.examples())) as answers:
                    yield from reading.joined(answers, dropped, most)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a file that stalls holds nobody up


def ahead(
    function: Callable[[str], Inputs], names: Iterable[str], pool: ThreadPoolExecutor, most: int
) -> Generator[tuple[str, Future[Inputs]], None, None]:
    """Names, in order, and what a function makes of them, with at most so many begun that were not asked for yet."""
    begun: deque[tuple[str, Future[Inputs]]] = deque()
    for name in names:
        begun.append((name, pool.submit(function, name)))
        if len(begun) >= most:
            yield begun.popleft()
    yield from begun


class _Reading:
    """Takes out the pictures that cannot be read, and puts them back in their places among the answers."""

    def __init__(self, preparation: Preparation, prepared: Iterable[tuple[str, Future[Inputs]]]) -> None:
        self._preparation = preparation
        self._prepared = prepared
        self._begun: deque[str | Failed] = deque()  # names that were sent, failures that were not

    def examples(self) -> Iterator[Inputs]:
        for name, future in self._prepared:
            try:
                inputs = future.result()
            except TFServingError as error:
                if not fails_alone(error):
                    raise
                self._begun.append(Failed(name, error))
            else:
                self._begun.append(name)
                yield inputs

    def joined(self, answers: Iterable[Answer], dropped: list[str], most: int) -> Iterator[Outcome]:
        """Outcomes, in order, but for names that the server has dropped: up to so many are put into the list."""
        for answer in answers:
            yield from self._failed()
            name = self._begun.popleft()
            assert isinstance(name, str)
            if isinstance(answer, Prediction):
                outputs = answer if self._preparation.together else self._preparation.outputs(answer)
                yield Row(name, answer.model, outputs)
            elif fails_alone(answer):
                yield Failed(name, answer)
            elif isinstance(answer, CancelledError) and len(dropped) < most:
                dropped.append(name)
            else:
                raise answer
        yield from self._failed()

    def _failed(self) -> Iterator[Failed]:
        while self._begun and isinstance(failed := self._begun[0], Failed):
            self._begun.popleft()
            yield failed


def _answers(
    client: PredictClient, job: Job, preparation: Preparation, examples: Iterator[Inputs]
) -> Generator[Answer, None, None]:
    if not preparation.together:
        whole = each(client._paced, examples, pace_of(job.in_flight), client._check_thread)
        return cast("Generator[Answer, None, None]", whole)
    answers = client.predict_many(
        examples,
        batch_size=job.batch_size,
        in_flight=job.in_flight,
        on_error="return",
        shared=preparation.shared,
    )
    return cast("Generator[Answer, None, None]", answers)
