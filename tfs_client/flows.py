"""Flows: what calls do, step by step, the same for every calling style and transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from tfs_client.calls import BlamableCall, RestCall
from tfs_client.calls.health import CheckHealth
from tfs_client.calls.metadata import GetModelMetadata
from tfs_client.calls.predict import Predict
from tfs_client.calls.status import GetModelStatus
from tfs_client.codec.containers import refuse_table
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.codec.snapshots import snapshot
from tfs_client.codec.values import Array, Untyped, are_arrays, converted, read, read_single
from tfs_client.defaults import Asked, described
from tfs_client.errors import (
    CallError,
    DeadlineExceededError,
    EncodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from tfs_client.exchanges import Exchange
from tfs_client.known_signatures import REFUSED, KnownSignatures, is_untyped, named
from tfs_client.results import Health, ModelStatus, Prediction, Reload
from tfs_client.signatures import Signatures
from tfs_client.steps import Flow, Send, Sleep

if TYPE_CHECKING:
    from tfs_client.model_config import ModelServerConfig

Result = TypeVar("Result")

POLL_INTERVAL = 0.1  # seconds between two looks at a server that is not ready
NOT_YET = (UnavailableError, NotFoundError)  # what a server that is starting says


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
    """The flows of one client, which share what is known of signatures.

    Args:
        exchange: how calls are made.
        target: for error texts.
        known: what is known of the signatures of models.
    """

    def __init__(self, exchange: Exchange, target: str, known: KnownSignatures) -> None:
        self.exchange = exchange
        self._target = target
        self._known = known
        self.follow = known.follow

    def handed_over(self, inputs: Any, asked: Asked) -> Any:
        """The inputs of a prediction that goes on while its caller does, and may refill its arrays: copies, unless
        the request is written before anything is waited for.
        """
        if type(inputs) is not dict:
            refuse_table(inputs)
        # Over REST signatures come first, and what does not fit is written a second time.
        at_once = not (self.exchange.rest or asked.validate or asked.cast) and are_arrays(inputs)
        return inputs if at_once else snapshot(inputs)

    def predict(self, inputs: Any, asked: Asked, outputs: Sequence[str] = ()) -> Flow[Prediction]:
        """Run a model; what has no name or no dtype gets it from the signature first.

        Values are taken by the signature as it was last seen; when that no longer holds, by the one that does.
        """
        if type(inputs) is not dict:
            refuse_table(inputs)
        if isinstance(inputs, Mapping):
            values: Any = converted(inputs, read)
        else:
            try:
                values = read_single(inputs)
            except EncodeError as error:
                raise EncodeError(f"{yield from self._known.single_input(asked)}: {error}") from error.__cause__
        if isinstance(values, dict) and not asked.cast and not is_untyped(values):
            return (yield from self._predict(Predict(asked.spec, values, outputs), asked))
        known = self._known.known(asked)
        bound = yield from self._bound(values, asked)
        try:
            return (yield from self._predict(self._bound_call(asked, values, bound, outputs), asked))
        except REFUSED:
            fresh = self._known.known(asked)  # what the refusal was compared with
            if known is None or fresh is None or fresh == known:
                raise
            again = yield from self._bound(values, asked)
            if is_untyped(again) or _dtypes(again) == _dtypes(bound):  # it would be refused again
                raise
        return (yield from self._predict(self._bound_call(asked, values, again, outputs), asked))

    def _predict(self, call: Predict, asked: Asked) -> Flow[Prediction]:
        """Run a model on inputs that are as they are to be sent."""
        if asked.validate:
            yield from self._known.validated(call, asked)
        try:
            prediction = yield from self.exchange.predict(call, asked, self._known)
        except CallError as error:
            yield from self.refused(error, call, asked)
            raise
        self.follow(prediction)
        return prediction

    def _bound_call(self, asked: Asked, values: Any, bound: dict[str, Any], outputs: Sequence[str]) -> Predict:
        """A call on inputs that got their dtypes from a signature.

        Over REST that may be an old one, and nobody would notice: JSON has no widths, so a server that wants float64
        takes digits that were rounded to float32. There floats are written as they were given.
        """
        return Predict(asked.spec, bound, outputs, _unrounded(values, bound) if self.exchange.rest else None)

    def _bound(self, values: Any, asked: Asked) -> Flow[dict[str, Any]]:
        try:
            return (yield from self._known.bound(values, asked))
        except CallError as error:  # over gRPC too, a model that is not there shows before the call
            error.method = Predict.method
            raise

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
        """A prediction failed: doubt the signatures, and compare the inputs with fresh ones where they are blamed."""
        error.request_id = asked.request_id
        if error.method == GetModelMetadata.method:  # the model is not there: over REST that shows before the call
            error.method = call.method
            return
        if isinstance(error, REFUSED) and not error.hint:
            error.hint = yield from self._known.blame(call, asked)
            known = self._known.known(asked)
            error.mismatch = bool(error.hint and known is not None and call.blame(known, any_rows=True))
        self._known.doubt(error, asked)

    def on_examples(self, call: BlamableCall[Result], asked: Asked) -> Flow[Result]:
        """Classify or regress."""
        try:
            return (yield from self.exchange.send(call, asked))
        except CallError as error:
            error.request_id = asked.request_id
            if isinstance(error, REFUSED) and not error.hint:
                error.hint = yield from self._known.blame(call, asked)
            raise

    def send(self, call: RestCall[Result], asked: Asked) -> Flow[Result]:
        """A call that is nothing but itself."""
        with named(asked):
            return (yield from self.exchange.send(call, asked))

    def signatures(self, asked: Asked) -> Flow[Signatures]:
        """The model's signatures, from the server."""
        with named(asked):
            return (yield from self._known.fetch(asked))

    def health(self, service: str, asked: Asked) -> Flow[Health]:
        """What the health service says."""
        return self.send(CheckHealth(service), asked)

    def is_ready(self, asked: Asked) -> Flow[bool]:
        """Whether the model answers calls."""
        with named(asked):  # a probe does not wait, whatever the retry policy says
            return not (yield from self._not_ready(asked, wait_for_ready=False))

    def wait_until_ready(self, asked: Asked) -> Flow[None]:
        """Look until the model answers calls, or the time is over."""
        reason = NO_ANSWER
        with named(asked):
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

        with named(asked):
            result: Reload = yield from self.exchange.send(ReloadConfig(config, metrics), asked)
            self._known.forget()
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

    def _not_ready(self, asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[_NotReady | None]:
        """Why the model cannot answer yet; None when it can."""
        try:
            spec = asked.spec
            if spec.label is not None:  # the status call knows no labels, the metadata call does
                if self._known.stated(asked) is None:
                    yield from self._known.fetch(asked, wait_for_ready=wait_for_ready)
                    return None
                spec = asked.unlabelled().spec
            call = GetModelStatus(spec)
            status: ModelStatus = yield from self.exchange.send(call, asked, wait_for_ready=wait_for_ready)
        except DeadlineExceededError as error:
            return _NotReady.of(error) if error.unreached else NO_ANSWER
        except NOT_YET as error:
            return _NotReady.of(error)
        except InvalidArgumentError as error:
            if asked.spec.label is None:
                raise
            return _NotReady(error.details)  # a label that the server does not know yet
        if status.ready:
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


def _unrounded(values: Any, bound: Mapping[str, Any]) -> dict[str, Array]:
    """Of the inputs that became narrower floats, what they were before."""
    given = values if isinstance(values, Mapping) else dict.fromkeys(bound, values)
    found = {}
    for alias, array in bound.items():
        value = given[alias]
        before = value.array if isinstance(value, Untyped) else value
        narrow = isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.dtype.itemsize < 8
        if narrow and (before.dtype.kind == "O" or before.dtype.itemsize == 8):
            found[alias] = before.astype(np.float64)
    return found


def _dtypes(values: Mapping[str, Any]) -> dict[str, Any]:
    return {alias: value.dtype for alias, value in values.items()}
