"""Predicting over REST: Predict calls as JSON, written and read by the model's signatures."""

from __future__ import annotations

import warnings

from tfs_client._calls.predict import Predict
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.asked import Asked
from tfs_client._flows.exchanges import RestExchange, answered, check_time
from tfs_client._flows.known_signatures import KnownSignatures
from tfs_client._flows.stack_levels import level_of_the_user
from tfs_client._transports.steps import Flow
from tfs_client.errors import CallError, DecodeError, FailedPreconditionError, InvalidArgumentError
from tfs_client.results import Prediction
from tfs_client.signatures import Signatures
from tfs_client.telemetry.logs import log_large_json

LARGE = 1 << 20  # bytes of JSON from which on gRPC is so much faster that the client warns

FORMS = {"auto": None, "row": True, "columnar": False}  # whether requests are in row form; None for the one that fits


class RestPredicting:
    """Predict calls over REST.

    Args:
        exchange: makes calls.
        known: the signatures that the client knows.
        form: "row", "columnar" or "auto".
        large: models with large requests, of which the user was warned.
    """

    # JSON has no dtypes, so signatures decide how a request is written and how its reply is read. Remembered ones may
    # be out of date, and nothing in a reply names the version that answered. What must hold: no value is read by the
    # wrong dtype in silence, and a model that was replaced causes no error.
    #
    # - A request that a remembered signature does not permit is written by a fresh one before an error is raised.
    # - A reply is read by remembered signatures only if it matches them exactly: names, shapes, and how numbers are
    #   spelled. Otherwise fresh signatures are fetched and the reply is read by them. If they turn out to be the same,
    #   the server just spells numbers differently (whole floats without ".0"), and later replies of this model are
    #   read without that check.
    # - In "auto", row form is used where inputs and outputs have a batch axis as far as the signature says. The server
    #   refuses rows whose outputs have no common batch size, after it ran the model. Then the columnar form is used,
    #   from that call on for this model.
    #
    # Where the server has no metadata, requests and replies are written and read without signatures.

    def __init__(self, exchange: RestExchange, known: KnownSignatures, form: str, large: set[str]) -> None:
        self._exchange = exchange
        self._known = known
        self._row = FORMS[form]
        self._columnar: set[ModelSpec] = set()  # models whose outputs do not fit in rows
        self._loose: set[ModelSpec] = set()  # models whose server writes whole floats like integers
        self._large = large

    def predict(self, call: Predict, asked: Asked) -> Flow[Prediction]:
        """Make a Predict call. Raises CallError if the deadline passed before the reply was read."""
        prediction = yield from self._predicted(call, asked)
        check_time(asked)
        return prediction

    def _predicted(self, call: Predict, asked: Asked) -> Flow[Prediction]:
        found = known = self._known.known(asked)
        if known is None or self._known.is_fresh(asked):
            found, known = (yield from self._known.find(asked)), None
        try:
            address, body = self._written(call, found)
        except (InvalidArgumentError, FailedPreconditionError):
            if known is None:
                raise
            found, known = (yield from self._known.fetch(asked)), None
            address, body = self._written(call, found)
        try:
            reply = yield from self._exchange.sent(address, body, asked)
        except InvalidArgumentError as error:
            error.hint = error.hint or ("" if found is None else call.left_out(found))
            if self._row is not None or not _needs_columns(error):
                raise
            self._columnar.add(call.spec)
            reply = yield from self._exchange.sent(*self._written(call, found), asked)
        prediction = yield from self._read(call, reply.body, asked, found, checks=known is not None)
        return answered(prediction, reply, asked)

    def _read(
        self, call: Predict, body: bytes, asked: Asked, found: Signatures | None, *, checks: bool
    ) -> Flow[Prediction]:
        """Read a reply by the signatures; ``checks``: they may be out of date."""
        if found is None:
            return call.read_unsigned(body)
        if not checks or call.spec in self._loose:
            return call.read_rest(body, found)
        try:
            return call.read_rest(body, found, exact=True)
        except DecodeError:  # another version with other outputs may have answered
            fresh = yield from self._known.fetch(asked)
            prediction = call.read_rest(body, fresh)
            if fresh == found:
                self._loose.add(call.spec)
            return prediction

    def _written(self, call: Predict, signatures: Signatures | None) -> tuple[str, bytes]:
        row = False if self._row is None and call.spec in self._columnar else self._row
        address, body = call.write_unsigned(row=row) if signatures is None else call.write_rest(signatures, row=row)
        if len(body) > LARGE:
            self._warn_of_large(call.spec.name, len(body))
        return address, body

    def _warn_of_large(self, model: str, size: int) -> None:
        """Warn once, and log once for each model."""
        if model not in self._large:
            log_large_json(model, size)
        warned = bool(self._large)
        self._large.add(model)
        if not warned:
            warnings.warn(
                f"a request of {size / 1e6:.1f} MB of JSON: gRPC carries the same tensors many times faster, on "
                "the server's gRPC port (usually 8500)",
                UserWarning,
                stacklevel=level_of_the_user(),
            )


def _needs_columns(error: CallError) -> bool:
    """Whether the server ran the model and could not put its outputs in rows (util/json_tensor.cc)."""
    return "has inconsistent batch size" in error.details or "has no shape information" in error.details
