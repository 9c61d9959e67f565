"""Flows: what the calls of one client do, as generators of steps. The same for every calling style and transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from tfs_client._calls import BlamableCall, RestCall
from tfs_client._calls.health import CheckHealth
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.predict import Predict
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._flows.asked import Asked
from tfs_client._flows.exchanges import Exchange
from tfs_client._flows.known_signatures import REFUSED, named
from tfs_client._flows.predicting import Predicting
from tfs_client._flows.readiness import Readiness
from tfs_client._flows.reloading import Reloading
from tfs_client._flows.telemetry.observing import Observer, rows_of
from tfs_client._transports.steps import Flow
from tfs_client.errors import CallError, NotFoundError, UnimplementedError, take_facts
from tfs_client.results import Health, Prediction, Reload
from tfs_client.signatures import DEFAULT_SIGNATURE, Signatures, TensorSpec
from tfs_client.telemetry.records import Batch

if TYPE_CHECKING:
    from tfs_client.model_config import ModelServerConfig

Result = TypeVar("Result")

Stated = TensorSpec | tuple[Sequence[int], Any]
"""The dtype and shape of an input."""


class Flows:
    """The flows of one client.

    Calls that are a single exchange are methods here; the others come from their modules.

    Args:
        exchange: makes calls.
        target: the server, for error texts.
        predicting: makes predictions, and has the signatures that the client knows.
        observer: watches the calls.
        forget: forgets the signatures of the session's clients, because the server's configuration changed.
        replicas: whether the target is a list of servers.
    """

    def __init__(
        self,
        exchange: Exchange,
        target: str,
        predicting: Predicting,
        observer: Observer,
        forget: Callable[[], None],
        *,
        replicas: bool = False,
    ) -> None:
        self.exchange = exchange
        self._target = target
        self._known = known = predicting.known
        self.follow = known.follow
        self._predicting = predicting
        self._observer = observer
        self.again = predicting.again
        self.straight = predicting.straight
        self.handed_over = predicting.handed_over
        self._readiness = Readiness(exchange, known, target, replicas=replicas)
        self._reloading = Reloading(exchange, forget, target)

    # Each call is a method that gives its flow to the observer, which does nothing unless something watches.

    def predict(
        self, inputs: object, asked: Asked, outputs: Sequence[str] = (), batch: Batch | None = None
    ) -> Flow[Prediction]:
        """Run a model; ``batch``: what the inputs are a part of. See ``Predicting.predict``."""
        if not self._observer.watching:
            return self._predicting.predict(inputs, asked, outputs)
        rows = rows_of(inputs) if batch is None else batch.examples
        return self._observer.observed(
            lambda asked: self._predicting.predict(inputs, asked, outputs), Predict.method, asked, rows, batch
        )

    def is_ready(self, asked: Asked) -> Flow[bool]:
        """Whether the model answers calls."""
        return self._observed(self._readiness.is_ready, self._readiness.method(asked), asked)

    def wait_until_ready(self, asked: Asked) -> Flow[None]:
        """Poll until the model answers calls."""
        return self._observed(self._readiness.wait_until_ready, self._readiness.method(asked), asked)

    def reload(self, config: ModelServerConfig, metrics: Sequence[str], asked: Asked, *, wait: bool) -> Flow[Reload]:
        """Replace the server's configuration."""
        return self._observed(
            lambda asked: self._reloading.reload(config, metrics, asked, wait=wait), Reloading.method, asked
        )

    def on_examples(self, call: BlamableCall[Result], asked: Asked) -> Flow[Result]:
        """Classify or regress."""
        return self._observed(
            lambda asked: self._on_examples(call, asked), call.method, asked, lambda: rows_of(call.examples)
        )

    def send(self, call: RestCall[Result], asked: Asked) -> Flow[Result]:
        """Make a call that needs no signatures."""
        return self._observed(lambda asked: self._send(call, asked), call.method, asked)

    def signatures(self, asked: Asked, *, from_server: bool) -> Flow[Signatures]:
        """Fetch the model's signatures from the server; those that the user stated only if not ``from_server``."""
        return self._observed(
            lambda asked: self._signatures(asked, from_server=from_server), GetModelMetadata.method, asked
        )

    def empty(
        self,
        inputs: Mapping[str, Stated] | None,
        rows: int | None,
        asked: Asked,
        outputs: Sequence[str],
    ) -> Flow[RequestArrays]:
        """Make the arrays of a request, by the signature if the user does not state them."""
        from tfs_client._flows import request_shapes  # few programs need it

        count = request_shapes.checked_rows(rows)
        if inputs is None:
            found = self._known.known(asked)
            if found is None:
                found = yield from self.signatures(asked, from_server=False)
            shapes = request_shapes.signature_shapes(found.named(asked.spec.signature or DEFAULT_SIGNATURE), count)
        else:
            shapes = request_shapes.stated_shapes(inputs, count)
        return RequestArrays(asked.spec, shapes, outputs)

    def _observed(
        self,
        make: Callable[[Asked], Flow[Result]],
        method: str,
        asked: Asked,
        rows: Callable[[], int | None] = lambda: None,
    ) -> Flow[Result]:
        return self._observer.observed(make, method, asked, rows()) if self._observer.watching else make(asked)

    def _on_examples(self, call: BlamableCall[Result], asked: Asked) -> Flow[Result]:
        try:
            return (yield from self.exchange.send(call, asked))
        except CallError as error:
            error.request_id = asked.request_id
            if isinstance(error, REFUSED) and not error.hint:
                error.hint = yield from self._known.blame(call, asked)
            raise

    def _send(self, call: RestCall[Result], asked: Asked) -> Flow[Result]:
        with named(asked):
            return (yield from self.exchange.send(call, asked))

    def _signatures(self, asked: Asked, *, from_server: bool) -> Flow[Signatures]:
        with named(asked):
            if from_server and self._known.stated(asked) is not None:
                return (yield from self.exchange.send(GetModelMetadata(replace(asked.spec, signature="")), asked))
            return (yield from self._known.fetch(asked, requested=True))

    def health(self, service: str, asked: Asked) -> Flow[Health]:
        """Ask the health service."""
        return self.send(CheckHealth(service), asked)

    def models(self, asked: Asked) -> Flow[tuple[str, ...]]:
        """List the names of the server's models."""
        from tfs_client._calls.served_models import ListModels

        return self._of_our_server(ListModels(), asked, "list its models")

    def current_config(self, asked: Asked) -> Flow[ModelServerConfig]:
        """Fetch the server's configuration."""
        from tfs_client._calls.served_models import GetConfig

        return self._of_our_server(GetConfig(), asked, "report its configuration")

    def _of_our_server(self, call: RestCall[Result], asked: Asked, what: str) -> Flow[Result]:
        """Make a call that TensorFlow Serving does not have."""
        return self._observed(lambda asked: self._sent_to_ours(call, asked, what), call.method, asked)

    def _sent_to_ours(self, call: RestCall[Result], asked: Asked, what: str) -> Flow[Result]:
        try:
            return (yield from self._send(call, asked))
        except (UnimplementedError, NotFoundError) as error:  # a server without the call: over gRPC, and over REST
            if self.exchange.rest and isinstance(error, UnimplementedError):  # REST itself does not have it
                raise
            text = f"{self._target} does not {what}: tfs-serve does, TensorFlow Serving does not"
            missing = UnimplementedError(text, call.method)
            take_facts(missing, error)
            missing.http_status = error.http_status
            raise missing from error
