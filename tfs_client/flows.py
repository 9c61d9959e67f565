"""Flows: what calls do, step by step, the same for every calling style and transport."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tfs_client.calls import BlamableCall, RestCall
from tfs_client.calls.health import CheckHealth
from tfs_client.calls.metadata import GetModelMetadata
from tfs_client.calls.predict import Predict
from tfs_client.calls.status import GetModelStatus
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.defaults import Asked, described
from tfs_client.errors import (
    CallError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    SignatureError,
    UnavailableError,
)
from tfs_client.exchanges import Exchange
from tfs_client.results import Health, ModelStatus, Prediction, Reload
from tfs_client.signatures import DEFAULT_SIGNATURE, Signatures
from tfs_client.steps import Flow, Send, Sleep

if TYPE_CHECKING:
    from tfs_client.model_config import ModelServerConfig

Result = TypeVar("Result")

BLAME_TIMEOUT = 2.0  # seconds for asking what a refused request should have looked like
POLL_INTERVAL = 0.1  # seconds between two looks at a server that is not ready
REST_AGE = 60.0  # seconds; REST replies do not say which version answered, so signatures are asked for anew after these
NOT_YET = (UnavailableError, NotFoundError)  # what a server that is starting says
REFUSED = (InvalidArgumentError, FailedPreconditionError)


class _NotReady(NamedTuple):
    """Why a model cannot answer yet."""

    text: str
    unreached: bool = False
    late: bool = False  # the time of a look was over

    @classmethod
    def of(cls, error: CallError) -> _NotReady:
        """Why it cannot, as a failed look at it says."""
        late = isinstance(error, DeadlineExceededError)
        return cls(f"{error.details} {error.hint}".strip(), error.unreached, late)


NO_ANSWER = _NotReady("no server answered", late=True)


class Flows:
    """The flows of one client, which remember the signatures they have seen.

    Args:
        exchange: how calls are made.
        target: for error texts.
        age: seconds for which signatures may be used without a look; None where replies tell the version.
    """

    def __init__(self, exchange: Exchange, target: str, age: float | None = None) -> None:
        self.exchange = exchange
        self._target = target
        self._age = age
        self._signatures: dict[Any, tuple[Signatures, float]] = {}  # by model, version and label; when they were seen

    def predict(self, inputs: Any, asked: Asked, outputs: Sequence[str] = ()) -> Flow[Prediction]:
        """Run a model; a single value gets its name and dtype from the signature first."""
        if type(inputs) is not dict and not isinstance(inputs, Mapping):
            return (yield from self._predict_bare(inputs, asked, outputs))
        call = Predict(asked.spec, inputs, outputs)
        if asked.validate:
            yield from self._validated(call, asked)
        try:
            prediction = yield from self.exchange.predict(call, asked, self)
        except CallError as error:
            yield from self.refused(error, call, asked)
            raise
        self.follow(prediction)
        return prediction

    def again(self, send: Send, call: Predict, asked: Asked, failed: CallError) -> Flow[Prediction]:
        """Go on with a prediction whose first attempt failed."""
        attempts = self.exchange.again(send, asked, failed)
        del failed  # else it would live, with all that it refers to, until the next garbage collection
        try:
            reply = yield from attempts
        except CallError as error:
            yield from self.refused(error, call, asked)
            raise
        prediction = call.read(reply)
        self.follow(prediction)
        return prediction

    def refused(self, error: CallError, call: Predict, asked: Asked) -> Flow[None]:
        """A prediction failed: forget the signatures, and compare the inputs with fresh ones where they are blamed."""
        error.request_id = asked.request_id
        if error.method == GetModelMetadata.method:  # the model is not there: over REST that shows before the call
            error.method = call.method
            return
        if isinstance(error, REFUSED) and not error.hint:
            error.hint = yield from self._blame(call, asked)
            known = self.known(asked)
            error.mismatch = bool(error.hint and known and call.blame(known, any_rows=True))
        if self._seen(asked) < asked.deadline.started:
            self._signatures.pop(_key(asked.spec), None)  # perhaps the model changed: ask anew

    def follow(self, prediction: Prediction) -> None:
        """Forget signatures of a version that no longer answers."""
        if self._signatures:
            spec, version = prediction.asked, prediction.model.version
            known, _ = self._signatures.get(_key(spec), (None, 0.0))
            if known is not None and version is not None and known.version not in (None, version):
                self._signatures.pop(_key(spec), None)

    def _predict_bare(self, values: Any, asked: Asked, outputs: Sequence[str]) -> Flow[Prediction]:
        """A single value goes by the signature as it was last seen; when that no longer holds, by the one that does."""
        known = self.known(asked)
        inputs = yield from self._bound(values, asked)
        try:
            return (yield from self.predict(inputs, asked, outputs))
        except REFUSED:
            fresh = self.known(asked)  # what the refusal was compared with
            if known is None or fresh is None or fresh == known:
                raise
        return (yield from self.predict((yield from self._bound(values, asked)), asked, outputs))

    def on_examples(self, call: BlamableCall[Result], asked: Asked) -> Flow[Result]:
        """Classify or regress."""
        try:
            return (yield from self.exchange.send(call, asked))
        except CallError as error:
            error.request_id = asked.request_id
            if isinstance(error, REFUSED) and not error.hint:
                error.hint = yield from self._blame(call, asked)
            raise

    def send(self, call: RestCall[Result], asked: Asked) -> Flow[Result]:
        """A call that is nothing but itself."""
        with _named(asked):
            return (yield from self.exchange.send(call, asked))

    def signatures(self, asked: Asked) -> Flow[Signatures]:
        """The model's signatures, from the server."""
        with _named(asked):
            return (yield from self.fetch(asked))

    def health(self, service: str, asked: Asked) -> Flow[Health]:
        """What the health service says."""
        return self.send(CheckHealth(service), asked)

    def is_ready(self, asked: Asked) -> Flow[bool]:
        """Whether the model answers calls."""
        with _named(asked):  # a probe does not wait, whatever the retry policy says
            return not (yield from self._not_ready(asked, wait_for_ready=False))

    def wait_until_ready(self, asked: Asked) -> Flow[None]:
        """Look until the model answers calls, or the time is over."""
        reason = NO_ANSWER
        with _named(asked):
            while found := (yield from self._not_ready(asked, wait_for_ready=True)):
                if not found.late or reason is NO_ANSWER:  # the last look has little time: an earlier one saw more
                    reason = found
                if asked.deadline.passed():
                    limit = asked.deadline.limit
                    late = DeadlineExceededError(
                        f"{described(asked.spec)} at {self._target} was not ready within {limit:g} s: {reason.text}",
                        GetModelStatus.method,
                    )
                    late.unreached = reason.unreached
                    raise late
                yield Sleep(min(POLL_INTERVAL, asked.deadline.remaining() or POLL_INTERVAL))

    def reload(self, config: ModelServerConfig, metrics: Sequence[str], asked: Asked, *, wait: bool) -> Flow[Reload]:
        """Replace the server's configuration; with ``wait``, until all of it is served."""
        from tfs_client.calls.reload import ReloadConfig

        with _named(asked):
            result: Reload = yield from self.exchange.send(ReloadConfig(config, metrics), asked)
            self._signatures.clear()
            if wait:
                yield from self._until_served(config, asked)
        return result

    def _until_served(self, config: ModelServerConfig, asked: Asked) -> Flow[None]:
        """Look until every model is served as configured, or the time is over."""
        missing: dict[str, str] = {}
        while True:
            try:
                missing = yield from self._missing(config, asked)
            except DeadlineExceededError:  # the last look has little time: what an earlier one saw says more
                missing = missing or {"its models": "no status came in time"}
            if not missing:
                return
            if asked.deadline.passed():
                raise DeadlineExceededError(
                    f"{self._target} took the configuration, but within {asked.deadline.limit:g} s did not serve "
                    + "; ".join(f"{name}: {why}" for name, why in missing.items()),
                    "HandleReloadConfigRequest",
                )
            yield Sleep(min(POLL_INTERVAL, asked.deadline.remaining() or POLL_INTERVAL))

    def known(self, asked: Asked) -> Signatures | None:
        """The signatures that were seen before and may still hold."""
        signatures, seen = self._signatures.get(_key(asked.spec), (None, 0.0))
        if signatures is not None and self._age is not None and time.monotonic() - seen > self._age:
            return None
        return signatures

    def fetch(self, asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[Signatures]:
        """The signatures that hold now, asked from the server and remembered."""
        call = GetModelMetadata(replace(asked.spec, signature=""))
        found: Signatures = yield from self.exchange.send(call, asked, wait_for_ready=wait_for_ready)
        self._signatures[_key(asked.spec)] = found, time.monotonic()
        return found

    def _bound(self, values: Any, asked: Asked) -> Flow[dict[str, Any]]:
        """A single value by the name, and in the dtype, that the model's signature has for it."""
        name = asked.spec.signature or DEFAULT_SIGNATURE
        if known := self.known(asked):
            with suppress(SignatureError):  # perhaps the model changed: only fresh signatures can tell
                return known.named(name).bind(values)
        with _named(asked):
            return (yield from self.fetch(asked)).named(name).bind(values)

    def _validated(self, call: Predict, asked: Asked) -> Flow[None]:
        """Raise SignatureError for inputs that do not fit the signature."""
        known = self.known(asked)
        if known is not None and not call.blame(known):
            return
        with _named(asked):
            fresh = yield from self.fetch(asked)
        if difference := call.blame(fresh):
            error = SignatureError(f"the inputs do not fit {described(asked.spec)}. {difference}")
            error.mismatch = bool(call.blame(fresh, any_rows=True))
            raise error

    def _blame(self, call: Predict | BlamableCall[Any], asked: Asked) -> Flow[str]:
        """What the model's signature says to a request that the server refused; empty when it says nothing."""
        with suppress(Exception):  # the refusal is what counts, and a token's function may fail too
            if self._seen(asked) >= asked.deadline.started:
                return call.blame(self._signatures[_key(asked.spec)][0])
            if not asked.deadline.passed():
                soon = asked._replace(deadline=asked.deadline.sooner(BLAME_TIMEOUT))
                return call.blame((yield from self.fetch(soon)))
        return ""

    def _seen(self, asked: Asked) -> float:
        """When the signatures of the call's model were last asked for."""
        return self._signatures.get(_key(asked.spec), (None, 0.0))[1]

    def _not_ready(self, asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[_NotReady | None]:
        """Why the model cannot answer yet; None when it can."""
        try:
            if asked.spec.label is not None:  # the status call knows no labels, the metadata call does
                yield from self.fetch(asked, wait_for_ready=wait_for_ready)
                return None
            call = GetModelStatus(asked.spec)
            status: ModelStatus = yield from self.exchange.send(call, asked, wait_for_ready=wait_for_ready)
        except DeadlineExceededError as error:
            return _NotReady.of(error) if error.unreached else NO_ANSWER
        except NOT_YET as error:
            return _NotReady.of(error)
        except InvalidArgumentError as error:
            if asked.spec.label is None:
                raise
            return _NotReady(error.details)  # a label that the server does not know yet
        if status.available:
            return None
        return _NotReady("; ".join(map(str, status.versions)) or "it has no versions")

    def _missing(self, config: ModelServerConfig, asked: Asked) -> Flow[dict[str, str]]:
        """Which models of a configuration are not served as it says, and why. Raises for those that never will be."""
        from tfs_client.calls.reload import ReloadConfig, failed, pending

        statuses: dict[str, ModelStatus | None] = {}
        for model in config:
            try:
                call = GetModelStatus(ModelSpec(model.name))
                statuses[model.name] = yield from self.exchange.send(call, asked)
            except NOT_YET:
                statuses[model.name] = None
        if broken := failed(config, statuses):
            raise FailedPreconditionError(
                "the server took the configuration, but could not load "
                + "; ".join(f"{name}: {why}" for name, why in broken.items()),
                ReloadConfig.method,
            )
        return pending(config, statuses)


@contextmanager
def _named(asked: Asked) -> Iterator[None]:
    """Puts the call's request id on its error."""
    try:
        yield
    except CallError as error:
        error.request_id = asked.request_id
        raise


def _key(spec: ModelSpec) -> tuple[str, int | None, str | None]:
    return spec.name, spec.version, spec.label
