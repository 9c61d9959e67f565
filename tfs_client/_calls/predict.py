"""Predict: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

from tfs_client._codec import predict_messages
from tfs_client._codec.dtypes import Array, row_of
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._codec.values import Untyped, as_arrays, converted, read
from tfs_client._printable import listed
from tfs_client.errors import (
    DecodeError,
    EncodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    SignatureError,
    unreadable,
)
from tfs_client.results import Prediction
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature, Signatures, takes_strings


class Predict:
    """One Predict call (tensorflow_serving/apis/prediction_service.proto)."""

    __slots__ = ("_inputs", "_outputs", "_started", "_unrounded", "_written", "spec")

    path = "/tensorflow.serving.PredictionService/Predict"
    method = "Predict"

    def __init__(
        self,
        spec: ModelSpec,
        inputs: Mapping[str, object],
        outputs: Sequence[str] = (),
        unrounded: Mapping[str, Array] | None = None,
    ) -> None:
        self.spec = spec
        self._inputs = inputs
        self._outputs = outputs
        self._unrounded = unrounded  # floats before they were rounded to their dtype; JSON has no float widths
        self._started = self._written = 0.0

    def arrays(self) -> dict[str, Array]:
        """Return the inputs as arrays. Raises EncodeError, naming the input, for values that cannot become a tensor."""
        return as_arrays(self._inputs)

    def write(self, join: predict_messages.Join = predict_messages.plain_join) -> bytes:
        """Return the request. Raises EncodeError, naming the input, for values that cannot become a tensor."""
        self._started = perf_counter()
        given = self._inputs
        if type(given) is RequestArrays and (ready := given.request(self.spec, self._outputs)) is not None:
            self._inputs = dict(given)
            self._written = perf_counter()
            return ready
        # ``blame`` compares what was sent, even if the mapping has changed since.
        self._inputs = arrays = as_arrays(given)
        request = predict_messages.write_request(self.spec, arrays, self._outputs, join=join)
        self._written = perf_counter()
        return request

    def message(self) -> bytes:
        """Return the request as ``write`` does, for a call that is made over REST, which may send other digits."""
        self._started = perf_counter()
        request = predict_messages.write_request(self.spec, self.arrays(), self._outputs)
        self._written = perf_counter()
        return request

    def blame(self, signatures: Signatures, *, any_rows: bool = False) -> str:
        """Describe how the inputs, outputs or the signature's name contradict the model's signatures.

        ``any_rows`` leaves out differences that another number of rows would resolve.
        """
        name = self.spec.signature or DEFAULT_SIGNATURE
        if name not in signatures:
            return f"The model has the signatures {listed(sorted(signatures))}."
        signature = signatures[name]
        if difference := signature.mismatch(self.arrays(), any_rows=any_rows):
            return f"According to the model's signature, {difference}.{self._about_examples(signature)}"
        unknown = [alias for alias in self._outputs if alias not in signature.outputs]
        return f"The signature has the outputs {listed(sorted(signature.outputs))}." if unknown else ""

    def read(self, reply: bytes) -> Prediction:
        """Return the outputs, as views of the reply where its encoding allows. Raises DecodeError."""
        arrived = perf_counter()
        try:
            spec, outputs = predict_messages.read_response(reply)
        except Exception as error:
            raise self._unreadable(error) from error.__cause__
        clock = (self._started, self._written, arrived, perf_counter())
        return Prediction(outputs, answered=spec, asked=self.spec, clock=clock)

    def write_rest(self, signatures: Signatures, *, row: bool | None = None) -> tuple[str, bytes]:
        """Return the request over REST.

        JSON has no dtypes, and over REST the server ignores unknown names and has no output filter. So what the server
        checks over gRPC is checked here.

        Args:
            signatures: the model's signatures.
            row: whether to use the row form or the columnar form; None chooses the row form if it fits the inputs and,
                by the signature, the outputs.

        Raises EncodeError for values that cannot become a tensor, or that REST cannot carry; FailedPreconditionError
        for an unknown signature; InvalidArgumentError for wrong names and dtypes.
        """
        from tfs_client._codec import rest_json, rest_messages  # here and below: few calls use REST

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
        """Return the outputs in the dtypes of the signature; ``exact`` as in ``rest_json.read_reply``.

        Raises DecodeError.
        """
        from tfs_client._codec import rest_json

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
        """Return the request over REST to a server without metadata: names and dtypes are those of the caller.

        ``row`` as in ``write_rest``; None chooses the row form if it fits the inputs. Raises EncodeError.
        """
        from tfs_client._codec import rest_json, rest_messages

        self._started = perf_counter()
        # JSON numbers have no width, so nothing is rounded to a tensor's dtype.
        arrays = converted(self._inputs, _exact)
        fits = rest_json.fits_rows(arrays)
        if row and not fits:
            raise _no_rows(arrays)
        body = rest_json.write_request(arrays, self.spec.signature, row=fits if row is None else row)
        self._written = perf_counter()
        return f"POST {rest_messages.path(self.spec, ':predict')}", body

    def read_unsigned(self, reply: bytes) -> Prediction:
        """Return the outputs, identified by the reply alone (``_codec.rest_unsigned``). Raises DecodeError."""
        from tfs_client._codec import rest_unsigned

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
        """Explain what to do about omitted inputs with defaults, which REST does not support; empty without them."""
        signature = signatures.named(self.spec.signature or DEFAULT_SIGNATURE)
        missing = sorted(alias for alias in signature.optional if alias not in self._inputs)
        names = ", ".join(map(repr, missing))
        return f"Over REST, inputs have no defaults: also send {names}, or use gRPC." if missing else ""

    def _check(self, arrays: Mapping[str, Array], signature: Signature) -> None:
        from tfs_client._codec import rest_json

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
        """Return the wanted outputs with the requested version: REST replies do not name the one that answered."""
        wanted = {alias: outputs[alias] for alias in self._outputs} if self._outputs else outputs
        answered = ModelSpec(self.spec.name, self.spec.version, None, self.spec.signature or DEFAULT_SIGNATURE)
        clock = (self._started, self._written, arrived, perf_counter())
        return Prediction(wanted, answered=answered, asked=self.spec, clock=clock)

    def _about_examples(self, signature: Signature) -> str:
        """Advise to serialize the inputs if they look like features and the model expects serialized examples."""
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


def _exact(values: object) -> Array:
    """Return values without rounding."""
    found = read(values)
    if not isinstance(found, Untyped):
        return found
    return found.typed() if found.array.dtype.kind == "O" else found.array


def _no_rows(arrays: Mapping[str, Array]) -> EncodeError:
    return EncodeError(
        "expected inputs of one length along axis 0, above 0, for the row form, got "
        + ", ".join(f"{alias!r} {array.shape}" for alias, array in arrays.items())
        + "; pass rest_format='columnar'"
    )


def _gives_rows(signature: Signature) -> bool:
    """Return whether every output has a batch axis by its shape."""
    return all(spec.shape and spec.shape[0] is None for spec in signature.outputs.values())
