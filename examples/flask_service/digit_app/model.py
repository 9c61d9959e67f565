"""DigitModel: the model server, as the service uses it."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from digit_app.metrics import Metrics
from digit_app.problems import Overloaded
from digit_app.settings import Settings
from tfs_client import DecodeError, MicroBatcher, PredictClient, Prediction, RetryPolicy, TFServingError


class Answer(NamedTuple):
    """What the model says about one image, and the version that says it."""

    digit: int
    probability: float
    version: int | None


class DigitModel:
    """One client for all threads of a process, and one batcher in which their requests share calls.

    The client connects with its first call. In a process that was forked after that, it connects again; the batcher is
    empty there.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._places = threading.BoundedSemaphore(settings.max_waiting)
        self._client = PredictClient(
            settings.target,
            model=settings.model,
            timeout=settings.timeout,
            retry=RetryPolicy(attempts=settings.attempts, initial_backoff=0.02),
            token=settings.token or None,
            validate=True,  # refuses a wrong shape before it is sent
            request_id=True,
            hooks=metrics.calls,
        )
        self._batcher = MicroBatcher(self._client, max_delay=settings.batch_delay)
        self._probing = threading.Lock()
        self._probe_again = 0.0
        self._ready = False

    def classify(
        self, image: npt.NDArray[np.float32], request_id: str, version: int | None = None, timeout: float | None = None
    ) -> Answer:
        """Classify one image, with the latest version of the model or a fixed one.

        Args:
            image: the picture, without the axis for rows.
            request_id: the id of the request; a call for one version carries it.
            version: None for the latest.
            timeout: seconds that the caller still waits; None leaves the limit to the settings.

        Raises Overloaded when too many requests wait already, else the errors of tfs_client.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded
        try:
            with self._metrics.waiting.track_inprogress():
                limit = self._settings.timeout if timeout is None else min(timeout, self._settings.timeout)
                return self._classified(image, request_id, version, limit)
        finally:
            self._places.release()

    def _classified(
        self, image: npt.NDArray[np.float32], request_id: str, version: int | None, timeout: float
    ) -> Answer:
        if version is None:
            return _answer(self._batcher.predict({"image": image}, timeout=timeout))
        rows = self._client.predict(
            {"image": image[np.newaxis]}, version=version, request_id=request_id, timeout=timeout
        )
        return _answer(rows.with_outputs({alias: array[0] for alias, array in rows.items()}))

    def is_ready(self) -> bool:
        """Whether the model server serves the model. However many probes ask, it is called once in ``ready_for``."""
        with self._probing:
            if time.monotonic() >= self._probe_again:
                self._ready = self._probe()
                self._probe_again = time.monotonic() + self._settings.ready_for
            return self._ready

    def _probe(self) -> bool:
        try:
            return self._client.is_ready(timeout=min(1.0, self._settings.timeout))
        except TFServingError:
            return False

    def close(self) -> None:
        """Answer the requests that wait, then close the connection."""
        self._batcher.close(self._settings.shutdown_timeout)
        self._client.close()


def _answer(prediction: Prediction) -> Answer:
    """Read the outputs for one image. Raises DecodeError if the model has other outputs."""
    try:
        digit = int(prediction["digit"])
        return Answer(digit, float(prediction["probabilities"][digit]), prediction.model.version)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DecodeError(f"the outputs are not those of a digit model: {error!r}") from error
