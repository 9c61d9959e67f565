"""SessionFlows: the flows of the clients of one session, and which of them share signatures."""

from __future__ import annotations

import threading
from weakref import WeakSet

from tfs_client._flows import forks
from tfs_client._flows.callers import Caller, caller_of
from tfs_client._flows.exchanges import Exchange, GrpcExchange, RestExchange
from tfs_client._flows.flows import Flows
from tfs_client._flows.known_signatures import KnownSignatures
from tfs_client._flows.predicting import PredictCall, Predicting
from tfs_client._flows.predicting_rest import RestPredicting
from tfs_client._flows.settings import Settings
from tfs_client._flows.telemetry.masking import Masking
from tfs_client._flows.telemetry.models_log import ModelsLog
from tfs_client._flows.telemetry.retry_log import RetryLog

REST_AGE = 60.0  # seconds for which signatures are cached: REST replies do not name the version that answered
MOST_CALLERS = 64  # callers whose signatures are kept


class SessionFlows:
    """The flows of a client and of those derived from it.

    Args:
        settings: those of the client that was not derived.

    Attributes:
        exchange: makes the calls of all of them.
    """

    # A gateway may choose the model by a header, and another version of it may have other dtypes: over REST, inputs and
    # outputs would be rounded to the wrong ones in silence. So clients share signatures only if they send the same
    # headers. Those of the last callers are kept, also without a client: a service may derive one for every request.

    def __init__(self, settings: Settings) -> None:
        target = settings.connection.target
        self._recorded = settings.recorded()
        self._inner: RestExchange | GrpcExchange = (RestExchange if target.rest else GrpcExchange)(
            RetryLog(Masking(settings.connection))
        )
        self._wrapped = None if self._recorded is None else self._recorded.exchange(self._inner)
        self.exchange: Exchange = self._wrapped or self._inner
        self._settings = settings
        self._models_log = ModelsLog()
        self._large: set[str] = set()  # models with large requests over REST
        self._predicting: dict[Caller, Predicting] = {}  # the last used one at the end
        self._all: WeakSet[KnownSignatures] = WeakSet()  # also those that only a client still uses
        self._start_afresh()
        forks.watch(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # a signal handler may derive a client, too

    def _abandon(self) -> tuple[object, ...]:
        """In a forked process: take a new lock."""
        self._start_afresh()
        return ()

    def of(self, settings: Settings) -> Flows:
        """The flows of a client of this session."""
        caller, target = caller_of(settings.defaults), settings.connection.target
        with self._lock:
            predicting = self._predicting.pop(caller, None) or self._made()
            self._predicting[caller] = predicting
            if len(self._predicting) > MOST_CALLERS:
                del self._predicting[next(iter(self._predicting))]
        replicas = len(target.addresses) > 1
        return Flows(self.exchange, str(target), predicting, settings.observer(), self.forget, replicas=replicas)

    def forget(self) -> None:
        """Forget all fetched signatures, because the server's configuration changed."""
        with self._lock:
            for known in self._all:
                known.forget()

    def _made(self) -> Predicting:
        """Make the predictions of a caller of which nothing is known yet."""
        inner, recorded, settings = self._inner, self._recorded, self._settings
        derived = None if recorded is None else recorded.signatures
        age = REST_AGE if inner.rest else None
        known = KnownSignatures(self.exchange, age, settings.signatures, derived, self._models_log)
        self._all.add(known)
        predict: PredictCall
        if not isinstance(inner, RestExchange):
            predict = inner.send if self._wrapped is None else self._wrapped.send
        else:
            predict = RestPredicting(inner, known, settings.rest_format, self._large).predict
            predict = predict if recorded is None else recorded.predict(predict)
        return Predicting(self.exchange, known, predict)
