"""Predict: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from tfs_client.codec import predict
from tfs_client.codec.dtypes import row_of
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.codec.values import Array, Untyped, as_array, converted, read
from tfs_client.errors import (
    DecodeError,
    EncodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    SignatureError,
    unreadable,
)
from tfs_client.results import Prediction
from tfs_client.shown import listed
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature, Signatures, takes_strings


class Predict:
    """One Predict call (tensorflow_serving/apis/prediction_service.proto)."""

    __slots__ = ("_inputs", "_outputs", "_started", "_unrounded", "_written", "spec")

    path = "/tensorflow.serving.PredictionService/Predict"
    method = "Predict"

    def __init__(
        self,
        spec: ModelSpec,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] = (),
        unrounded: Mapping[str, Array] | None = None,
    ) -> None:
        self.spec = spec
        self._inputs = inputs
        self._outputs = outputs
        self._unrounded = unrounded  # floats as they were before they got their dtype; JSON has no widths
        self._started = self._written = 0.0

    def arrays(self) -> dict[str, Array]:
        """The inputs as arrays. Raises EncodeError, naming the input, for values that are no tensor."""
        return converted(self._inputs, as_array)

    def write(self, join: predict.Join = predict.plain_join) -> bytes:
        """The request. Raises EncodeError, naming the input, for values that are no tensor."""
        self._started = perf_counter()
        self._inputs = arrays = self.arrays()  # ``blame`` compares what was sent, whatever became of the mapping
        request = predict.write_request(self.spec, arrays, self._outputs, join=join)
        self._written = perf_counter()
        return request

    def blame(self, signatures: Signatures, *, any_rows: bool = False) -> str:
        """What is wrong with the inputs, or with the signature's name, as far as the model's signatures tell.

        ``any_rows`` leaves out what another number of rows would mend.
        """
        name = self.spec.signature or DEFAULT_SIGNATURE
        if name not in signatures:
            return f"The model has the signatures {listed(sorted(signatures))}."
        signature = signatures[name]
        if difference := signature.mismatch(self.arrays(), any_rows=any_rows):
            return f"By its signature, {difference}.{self._about_examples(signature)}"
        unknown = [alias for alias in self._outputs if alias not in signature.outputs]
        return f"The signature has the outputs {listed(sorted(signature.outputs))}." if unknown else ""

    def read(self, reply: bytes) -> Prediction:
        """The outputs, as views of the reply where its encoding allows. Raises DecodeError."""
        arrived = perf_counter()
        try:
            spec, outputs = predict.read_response(reply)
        except Exception as error:
            raise self._unreadable(error) from error.__cause__
        return self._prediction(outputs, spec, arrived)

    def write_rest(self, signatures: Signatures, *, row: bool | None = None) -> tuple[str, bytes]:
        """The request over REST.

        JSON carries no dtypes, the server takes extra names in silence, and it knows no filter of outputs: so what
        the server checks over gRPC is checked here.

        Args:
            signatures: those of the model.
            row: in row form, or in columnar form; None takes the row form where it fits the inputs, and the outputs
                as far as the signature tells.

        Raises EncodeError for values that are no tensor, or that REST cannot carry; FailedPreconditionError for an
        unknown signature; InvalidArgumentError for wrong names and dtypes.
        """
        from tfs_client.codec import rest_json, rest_messages  # here and below: few call over REST

        self._started = perf_counter()
        name = self.spec.signature or DEFAULT_SIGNATURE
        if name not in signatures:
            raise FailedPreconditionError(f'Serving signature key "{name}" not found.', self.method)
        arrays, signature = self.arrays(), signatures[name]
        self._check(arrays, signature)
        fits = rest_json.fits_rows(arrays)
        if row and not fits:
            raise _no_rows(arrays)
        body = rest_json.write_request(
            arrays | dict(self._unrounded or {}),
            self.spec.signature,
            row=fits and _gives_rows(signature) if row is None else row,
        )
        self._written = perf_counter()
        return f"POST {rest_messages.path(self.spec, ':predict')}", body

    def read_rest(self, reply: bytes, signatures: Signatures, *, exact: bool = False) -> Prediction:
        """The outputs, by the dtypes of the signature; ``exact`` as in ``rest_json.read_reply``. Raises DecodeError."""
        from tfs_client.codec import rest_json

        arrived = perf_counter()
        signature = signatures.named(self.spec.signature or DEFAULT_SIGNATURE)
        try:
            outputs = rest_json.read_reply(
                reply, {alias: (spec.row, spec.shape) for alias, spec in signature.outputs.items()}, exact=exact
            )
        except Exception as error:
            raise self._unreadable(error) from error.__cause__
        return self._answered(outputs, arrived)

    def write_unsigned(self, *, row: bool | None = None) -> tuple[str, bytes]:
        """The request over REST to a server that has no metadata: names and dtypes are as the caller gave them.

        ``row`` as in ``write_rest``; None takes the row form where it fits the inputs. Raises EncodeError.
        """
        from tfs_client.codec import rest_json, rest_messages

        self._started = perf_counter()
        # JSON numbers have no width: what a tensor would round stays as it is.
        arrays = converted(self._inputs, _exact)
        fits = rest_json.fits_rows(arrays)
        if row and not fits:
            raise _no_rows(arrays)
        body = rest_json.write_request(arrays, self.spec.signature, row=fits if row is None else row)
        self._written = perf_counter()
        return f"POST {rest_messages.path(self.spec, ':predict')}", body

    def read_unsigned(self, reply: bytes) -> Prediction:
        """The outputs as far as the reply itself says what they are (``codec.rest_unsigned``). Raises DecodeError."""
        from tfs_client.codec import rest_unsigned

        arrived = perf_counter()
        try:
            outputs = rest_unsigned.read_reply(reply)
        except Exception as error:
            raise self._unreadable(error) from error.__cause__
        if missing := [alias for alias in self._outputs if alias not in outputs]:
            raise SignatureError(
                f"expected the outputs {', '.join(self._outputs)}, got {listed(outputs)}; without metadata from the "
                f"server, {missing[0]!r} cannot be identified: leave out outputs=, or pass the signatures with "
                "signatures="
            )
        return self._answered(outputs, arrived)

    def left_out(self, signatures: Signatures) -> str:
        """What to do about inputs that were left to their defaults, which REST does not know; empty without them."""
        signature = signatures.named(self.spec.signature or DEFAULT_SIGNATURE)
        missing = sorted(alias for alias in signature.optional if alias not in self._inputs)
        names = ", ".join(map(repr, missing))
        return f"Over REST inputs have no defaults: send {names} too, or use gRPC." if missing else ""

    def _check(self, arrays: Mapping[str, Array], signature: Signature) -> None:
        from tfs_client.codec import rest_json

        for alias, array in arrays.items():
            rest_json.check_carried(row_of(array.dtype), f"input {alias!r}")
            if alias not in signature.inputs:
                raise InvalidArgumentError(f"the signature has no input {alias!r}", self.method)
            want, got = signature.inputs[alias].row, row_of(array.dtype)
            if want is not got:
                raise InvalidArgumentError(
                    f"expected input {alias!r} of dtype {want.name}, got {got.name}", self.method
                )
        for index, alias in enumerate(self._outputs):
            if alias not in signature.outputs:
                raise InvalidArgumentError(f"the signature has no output {alias!r}", self.method)
            if alias in self._outputs[:index]:
                raise InvalidArgumentError(f"duplicate output tensor alias: {alias}", self.method)
        for alias, spec in signature.outputs.items():
            rest_json.check_carried(spec.row, f"output {alias!r}")

    def _answered(self, outputs: Mapping[str, Array], arrived: float) -> Prediction:
        """Those outputs that are wanted, of the version that was asked for: over REST no reply names another."""
        wanted = {alias: outputs[alias] for alias in self._outputs} if self._outputs else outputs
        answered = ModelSpec(self.spec.name, self.spec.version, None, self.spec.signature or DEFAULT_SIGNATURE)
        return self._prediction(wanted, answered, arrived)

    def _about_examples(self, signature: Signature) -> str:
        """What to send where the inputs look like the features of examples, and the model takes those serialized."""
        alias = takes_strings(signature)
        if not alias or any(name in signature.inputs for name in self._inputs):
            return ""
        return f" If {alias!r} is for tf.Examples: pass {{{alias!r}: serialized_examples(...)}}."

    def _unreadable(self, error: Exception) -> DecodeError:
        what = f"the reply of Predict for model {self.spec.name!r}"
        return (
            DecodeError(f"{what} cannot be read: {error}")
            if isinstance(error, DecodeError)
            else unreadable(what, error)
        )

    def _prediction(self, outputs: Mapping[str, Array], answered: ModelSpec, arrived: float) -> Prediction:
        clock = (self._started, self._written, arrived, perf_counter())
        return Prediction(outputs, answered=answered, asked=self.spec, clock=clock)


def _exact(values: Any) -> Array:
    """Values with all their digits."""
    found = read(values)
    if not isinstance(found, Untyped):
        return found
    return found.typed() if found.array.dtype.kind == "O" else found.array


def _no_rows(arrays: Mapping[str, Array]) -> EncodeError:
    return EncodeError(
        "expected inputs of one length along axis 0, above 0, for the row form, got "
        + ", ".join(f"{alias!r} {array.shape}" for alias, array in arrays.items())
        + "; rest_format='columnar' takes any"
    )


def _gives_rows(signature: Signature) -> bool:
    """Whether every output has a batch axis, as far as its shape tells."""
    return all(spec.shape and spec.shape[0] is None for spec in signature.outputs.values())
