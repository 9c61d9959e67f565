"""Contents: the tensors in the requests and replies of recorded calls, by alias."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_client._codec import examples, field_limits, predict_messages, protobuf_messages, wire
from tfs_client._codec.dtypes import Array
from tfs_client.errors import reads
from tfs_client.recordings.episodes import Episode
from tfs_client.signatures import DEFAULT_SIGNATURE

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationResult
    from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionResult

ON_EXAMPLES = ("Classify", "Regress", "MultiInference")


@reads("the recorded request")
def inputs_of(episode: Episode) -> dict[str, Array]:
    """Return the inputs of a call; none for look-ups.

    Of calls on examples, each feature of each example: ``"age[0]"`` is the feature "age" of the first one. Raises
    DecodeError.
    """
    if episode.method == "Predict":
        request = predict_messages.read_request(episode.request)
        return {alias: request.tensor(alias) for alias in request.inputs}
    if episode.method not in ON_EXAMPLES:
        return {}
    found: dict[str, Array] = {}
    for number, example in enumerate(examples_of(episode.request)):
        found |= {f"{name}[{number}]": values for name, values in _features(example)}
    return found


def input_of(alias: str) -> str:
    """Return the input, or the feature, that an alias of ``inputs_of`` belongs to."""
    name, bracket, number = alias.rpartition("[")
    return name if bracket and number[:-1].isdigit() and alias.endswith("]") else alias


def examples_of(request: bytes) -> list[bytes]:
    """Return the serialized examples of a request of Classify, Regress or MultiInference. Raises DecodeError."""
    return examples.read_request(request)[1]


@reads("the recorded request")
def choices_of(episode: Episode) -> tuple[tuple[str, ...], ...]:
    """Return what else a request asks for: wanted outputs, or the tasks of MultiInference. Raises DecodeError."""
    if episode.method == "Predict":
        return tuple((alias,) for alias in sorted(predict_messages.read_request(episode.request).outputs))
    if episode.method != "MultiInference":
        return ()
    from tfs_client.protos.tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest

    request = protobuf_messages.parse(MultiInferenceRequest, episode.request, "the request")
    return tuple((task.model_spec.signature_name, task.method_name) for task in request.tasks)


@reads("the recorded reply")
def outputs_of(episode: Episode) -> dict[str, Array]:
    """Return the outputs of a call that succeeded: of Classify labels and scores, of Regress values.

    Those of MultiInference have the name of their signature before them: ``"serving_default.values"``. Raises
    DecodeError.
    """
    reply = episode.reply or b""
    if episode.method == "Predict":
        return predict_messages.read_response(reply)[1]
    if episode.method not in ON_EXAMPLES:
        return {}
    what, parse = f"the reply of {episode.method}", protobuf_messages.parse
    count = len(examples_of(episode.request))
    if episode.method == "Classify":
        from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationResponse

        field_limits.check(reply, field_limits.CLASSIFICATION, what, examples=count)
        return _classes(parse(ClassificationResponse, reply, what).result)
    if episode.method == "Regress":
        from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionResponse

        field_limits.check(reply, field_limits.REGRESSION, what, examples=count)
        return _values(parse(RegressionResponse, reply, what).result)
    from tfs_client.protos.tensorflow_serving.apis.inference_pb2 import MultiInferenceResponse

    field_limits.check(reply, field_limits.MULTI_INFERENCE, what, examples=count * len(choices_of(episode)))
    found: dict[str, Array] = {}
    for result in parse(MultiInferenceResponse, reply, what).results:
        name = result.model_spec.signature_name or DEFAULT_SIGNATURE
        kind = result.WhichOneof("result")
        outputs = (
            _values(result.regression_result) if kind == "regression_result" else _classes(result.classification_result)
        )
        found |= {f"{name}.{alias}": array for alias, array in outputs.items()}
    return found


def _classes(result: ClassificationResult) -> dict[str, Array]:
    rows = [row.classes for row in result.classifications]
    found = {
        "labels": string_array([each.label.encode("utf-8", "surrogatepass") for row in rows for each in row]),
        "scores": np.array([each.score for row in rows for each in row], np.float32),
    }
    lengths = [len(row) for row in rows]
    if len(set(lengths)) <= 1:
        shape = (len(rows), lengths[0] if lengths else 0)
        return {alias: array.reshape(shape) for alias, array in found.items()}
    return {**found, "classes": np.array(lengths, np.int64)}


def _values(result: RegressionResult) -> dict[str, Array]:
    return {"values": np.array([row.value for row in result.regressions], np.float32)}


def string_array(values: Iterable[bytes]) -> Array:
    """Return byte strings as an array of rank 1."""
    values = list(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _features(example: bytes) -> Iterator[tuple[str, Array]]:
    from tfs_client.protos.tensorflow.core.example.example_pb2 import Example

    features: Mapping[str, Any] = protobuf_messages.parse(Example, example, "the example").features.feature
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else []
        yield (
            name,
            string_array(values)
            if kind == "bytes_list"
            else np.array(values, np.int64 if kind == "int64_list" else np.float32),
        )


def with_examples(request: bytes, found: list[bytes]) -> bytes:
    """Return a request of Classify, Regress or MultiInference with other examples."""
    others = b"".join(
        wire.delimited(1, request[start:stop])
        for tag, start, stop in wire.fields(request, 0, len(request))
        if tag == wire.tag(1, wire.LENGTH)
    )
    return others + wire.delimited(2, examples.write_input(found))
