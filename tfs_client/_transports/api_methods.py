"""API methods: which one a request calls, by its address, and the gRPC service that has it."""

from __future__ import annotations

REST = {
    ":predict": "Predict",
    ":classify": "Classify",
    ":regress": "Regress",
    "/metadata": "GetModelMetadata",
    "/tfs_client/models": "ListModels",
}

_SERVICES = {
    "GetModelStatus": "tensorflow.serving.ModelService",
    "HandleReloadConfigRequest": "tensorflow.serving.ModelService",
    "Check": "grpc.health.v1.Health",
    "ListModels": "tfs_client.ModelService",
    "GetConfig": "tfs_client.ModelService",
}


def full_name(method: str) -> str:
    """The name of an API method with its gRPC service, as in ``tensorflow.serving.PredictionService/Predict``."""
    return f"{_SERVICES.get(method, 'tensorflow.serving.PredictionService')}/{method}"


def method_of(address: str) -> str:
    """The API method of a request: of a gRPC path, or of an HTTP method and path."""
    if address.startswith("/"):
        return address.rpartition("/")[2]
    return next((name for end, name in REST.items() if address.endswith(end)), "GetModelStatus")
