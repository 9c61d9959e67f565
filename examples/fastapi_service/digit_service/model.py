"""DigitModel: the model server, as the service uses it."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from digit_service.metrics import Metrics
from digit_service.problems import Overloaded
from digit_service.settings import Settings
from tfs_client import AsyncMicroBatcher, AsyncPredictClient, DecodeError, Prediction, RetryPolicy, TFServingError


class Answer(NamedTuple):
    """What the model says about one image, and the version that says it."""

    digit: int
    probability: float
    version: int | None


class DigitModel:
    """One client for the whole service, and one batcher in which requests share calls.

    A call for several requests gets a new id, which errors report (``error.request_id``). A call for one version is for
    one request, and carries its id.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._waiting = 0
        self._client = AsyncPredictClient(
            settings.target,
            model=settings.model,
            timeout=settings.timeout,
            retry=RetryPolicy(attempts=settings.attempts, initial_backoff=0.02),
            token=settings.token or None,
            validate=True,  # refuses a wrong shape before it is sent
            request_id=True,
            hooks=metrics.calls,
        )
        self._batcher = AsyncMicroBatcher(
            self._client, max_batch_size=settings.batch_size, max_delay=settings.batch_delay
        )
        self._probing = asyncio.Lock()
        self._probe_again = 0.0
        self._ready = False

    async def classify(
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
        if self._waiting >= self._settings.max_waiting:
            raise Overloaded
        self._waiting += 1
        self._metrics.waiting.set(self._waiting)
        limit = self._settings.timeout if timeout is None else min(timeout, self._settings.timeout)
        try:
            if version is None:
                return _answer(await self._batcher.predict({"image": image}, timeout=limit))
            rows = await self._client.predict(
                {"image": image[np.newaxis]}, version=version, request_id=request_id, timeout=limit
            )
            return _answer(rows.with_outputs({alias: array[0] for alias, array in rows.items()}))
        finally:
            self._waiting -= 1
            self._metrics.waiting.set(self._waiting)

    async def is_ready(self) -> bool:
        """Whether the model server serves the model. However many probes ask, it is called once in ``ready_for``."""
        async with self._probing:
            if time.monotonic() >= self._probe_again:
                self._ready = await self._probe()
                self._probe_again = time.monotonic() + self._settings.ready_for
            return self._ready

    async def _probe(self) -> bool:
        try:
            return await self._client.is_ready(timeout=min(1.0, self._settings.timeout))
        except TFServingError:
            return False

    async def close(self) -> None:
        """Answer the requests that wait, then close the connection."""
        await self._batcher.close(self._settings.shutdown_timeout)
        await self._client.close()


def _answer(prediction: Prediction) -> Answer:
    """Read the outputs for one image. Raises DecodeError if the model has other outputs."""
    try:
        digit = int(prediction["digit"])
        return Answer(digit, float(prediction["probabilities"][digit]), prediction.model.version)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DecodeError(f"the outputs are not those of a digit model: {error!r}") from error
