"""Replies: the results of calls over REST as the messages of gRPC."""

from __future__ import annotations

from tfs_client._codec import metadata_messages, model_spec, predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.signature_defs import TensorInfo
from tfs_client.results import Classification, ModelStatus, ModelVersion, Prediction, Regression
from tfs_client.signatures import Signatures, TensorSpec


def reply_of(result: object) -> bytes | None:
    """Return the reply with this result; None for one that gRPC cannot express."""
    if isinstance(result, Prediction):
        return predict_messages.write_response(_spec(result.model), result)
    if isinstance(result, Signatures):
        return _metadata(result)
    if isinstance(result, ModelStatus):
        return _status(result)
    if isinstance(result, Classification):
        return _classification(result)
    if isinstance(result, Regression):
        return _regression(result)
    raise TypeError(f"expected the result of a call over REST, got {type(result).__name__}")


def _spec(model: ModelVersion) -> ModelSpec:
    return ModelSpec(model.name, model.version, None, model.signature)


def _metadata(signatures: Signatures) -> bytes:
    infos = {
        name: (
            {alias: _info(spec) for alias, spec in signature.inputs.items()},
            {alias: _info(spec) for alias, spec in signature.outputs.items()},
            signature.method_name,
            dict.fromkeys(signature.optional, b""),
        )
        for name, signature in signatures.items()
    }
    return metadata_messages.write_response(ModelSpec(signatures.model, signatures.version), infos)


def _info(spec: TensorSpec) -> TensorInfo:
    return spec.row, spec.shape, spec.tensor_name


def _status(status: ModelStatus) -> bytes | None:
    from tfs_client.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

    if not status.versions:  # KServe's v1 protocol, which reports only whether the model is ready
        return None
    response = GetModelStatusResponse()
    for version in status.versions:
        entry = response.model_version_status.add(version=version.version, state=int(version.state))
        entry.status.error_code = int(version.code)  # type: ignore[assignment]  # an enum's number
        entry.status.error_message = version.message
    return response.SerializeToString()


def _classification(result: Classification) -> bytes:
    from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationResponse

    response = ClassificationResponse()
    response.result.SetInParent()
    for row in result.classes:
        classes = response.result.classifications.add().classes
        for each in row:
            classes.add(label=each.label, score=each.score)
    response.model_spec.MergeFromString(model_spec.write(_spec(result.model)))
    return response.SerializeToString()


def _regression(result: Regression) -> bytes:
    from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionResponse

    response = RegressionResponse()
    response.result.SetInParent()
    for value in result.values:
        response.result.regressions.add(value=value)
    response.model_spec.MergeFromString(model_spec.write(_spec(result.model)))
    return response.SerializeToString()
