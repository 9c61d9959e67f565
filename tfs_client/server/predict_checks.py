"""Predict as in the model server: the same checks, in the same order, with the same texts.

Source of order and texts: servables/tensorflow/predict_impl.cc and predict_util.cc.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array, row_of
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError, FailedPreconditionError, InternalError, InvalidArgumentError
from tfs_client.server.servable import Servable
from tfs_client.signatures import CLASSIFY, DEFAULT_SIGNATURE, PREDICT, REGRESS, Signature


class Record(Protocol):
    """The record of a call's tensors, so that observers see them even if the call fails later."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    def running(self) -> AbstractContextManager[None]:
        """Return a context manager that measures the model's run."""


class PredictRequest(Protocol):
    """A Predict request over gRPC or REST."""

    @property
    def spec(self) -> ModelSpec | None:
        """The model, version and signature."""

    @property
    def inputs(self) -> Collection[str]:
        """The aliases that were sent."""

    @property
    def outputs(self) -> Sequence[str]:
        """The requested outputs; empty means all."""

    def tensor(self, alias: str) -> Array:
        """Return an input. Raises DecodeError if it is not a valid tensor."""


METHODS = (PREDICT, CLASSIFY, REGRESS)


def predict(
    servable: Servable, request: PredictRequest, record: Record, *, method_name_check: bool = False
) -> Mapping[str, Array]:
    """Run one request on a servable, and store inputs and outputs in ``record``.

    Raises CallError with the model server's code and text.
    """
    name = (request.spec.signature if request.spec else "") or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise FailedPreconditionError(f'Serving signature key "{name}" not found.')
    if method_name_check and signature.method_name not in METHODS:
        raise InternalError(
            "Expected prediction signature method_name to be one of "
            f"{{{', '.join(METHODS)}}}. Was: {signature.method_name}"
        )
    inputs = record.inputs = read_inputs(signature, servable.defaults(name), request)
    outputs = wanted_outputs(signature, request.outputs)
    check_dtypes(signature, inputs)
    if name in getattr(servable, "checked_shapes", ()):
        check_shapes(signature, {alias: inputs[alias] for alias in request.inputs})
    if not outputs:
        raise InvalidArgumentError("Must specify at least one target to fetch or execute.")
    with record.running():
        answer = servable.run(name, inputs, outputs)
    record.outputs = {alias: answer[alias] for alias in outputs}
    return record.outputs


def read_inputs(signature: Signature, defaults: Mapping[str, Array], request: PredictRequest) -> dict[str, Array]:
    """Return the signature's inputs, from the request or from the defaults."""
    # The case of most models. The sets below cost more than the rest.
    if len(request.inputs) == 1 == len(signature.inputs):
        (alias,) = signature.inputs
        if alias in request.inputs:
            return {alias: _decoded(request, alias)}
    sent, wanted = set(request.inputs), set(signature.inputs)
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not defaults):
        missing = wanted - sent - set(defaults)
        raise InvalidArgumentError(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({{{_names(sent)}}}) != len({{{_names(wanted)}}}). "
            f"Sent extra: {{{_names(sent - wanted)}}}. Missing but required: {{{_names(missing)}}}."
        )
    inputs: dict[str, Array] = {}
    for alias, spec in signature.inputs.items():
        if alias in sent:
            inputs[alias] = _decoded(request, alias)
        elif alias in defaults:
            inputs[alias] = defaults[alias]
        else:
            raise InvalidArgumentError(
                f"Signature input alias: {alias}(feed name: {spec.tensor_name}) not found in request and no default "
                f"value provided. Inputs expected to be in the request {{{_names(sent)}}}, or default input alias set: "
                f"{_names(defaults)}"
            )
    if sent - wanted:
        raise InvalidArgumentError(
            f"Inputs contains invalid name. Used request inputs: {_names(sent & wanted)}, request input: {_names(sent)}"
        )
    return inputs


def sent_inputs(request: PredictRequest) -> dict[str, Array]:
    """Return the inputs of a request, whatever the signature says. Raises InvalidArgumentError."""
    return {alias: _decoded(request, alias) for alias in request.inputs}


def _decoded(request: PredictRequest, alias: str) -> Array:
    try:
        array = request.tensor(alias)
    except DecodeError:
        raise InvalidArgumentError(f"tensor parsing error: {alias}") from None
    # The model server allocates what the shape says, and so do most functions. A few bytes can declare any shape.
    if (not array.size or 0 in array.strides) and not expansion.is_runnable(array):
        raise InvalidArgumentError(expansion.refusal(array, f"input {alias!r}"))
    return array


def wanted_outputs(signature: Signature, output_filter: Iterable[str]) -> list[str]:
    """Return the aliases of the output filter, or all outputs."""
    outputs: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise InvalidArgumentError(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{_names(signature.outputs)}}}."
            )
        if alias in outputs:
            raise InvalidArgumentError(f"duplicate output tensor alias: {alias}")
        outputs.append(alias)
    return outputs or list(signature.outputs)


def check_dtypes(signature: Signature, inputs: Mapping[str, Array]) -> None:
    """Refuse the first input whose dtype differs from the signature's, in the order of tensor names."""
    if all(row_of(inputs[alias].dtype) is signature.inputs[alias].row for alias in inputs):
        return
    ranked = sorted(inputs, key=lambda alias: signature.inputs[alias].tensor_name.encode())
    for rank, alias in enumerate(ranked):
        want, got = signature.inputs[alias].row, row_of(np.asarray(inputs[alias]).dtype)
        if got is not want:
            raise InvalidArgumentError(f"Expects arg[{rank}] to be {want.name} but {got.name} is provided")


def check_shapes(signature: Signature, inputs: Mapping[str, Array]) -> None:
    """Refuse the first input whose shape does not match the signature, as TensorFlow's Python sessions do.

    The model server feeds any shape. A wrong shape fails in the first op that cannot process it, with that op's text,
    or yields wrong numbers. A function in place of a model has no such ops.
    Source of the text: tensorflow/python/client/session.py.
    """
    for alias in sorted(inputs, key=lambda alias: signature.inputs[alias].tensor_name.encode()):
        spec, shape = signature.inputs[alias], inputs[alias].shape
        if not spec.accepts(shape):
            raise InvalidArgumentError(
                f"Cannot feed value of shape {shape} for Tensor {spec.tensor_name}, which has shape {spec.shape}"
            )


def _names(names: Iterable[str]) -> str:
    return ",".join(sorted(names, key=str.encode))
