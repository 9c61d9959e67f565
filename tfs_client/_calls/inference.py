"""Classify, Regress and MultiInference: examples in, classes and values out (tensorflow_serving/apis/inference.proto).

Requests are written without protobuf, because examples are bytes already; replies are small and read by protobuf.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfs_client._calls.grpc_only import GrpcOnly
from tfs_client._codec import examples as codec
from tfs_client._codec import field_limits, model_spec, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import Join, plain_join
from tfs_client._codec.protobuf_messages import Parsed, parse
from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError, DecodeError, reads
from tfs_client.results import Classification, ClassScore, ModelVersion, Regression
from tfs_client.signatures import CLASSIFY, DEFAULT_SIGNATURE, REGRESS, Signatures, takes_strings

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationResult
    from tfs_client.protos.tensorflow_serving.apis.model_pb2 import ModelSpec as ModelSpecMessage
    from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionResult


class _OnExamples:
    """A call of one signature with examples."""

    _verb: ClassVar[str]

    def __init__(self, spec: ModelSpec, examples: object, context: object = None) -> None:
        self.spec = spec
        self.examples = examples
        self._context = context
        self._count: int | None = None  # of the examples, once they are written

    def write(self, join: Join = plain_join) -> bytes:
        """Return the request. Raises EncodeError, naming example and feature, for invalid values."""
        self._count, examples = _input(self.examples, self._context)
        return wire.delimited(1, model_spec.write(self.spec)) + wire.delimited(2, examples)

    def write_rest(self) -> tuple[str, bytes]:
        """Return the request. Raises EncodeError, as ``write`` does."""
        from tfs_client._codec import rest_messages  # here and below: few calls use REST

        examples, context = _serialized(self.examples, self._context)
        self._count = len(examples)
        body = rest_messages.write_examples(examples, context, self.spec.signature)
        return f"POST {rest_messages.path(self.spec, self._verb)}", body

    def blame(self, signatures: Signatures) -> str:
        """Describe how the refused call contradicts the model's signatures."""
        name = self.spec.signature or DEFAULT_SIGNATURE
        if name not in signatures:
            return f"The model has the signatures {listed(sorted(signatures))}."
        signature = signatures[name]
        if list(signature.inputs) != ["inputs"]:
            return _of_tensors(name, signatures)
        return ""


