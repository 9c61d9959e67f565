"""The local engine: one client, and threads that decode pictures while requests are in flight.

Outcomes keep the order of the names. Decoding runs ahead of the requests, in a pool of threads, and up to a bound. The
names whose inputs were sent wait in a queue, together with the pictures that could not be decoded: as answers arrive
in the order of the requests, each belongs to the next name in the queue, and the failures before it come first.
Requests that a stopping server cancelled are sent once more at the end, when another server may answer.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple, cast

from tfs_client._codec.dtypes import Array
from tfs_client._flows.batching.concurrency_limit import concurrency_limit
from tfs_client._flows.batching.performing import predict_each
from tfs_client.cli.predict.bulk.engines import Job
from tfs_client.cli.predict.bulk.outcomes import Failed, Outcome, Row, fails_alone
from tfs_client.cli.predict.bulk.picture_inputs import PictureInputs, Prepared
from tfs_client.client import PredictClient
from tfs_client.errors import CancelledError, TFServingError
from tfs_client.results import Prediction

DECODERS = min(8, (os.cpu_count() or 1) + 1)  # threads; Pillow releases the GIL while decoding
MAX_CANCELLED = 1000  # pictures; a stopping server may cancel waiting requests, and clients do not retry those

Inputs = Mapping[str, Array]
Answer = Prediction | TFServingError


def outcomes(job: Job, names: Iterable[str]) -> Iterator[Outcome]:
    """Yield an outcome for each name, in order; cancelled requests are tried once more at the end.

    Holds at most (in_flight + 1) batches of pictures, and a few that are being decoded.
    """
    pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="tfs-predict-decode")
    try:
        with job.client() as client:
            picture_inputs = job.picture_inputs(client)
            cancelled: list[str] = []
            for some, most in ((names, MAX_CANCELLED), (cancelled, 0)):  # the first pass fills the second one's list
                prepared = ahead(picture_inputs, some, pool, max(job.batch_size, 2 * DECODERS))
                decoding = _Decoding(picture_inputs, prepared)
                with closing(_answers(client, job, picture_inputs, decoding.examples())) as answers:
                    yield from decoding.joined(answers, cancelled, most)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # do not wait for a file that stalls


def ahead(
    function: Callable[[str], Prepared], names: Iterable[str], pool: ThreadPoolExecutor, most: int
) -> Generator[tuple[str, Future[Prepared]], None, None]:
    """Yield names, in order, with the future result of a function; at most ``most`` calls run ahead."""
    started: deque[tuple[str, Future[Prepared]]] = deque()
    for name in names:
        started.append((name, pool.submit(function, name)))
        if len(started) >= most:
            yield started.popleft()
    yield from started


class _Sent(NamedTuple):
    name: str
    size: tuple[int, int] | None


class _Decoding:
    """Removes the pictures that cannot be decoded from the requests, and inserts their failures among the answers."""

    def __init__(self, picture_inputs: PictureInputs, prepared: Iterable[tuple[str, Future[Prepared]]]) -> None:
        self._picture_inputs = picture_inputs
        self._prepared = prepared
        self._started: deque[_Sent | Failed] = deque()  # sent pictures, and failures of others

    def examples(self) -> Iterator[Inputs]:
        for name, future in self._prepared:
            try:
                inputs, size = future.result()
            except TFServingError as error:
                if not fails_alone(error):
                    raise
                self._started.append(Failed(name, error))
            else:
                self._started.append(_Sent(name, size))
                yield inputs

    def joined(self, answers: Iterable[Answer], cancelled: list[str], most: int) -> Iterator[Outcome]:
        """Yield outcomes in order. Up to ``most`` cancelled names are appended to the list instead."""
        for answer in answers:
            yield from self._failed()
            sent = self._started.popleft()
            assert isinstance(sent, _Sent)
            if isinstance(answer, Prediction):
                outputs = answer if self._picture_inputs.together else self._picture_inputs.outputs(answer)
                yield Row(sent.name, answer.model, outputs, sent.size)
            elif fails_alone(answer):
                yield Failed(sent.name, answer)
            elif isinstance(answer, CancelledError) and len(cancelled) < most:
                cancelled.append(sent.name)
            else:
                raise answer
        yield from self._failed()

    def _failed(self) -> Iterator[Failed]:
        while self._started and isinstance(failed := self._started[0], Failed):
            self._started.popleft()
            yield failed


def _answers(
    client: PredictClient, job: Job, picture_inputs: PictureInputs, examples: Iterator[Inputs]
) -> Generator[Answer, None, None]:
    if not picture_inputs.together:
        return predict_each(client._request_sender({}), examples, concurrency_limit(job.in_flight))
    answers = client.predict_many(
        examples,
        batch_size=job.batch_size,
        in_flight=job.in_flight,
        on_error="return",
        shared=picture_inputs.shared,
    )
    return cast("Generator[Answer, None, None]", answers)
