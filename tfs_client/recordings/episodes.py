"""Episode: one recorded call, in the messages of gRPC whatever the transport was."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import StatusCode
from tfs_client.options import MetadataPairs

LOGGED = {
    "Classify": "classify_log",
    "Regress": "regress_log",
    "MultiInference": "multi_inference_log",
    "Predict": "predict_log",
}
"""The methods whose calls have a PredictionLog, and its field (tensorflow_serving/apis/prediction_log.proto)."""

LOOKUPS = ("GetModelMetadata", "GetModelStatus")
"""The methods that ask about models."""


@dataclass(frozen=True)
class Episode:
    """A call and how it ended.

    Attributes:
        method: the API method, one of LOGGED or LOOKUPS.
        spec: the model, version, label and signature that were asked for.
        request: the serialized request message of the method, such as a PredictRequest.
        reply: the serialized reply message; None for a failed call, and for a warmup record without a response.
        code, details: the status of the call.
        metadata: the pairs that the client sent, without secrets.
        transport: "grpc" or "rest".
        seconds: how long the call took.
        recorded: the time at which the call ended, in seconds since 1970.
        hint, attempts, unreached, retry_after, http_status: of a failed call, those of its CallError.
    """

    method: str
    spec: ModelSpec
    request: bytes = field(repr=False)
    reply: bytes | None = field(repr=False)
    code: StatusCode = StatusCode.OK
    details: str = ""
    metadata: MetadataPairs = ()
    transport: str = "grpc"
    seconds: float = 0.0
    recorded: float = 0.0
    hint: str = ""
    attempts: int = 1
    unreached: bool = False
    retry_after: float | None = None
    http_status: int | None = None