class Classify(_OnExamples):
    """One Classify call."""

    path = "/tensorflow.serving.PredictionService/Classify"
    method = "Classify"
    _verb = ":classify"

    @reads("the reply of Classify")
    def read(self, reply: bytes) -> Classification:
        """Return the classes of every example. Raises DecodeError."""
        from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationResponse

        response = _parsed(ClassificationResponse, reply, self.method, field_limits.CLASSIFICATION, self._count)
        _check_count(len(response.result.classifications), self._count)
        return _classification(response.result, response.model_spec, self.spec)

    @reads("the reply of Classify")
    def read_rest(self, reply: bytes) -> Classification:
        """Return the classes of every example. Raises DecodeError."""
        from tfs_client._codec import rest_messages

        try:
            rows = tuple(
                tuple(ClassScore(_text(label), _float(score)) for label, score in map(_list, _list(row)))
                for row in rest_messages.read_results(reply)
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise DecodeError(f"expected labels and scores as the results of Classify: {error}") from None
        _check_count(len(rows), self._count)
        return Classification(rows, _asked(self.spec))


class Regress(_OnExamples):
    """One Regress call."""

    path = "/tensorflow.serving.PredictionService/Regress"
    method = "Regress"
    _verb = ":regress"

    @reads("the reply of Regress")
    def read(self, reply: bytes) -> Regression:
        """Return the value of every example. Raises DecodeError."""
        from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionResponse

        response = _parsed(RegressionResponse, reply, self.method, field_limits.REGRESSION, self._count)
        _check_count(len(response.result.regressions), self._count)
        return _regression(response.result, response.model_spec, self.spec)

    @reads("the reply of Regress")
    def read_rest(self, reply: bytes) -> Regression:
        """Return the value of every example. Raises DecodeError."""
        from tfs_client._codec import rest_messages

        try:
            values = tuple(map(_float, rest_messages.read_results(reply)))
        except (TypeError, ValueError, OverflowError) as error:
            raise DecodeError(f"expected numbers as the results of Regress: {error}") from None
        _check_count(len(values), self._count)
        return Regression(values, _asked(self.spec))


class MultiInference(GrpcOnly):
    """Several signatures of one model on the same examples, in one call.

    ``tasks`` maps each signature to "classify" or "regress"; it is copied.
    """

    path = "/tensorflow.serving.PredictionService/MultiInference"
    method = "MultiInference"

    METHODS: ClassVar = {"classify": CLASSIFY, "regress": REGRESS}

    def __init__(self, spec: ModelSpec, examples: object, tasks: Mapping[str, str], context: object = None) -> None:
        if not isinstance(tasks, Mapping):
            raise ConfigError(
                f"expected tasks as a mapping from signature to 'classify' or 'regress', got {shown(tasks)}"
            )
        for signature, method in tasks.items():
            if method not in self.METHODS:
                known = " or ".join(map(repr, self.METHODS))
                raise ConfigError(f"expected {known} for the task of signature {signature!r}, got {shown(method)}")
        self.spec = spec
        self.examples = examples
        self._context = context
        self.tasks = dict(tasks)
        self._count: int | None = None  # of the examples, once they are written

    def write(self, join: Join = plain_join) -> bytes:
        """Return the request. Raises EncodeError, naming example and feature, for invalid values."""
        tasks = b"".join(
            wire.delimited(
                1,
                wire.delimited(1, model_spec.write(replace(self.spec, signature=signature)))
                + wire.delimited(2, self.METHODS[method].encode()),
            )
            for signature, method in self.tasks.items()
        )
        self._count, examples = _input(self.examples, self._context)
        return tasks + wire.delimited(2, examples)

    def blame(self, signatures: Signatures) -> str:
        """Describe how the refused call contradicts the model's signatures."""
        unknown = [name for name in self.tasks if name not in signatures]
        if unknown:
            return f"The model has the signatures {listed(sorted(signatures))}."
        of_tensors = [name for name in self.tasks if list(signatures[name].inputs) != ["inputs"]]
        return _of_tensors(of_tensors[0], signatures) if of_tensors else ""

    @reads("the reply of MultiInference")
    def read(self, reply: bytes) -> tuple[Classification | Regression, ...]:
        """Return one result for each task, in the order of the tasks. Raises DecodeError."""
        from tfs_client.protos.tensorflow_serving.apis.inference_pb2 import MultiInferenceResponse

        response = _parsed(
            MultiInferenceResponse,
            reply,
            self.method,
            field_limits.MULTI_INFERENCE,
            (self._count or 0) * len(self.tasks),
        )
        results: list[Classification | Regression] = []
        if len(response.results) != len(self.tasks):
            raise DecodeError(f"expected {len(self.tasks)} results of MultiInference, got {len(response.results)}")
        for (signature, task), result in zip(self.tasks.items(), response.results, strict=True):
            kind = result.WhichOneof("result")
            if task == "classify" and kind == "classification_result":
                _check_count(len(result.classification_result.classifications), self._count)
                results.append(_classification(result.classification_result, result.model_spec, self.spec))
            elif task == "regress" and kind == "regression_result":
                _check_count(len(result.regression_result.regressions), self._count)
                results.append(_regression(result.regression_result, result.model_spec, self.spec))
            else:
                wanted = "classification" if task == "classify" else "regression"
                raise DecodeError(f"expected a {wanted} for the task {shown(signature)}, got {kind or 'no result'}")
        return tuple(results)


def _of_tensors(name: str, signatures: Signatures) -> str:
    """Explain what to do about a signature that classify and regress cannot call."""
    able = [other for other, spec in signatures.items() if list(spec.inputs) == ["inputs"]]
    alias = takes_strings(signatures[name])
    return (
        f"Signature {name!r} expects tensors, {signatures[name]}, not examples: call it with predict. "
        f"Signatures that take examples: {listed(sorted(able))}."
        + (f" If {alias!r} is for tf.Examples: predict({{{alias!r}: serialized_examples(examples)}})." if alias else "")
    )


def _input(examples: object, context: object) -> tuple[int, bytes]:
    """Return the number of examples, and the Input with them."""
    found, shared = _serialized(examples, context)
    return len(found), codec.write_input(found, shared)


def _serialized(examples: object, context: object) -> tuple[list[bytes], bytes | None]:
    return codec.serialized(examples), None if context is None else codec.one(context)


def _parsed(message: type[Parsed], reply: bytes, method: str, tree: field_limits.Tree, examples: int | None) -> Parsed:
    what = f"the reply of {method}"
    field_limits.check(reply, tree, what, examples=examples or 0)
    return parse(message, reply, what)


def _classification(result: ClassificationResult, answered: ModelSpecMessage, asked: ModelSpec) -> Classification:
    rows = (tuple(ClassScore(c.label, c.score) for c in row.classes) for row in result.classifications)
    return Classification(tuple(rows), _model(answered, asked))


def _regression(result: RegressionResult, answered: ModelSpecMessage, asked: ModelSpec) -> Regression:
    return Regression(tuple(row.value for row in result.regressions), _model(answered, asked))


def _check_count(found: int, sent: int | None) -> None:
    """Raise DecodeError unless there is one result for every example that was sent."""
    if sent not in (None, found):
        raise DecodeError(f"expected a result for each of the {sent} examples, got {found}")


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {shown(value)}")
    return value


def _float(value: Any) -> float:
    """Return a number rounded to float32, the type that the server wrote."""
    if type(value) not in (int, float):
        raise TypeError(f"expected a number, got {shown(value)}")
    with np.errstate(over="ignore"):
        number = float(np.float32(value))
    if math.isinf(number) and not math.isinf(value):
        raise ValueError(f"expected a number that float32 can hold, got {shown(value)}")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a label as text, got {shown(value)}")
    return value


def _asked(spec: ModelSpec) -> ModelVersion:
    """Return the requested version; over REST the server does not report which one answered."""
    return ModelVersion(spec.name, spec.version, spec.signature or DEFAULT_SIGNATURE)


def _model(answered: ModelSpecMessage, asked: ModelSpec) -> ModelVersion:
    spec = model_spec.read(answered.SerializeToString())
    return ModelVersion(spec.name or asked.name, spec.version, spec.signature or asked.signature)
