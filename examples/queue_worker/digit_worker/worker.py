"""Worker: runs the model on jobs from a queue, and acknowledges each job after its result is stored."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator
from types import TracebackType

import numpy as np
import numpy.typing as npt

from digit_worker.jobs import Job, JobQueue
from digit_worker.pictures import read_picture
from digit_worker.settings import Settings
from tfs_client import (
    CallError,
    DecodeError,
    EncodeError,
    InvalidArgumentError,
    PredictClient,
    Prediction,
    RetryPolicy,
    SignatureError,
    StatusCode,
    TFServingError,
)

log = logging.getLogger(__name__)

MAX_PAUSE = 30.0  # seconds
REFUSED = (InvalidArgumentError, EncodeError, SignatureError)  # another try would end in the same way
ABSENT = (StatusCode.NOT_FOUND, StatusCode.CANCELLED)  # the model is not loaded, or the client was closed
BUSY = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED)  # or the job crashes the server, or exhausts its memory


class Worker:
    """One client for the process. ``run`` returns after ``stop``, when every job has an answer or is back in the queue.

    What happens to a job whose call fails:

    - The model refuses it: it becomes a dead letter at once.
    - The model server is down, or does not have the model: it goes back, uncounted, and the worker pauses.
    - Anything else, such as a failure of the model, or a server that dies during the call: it is tried again later,
      alone, and becomes a dead letter after ``max_tries``. A job that takes the worker down counts, too.
    """

    def __init__(self, queue: JobQueue, settings: Settings) -> None:
        self._queue = queue
        self._settings = settings
        self._stopping = threading.Event()
        self._outages = 0  # in a row
        self._client = PredictClient(
            settings.target,
            model=settings.model,
            timeout=settings.timeout,
            retry=RetryPolicy(attempts=settings.attempts),
            token=settings.token or None,
            validate=True,  # refuses a wrong shape before it is sent
            request_id=True,
        )

    def stop(self) -> None:
        """Let ``run`` return soon. Signal handlers and other threads may call this."""
        self._stopping.set()

    def run(self) -> None:
        """Work until ``stop``."""
        self._wait_until_ready()
        while not self._stopping.is_set():
            jobs = self._queue.receive(self._settings.receive, self._settings.lease)
            if not jobs:
                self._stopping.wait(self._settings.poll)
            elif self._answer(jobs):
                self._outages = 0
            else:
                self._outages += 1
                self._wait_until_ready()

    def close(self) -> None:
        """Close the connection to the model server."""
        self._client.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, jobs: list[Job]) -> bool:
        """Answer jobs. Returns whether the model server was there for all of them."""
        open_jobs = {job.id: job for job in jobs}
        read: list[Job] = []
        failures = 0

        def examples() -> Iterator[dict[str, npt.NDArray[np.float32]]]:
            for job in jobs:
                if self._stopping.is_set():
                    return  # predict_many answers what it has read
                if job.tries > self._settings.max_tries:
                    self._bury(open_jobs.pop(job.id), f"given up after {self._settings.max_tries} tries")
                    continue
                try:
                    image = read_picture(job.body)
                except ValueError as error:
                    self._bury(open_jobs.pop(job.id), str(error))
                    continue
                read.append(job)
                yield {"image": image}

        outcomes = self._client.predict_many(
            examples(), batch_size=self._settings.batch_size, in_flight=2, ordered=False, on_error="return"
        )
        for outcome in outcomes:
            assert outcome.example is not None
            job = open_jobs.pop(read[outcome.example].id)
            try:
                if isinstance(outcome, TFServingError):
                    raise outcome
                self._queue.complete(job, _result(outcome))
            except TFServingError as error:
                failures += self._failed(job, error)
        for job in open_jobs.values():  # not read, because the worker stops
            self._queue.give_back(job)
        return failures == 0

    def _failed(self, job: Job, error: TFServingError) -> bool:
        """Decide about a job whose call failed. Returns whether the worker should pause."""
        if isinstance(error, REFUSED):
            self._bury(job, str(error))
            return False
        log.warning("job %s: %s", _line(job.id), _line(str(error)))
        if isinstance(error, CallError) and (error.unreached or error.code in ABSENT):
            self._queue.give_back(job)
            return True
        if job.tries >= self._settings.max_tries:
            self._bury(job, str(error))
        else:
            self._queue.try_later(job, self._pause(job.tries))
        return isinstance(error, CallError) and error.code in BUSY

    def _bury(self, job: Job, reason: str) -> None:
        log.error("job %s is a dead letter: %s", _line(job.id), _line(reason))
        self._queue.bury(job, reason)

    def _wait_until_ready(self) -> None:
        """Leave the jobs in the queue until the model is served; pause between the probes."""
        probes = 0
        while not self._stopping.is_set():
            if self._outages + probes:
                self._stopping.wait(self._pause(self._outages + probes))
            if self._is_ready():
                return
            probes += 1
            log.warning("the model %r is not served at %s", self._settings.model, self._settings.target)

    def _is_ready(self) -> bool:
        try:
            return self._client.is_ready(timeout=1.0)
        except TFServingError:
            return False

    def _pause(self, failures: int) -> float:
        """The next pause in seconds: doubled each time, and half of it random, so that workers do not come together."""
        return min(MAX_PAUSE, self._settings.backoff * 2.0 ** min(failures - 1, 20)) * random.uniform(0.5, 1.0)


def _line(text: str) -> str:
    """A text for a line of a log. Ids are others' choice, and errors quote the model server: both may hold newlines."""
    return text.encode("unicode_escape").decode()


def _result(prediction: Prediction) -> dict[str, object]:
    """Read the outputs for one image. Raises DecodeError if the model has other outputs."""
    try:
        digit = int(prediction["digit"])
        probability = float(prediction["probabilities"][digit])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DecodeError(f"the outputs are not those of a digit model: {error!r}") from error
    return {"digit": digit, "probability": probability, "version": prediction.model.version}
