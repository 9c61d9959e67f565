"""Predicting: from the user's inputs to a Prediction, with the model's signature where a call needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.predict import Predict
from tfs_client._codec.containers import refuse_table
from tfs_client._codec.dtypes import Array
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._codec.snapshots import Read, array_of, snapshot
from tfs_client._codec.values import are_arrays, converted, read, read_single
from tfs_client._flows.asked import Asked
from tfs_client._flows.exchanges import Exchange, answered
from tfs_client._flows.known_signatures import REFUSED, KnownSignatures, Values, is_untyped
from tfs_client._transports.steps import Flow, Send
from tfs_client.errors import CallError, EncodeError
from tfs_client.results import Prediction

PredictCall = Callable[[Predict, Asked], Flow[Prediction]]
"""Makes one Predict call."""


class Predicting:
    """The predictions of one client.

    Args:
        exchange: makes calls.
        known: the signatures that the client knows.
        predict: makes one Predict call: ``exchange.send``, or over REST ``RestPredicting.predict``.

    Attributes:
        known: as above.
    """

    def __init__(
        self,
        exchange: Exchange,
        known: KnownSignatures,
        predict: PredictCall,
    ) -> None:
        self._exchange = exchange
        self.known = known
        self._exchanged = predict

    def handed_over(self, inputs: object, asked: Asked) -> object:
        """The inputs of a prediction that runs while its caller continues and may refill its arrays.

        They are copied, unless the request is written before the flow's first step; and those that lie in the request
        itself only if nothing reads it after it was sent.
        """
        if type(inputs) is not dict:
            refuse_table(inputs)
        # Over REST the first step asks for signatures, and inputs that do not fit are written a second time.
        if self._exchange.rest or asked.validate or asked.cast or not are_arrays(inputs):
            return snapshot(inputs)
        if type(inputs) is RequestArrays and (asked.retry is not None or asked.paced or asked.token is not None):
            return dict(inputs)  # to be joined to a request that stays as it is until the last attempt
        return inputs

    # Inputs without a name or a dtype are bound by a signature that may be out of date: the model may have been
    # replaced since. Two rules keep that from causing a wrong answer or a needless error:
    #
    # - Values that do not fit a remembered signature are bound by a fresh one before an error is raised (``bound``).
    # - When the server refuses a request that was bound by a remembered signature, the refusal fetches a fresh one
    #   (``blame``). If that differs, and the inputs get other dtypes by it, the request is made once more; a request
    #   that would be the same is not.

    def predict(self, inputs: object, asked: Asked, outputs: Sequence[str] = ()) -> Flow[Prediction]:
        """Run a model. Inputs without a name or a dtype get it from the signature first."""
        if type(inputs) is not dict:
            refuse_table(inputs)
        values: Values
        if isinstance(inputs, Mapping):
            values = converted(inputs, read)
        else:
            try:
                values = read_single(inputs)
            except EncodeError as error:
                raise EncodeError(f"{yield from self.known.single_input(asked)}: {error}") from error.__cause__
        if isinstance(values, dict) and not asked.cast and not is_untyped(values):
            given = inputs if type(inputs) is RequestArrays else values
            return (yield from self._predict(Predict(asked.spec, given, outputs), asked))
        known = self.known.known(asked)
        bound = yield from self._bound(values, asked)
        try:
            return (yield from self._predict(self._bound_call(asked, values, bound, outputs), asked))
        except REFUSED:
            fresh = self.known.known(asked)  # the signatures that the refused inputs were compared with
            if known is None or fresh is None or fresh == known:
                raise
            again = yield from self._bound(values, asked)
            if is_untyped(again) or _dtypes(again) == _dtypes(bound):  # the server would refuse it again
                raise
        return (yield from self._predict(self._bound_call(asked, values, again, outputs), asked))

    def straight(self, inputs: Mapping[str, object], asked: Asked, outputs: Sequence[str]) -> Flow[Prediction]:
        """Run a model on arrays by name, over gRPC, without ``validate``, ``cast`` and a token.

        ``predict`` in a single generator: one for each of its parts would take longer than reading the reply does.
        """
        if asked.retry is not None and type(inputs) is RequestArrays:
            inputs = dict(inputs)  # they may be filled again before a later attempt
        call = Predict(asked.spec, inputs, outputs)
        send = Send(call.path, call.write(self._exchange.join), asked.deadline, asked.metadata, asked.compression)
        try:
            reply = yield send
        except CallError as error:
            return (yield from self.again(send, call, asked, error))
        if asked.retry is not None:
            self._exchange.retries.budget(asked.retry).succeeded()
        prediction = call.read(reply.body)
        reply.request_id, prediction._facts = asked.request_id, reply
        self.known.follow(prediction)
        return prediction

    def again(self, send: Send, call: Predict, asked: Asked, failed: CallError) -> Flow[Prediction]:
        """Continue a prediction whose first attempt failed."""
        attempts = self._exchange.again(send, asked, failed)
        del failed  # otherwise it would live, with everything that it refers to, until the next garbage collection
        try:
            reply = yield from attempts
        except CallError as error:
            yield from self._refused(error, call, asked)
            raise
        prediction = answered(call.read(reply.body), reply, asked)
        self.known.follow(prediction)
        return prediction

    def _predict(self, call: Predict, asked: Asked) -> Flow[Prediction]:
        """Run a model on inputs that have their names and dtypes."""
        if asked.validate:
            yield from self.known.validated(call, asked)
        try:
            prediction = yield from self._exchanged(call, asked)
        except CallError as error:
            yield from self._refused(error, call, asked)
            raise
        self.known.follow(prediction)
        return prediction

    def _bound(self, values: Values, asked: Asked) -> Flow[dict[str, Read]]:
        try:
            return (yield from self.known.bound(values, asked))
        except CallError as error:  # a missing model is noticed while its signature is fetched, before the call itself
            error.method = Predict.method
            raise

    def _bound_call(self, asked: Asked, values: Values, bound: dict[str, Read], outputs: Sequence[str]) -> Predict:
        """A call on inputs that got their dtypes from a signature.

        Over REST an outdated signature would go unnoticed: JSON numbers have no width, so a server that now expects
        float64 would accept digits that were rounded to float32. So floats are written with their original digits.
        """
        return Predict(asked.spec, bound, outputs, _unrounded(values, bound) if self._exchange.rest else None)

    def _refused(self, error: CallError, call: Predict, asked: Asked) -> Flow[None]:
        """Complete the error of a failed prediction, and doubt the signatures.

        When the server blames the inputs, they are compared with fresh signatures; the difference is the error's hint.
        """
        error.request_id = asked.request_id
        if error.method == GetModelMetadata.method:  # over REST a missing model is noticed before the call itself
            error.method = call.method
            return
        if isinstance(error, REFUSED) and not error.hint:
            error.hint = yield from self.known.blame(call, asked)
            known = self.known.known(asked)
            error.mismatch = bool(error.hint and known is not None and call.blame(known, any_rows=True))
        self.known.doubt(error, asked)


def _unrounded(values: Values, bound: Mapping[str, Read]) -> dict[str, Array]:
    """The original values of those inputs that became narrower floats."""
    given = values if isinstance(values, dict) else dict.fromkeys(bound, values)
    found = {}
    for alias, array in bound.items():
        before = array_of(given[alias])
        narrow = isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.dtype.itemsize < 8
        if narrow and (before.dtype.kind == "O" or before.dtype.itemsize == 8):
            found[alias] = before.astype(np.float64)
    return found


def _dtypes(values: Mapping[str, Read]) -> dict[str, object]:
    return {alias: array_of(value).dtype for alias, value in values.items()}
