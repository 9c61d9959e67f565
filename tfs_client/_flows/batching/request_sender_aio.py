"""AsyncRequestSender: how a batch sends its requests through a client of asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from tfs_client._codec.dtypes import ArrayShape
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._flows.batching.request_sender import RequestOptions
from tfs_client.options import UNSET, CallOptions, Unset

if TYPE_CHECKING:
    from tfs_client._flows.asked import Defaults
    from tfs_client._flows.batching.last_attempt import LastAttempt
    from tfs_client._flows.performing_aio import AsyncPerformer
    from tfs_client.results import Prediction
    from tfs_client.telemetry.records import Batch


class AsyncBatchClient(Protocol):
    """The part of an AsyncPredictClient that batches use."""

    def _request_sender(self, options: CallOptions) -> AsyncRequestSender: ...


class AsyncRequestSender:
    """Sends the requests of a batch through an AsyncPredictClient, with one set of options.

    Arguments, attributes and errors are those of ``RequestSender``.
    """

    def __init__(self, performer: AsyncPerformer, defaults: Defaults, options: CallOptions) -> None:
        self._performer = performer
        self._options = RequestOptions(defaults, options)
        self.timeout = self._options.timeout

    def request_arrays(self, shapes: Mapping[str, ArrayShape]) -> RequestArrays | None:
        """As ``RequestOptions.request_arrays``."""
        return self._options.request_arrays(self._performer.flows.exchange, shapes)

    async def send(
        self,
        inputs: object,
        timeout: float | Unset | None = UNSET,
        batch: Batch | None = None,
        attempt: LastAttempt | None = None,
    ) -> Prediction:
        """Send a request and return its answer. The inputs are not copied."""
        asked = self._options.asked(timeout)
        flow = self._performer.flows.predict(inputs, asked, self._options.outputs, batch)
        return await self._performer.run(flow if attempt is None else attempt.watched(flow))
