"""RequestSender: how a batch sends its requests through a client."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from tfs_client._codec.dtypes import ArrayShape
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._flows.futures import answers_come_here
from tfs_client.errors import ConfigError
from tfs_client.options import UNSET, CallOptions, Unset

if TYPE_CHECKING:
    from tfs_client._flows.asked import Asked, Defaults
    from tfs_client._flows.batching.last_attempt import LastAttempt
    from tfs_client._flows.exchanges import Exchange
    from tfs_client._flows.performing import Performer
    from tfs_client.results import Prediction
    from tfs_client.telemetry.records import Batch


class BatchClient(Protocol):
    """The part of a PredictClient that batches use."""

    def _request_sender(self, options: CallOptions) -> RequestSender: ...


class RequestOptions:
    """The options of every request of a batch, on top of the client's defaults.

    Attributes:
        timeout: seconds that a request may take; None for no limit.
        outputs: aliases of the wanted outputs.

    Raises ConfigError for values that make no sense, TypeError for unknown options.
    """

    def __init__(self, defaults: Defaults, options: CallOptions) -> None:
        self._defaults, self.outputs = defaults.of_each(options)
        self.timeout = self._defaults.timeout

    def asked(self, timeout: float | Unset | None) -> Asked:
        """The options of one request. Its deadline begins now; UNSET stands for ``self.timeout``."""
        # While the server is busy the batch itself slows down and sends again, so the client must not.
        return self._defaults.asked(timeout=timeout)._replace(paced=True)

    def request_arrays(self, exchange: Exchange, shapes: Mapping[str, ArrayShape]) -> RequestArrays | None:
        """Make the arrays of a request, in spare memory; None if requests are written in another way."""
        spare = exchange.spare
        if spare is None or self._defaults.cast:
            return None
        return RequestArrays(self._defaults.resolve(), shapes, self.outputs, spare)


class RequestSender:
    """Sends the requests of a batch through a PredictClient, with one set of options.

    Args:
        performer: what performs the client's calls.
        defaults: the client's options for all its calls.
        options: those of ``PredictClient.predict``, for every request.

    Attributes:
        timeout: seconds that a request may take; None for no limit.

    Raises ConfigError for values that make no sense, TypeError for unknown options.
    """

    def __init__(self, performer: Performer, defaults: Defaults, options: CallOptions) -> None:
        self._performer = performer
        self._options = RequestOptions(defaults, options)
        self.timeout = self._options.timeout

    def request_arrays(self, shapes: Mapping[str, ArrayShape]) -> RequestArrays | None:
        """As ``RequestOptions.request_arrays``."""
        return self._options.request_arrays(self._performer.flows.exchange, shapes)

    def begin(
        self,
        inputs: object,
        timeout: float | Unset | None = UNSET,
        batch: Batch | None = None,
        attempt: LastAttempt | None = None,
    ) -> Future[Prediction]:
        """Begin a request. The inputs are not copied: a batch owns them, and does not change them."""
        asked = self._options.asked(timeout)
        flow = self._performer.flows.predict(inputs, asked, self._options.outputs, batch)
        return self._performer.begin(flow if attempt is None else attempt.watched(flow))

    def check_thread(self) -> None:
        """Raise ConfigError in the thread that delivers this client's answers: waiting for one there never ends."""
        if answers_come_here(self._performer.transport):
            raise ConfigError(
                "this callback of a future, or hook, runs in the thread that delivers all answers, so waiting for "
                "another answer here would deadlock; move the work to another thread, or use predict_future and "
                "callbacks"
            )
