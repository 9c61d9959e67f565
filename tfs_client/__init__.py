"""A client SDK for TensorFlow Serving that does not depend on TensorFlow.

The names below are the public ones. Each is imported from its module on first use, so that
``import tfs_client`` itself costs next to nothing: neither grpc nor protobuf nor httpx is imported by it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tfs_client._codec.examples import serialized_examples as serialized_examples
    from tfs_client._codec.examples import serialized_sequence_examples as serialized_sequence_examples
    from tfs_client._codec.request_arrays import RequestArrays as RequestArrays
    from tfs_client._codec.tensor_proto import make_ndarray as make_ndarray
    from tfs_client._codec.tensor_proto import make_tensor_proto as make_tensor_proto
    from tfs_client._flows.batching.micro import MicroBatcher as MicroBatcher
    from tfs_client._flows.batching.micro_aio import AsyncMicroBatcher as AsyncMicroBatcher
    from tfs_client._flows.contracts import check_signatures as check_signatures
    from tfs_client.aio import AsyncPredictClient as AsyncPredictClient
    from tfs_client.client import PredictClient as PredictClient
    from tfs_client.errors import AbortedError as AbortedError
    from tfs_client.errors import AlreadyExistsError as AlreadyExistsError
    from tfs_client.errors import CallError as CallError
    from tfs_client.errors import CancelledError as CancelledError
    from tfs_client.errors import ClosedError as ClosedError
    from tfs_client.errors import ConfigError as ConfigError
    from tfs_client.errors import DataLossError as DataLossError
    from tfs_client.errors import DeadlineExceededError as DeadlineExceededError
    from tfs_client.errors import DecodeError as DecodeError
    from tfs_client.errors import EncodeError as EncodeError
    from tfs_client.errors import FailedPreconditionError as FailedPreconditionError
    from tfs_client.errors import ImageError as ImageError
    from tfs_client.errors import InternalError as InternalError
    from tfs_client.errors import InvalidArgumentError as InvalidArgumentError
    from tfs_client.errors import NotFoundError as NotFoundError
    from tfs_client.errors import OutOfRangeError as OutOfRangeError
    from tfs_client.errors import PermissionDeniedError as PermissionDeniedError
    from tfs_client.errors import RecordingError as RecordingError
    from tfs_client.errors import ReplyMetadata as ReplyMetadata
    from tfs_client.errors import ResourceExhaustedError as ResourceExhaustedError
    from tfs_client.errors import SignatureError as SignatureError
    from tfs_client.errors import StatusCode as StatusCode
    from tfs_client.errors import TFServingError as TFServingError
    from tfs_client.errors import UnauthenticatedError as UnauthenticatedError
    from tfs_client.errors import UnavailableError as UnavailableError
    from tfs_client.errors import UnimplementedError as UnimplementedError
    from tfs_client.errors import UnknownError as UnknownError
    from tfs_client.model_config import AllVersions as AllVersions
    from tfs_client.model_config import Latest as Latest
    from tfs_client.model_config import ModelConfig as ModelConfig
    from tfs_client.model_config import ModelServerConfig as ModelServerConfig
    from tfs_client.model_config import SpecificVersions as SpecificVersions
    from tfs_client.options import TLS as TLS
    from tfs_client.options import Keepalive as Keepalive
    from tfs_client.options import RetryPolicy as RetryPolicy
    from tfs_client.results import Classification as Classification
    from tfs_client.results import ClassScore as ClassScore
    from tfs_client.results import Health as Health
    from tfs_client.results import ModelStatus as ModelStatus
    from tfs_client.results import ModelVersion as ModelVersion
    from tfs_client.results import Prediction as Prediction
    from tfs_client.results import Regression as Regression
    from tfs_client.results import Reload as Reload
    from tfs_client.results import State as State
    from tfs_client.results import Timing as Timing
    from tfs_client.results import VersionStatus as VersionStatus
    from tfs_client.signatures import Signature as Signature
    from tfs_client.signatures import Signatures as Signatures
    from tfs_client.signatures import TensorSpec as TensorSpec

_HOMES = {
    "aio": ("AsyncPredictClient",),
    "_flows.batching.micro": ("MicroBatcher",),
    "_flows.batching.micro_aio": ("AsyncMicroBatcher",),
    "model_config": ("AllVersions", "Latest", "ModelConfig", "ModelServerConfig", "SpecificVersions"),
    "options": ("Keepalive", "RetryPolicy", "TLS"),
    "client": ("PredictClient",),
    "_flows.contracts": ("check_signatures",),
    "_codec.request_arrays": ("RequestArrays",),
    "_codec.examples": ("serialized_examples", "serialized_sequence_examples"),
    "_codec.tensor_proto": ("make_ndarray", "make_tensor_proto"),
    "errors": (
        "AbortedError",
        "AlreadyExistsError",
        "CallError",
        "CancelledError",
        "ClosedError",
        "ConfigError",
        "DataLossError",
        "DeadlineExceededError",
        "DecodeError",
        "EncodeError",
        "FailedPreconditionError",
        "ImageError",
        "InternalError",
        "InvalidArgumentError",
        "NotFoundError",
        "OutOfRangeError",
        "PermissionDeniedError",
        "RecordingError",
        "ReplyMetadata",
        "ResourceExhaustedError",
        "SignatureError",
        "StatusCode",
        "TFServingError",
        "UnauthenticatedError",
        "UnavailableError",
        "UnimplementedError",
        "UnknownError",
    ),
    "results": (
        "Classification",
        "ClassScore",
        "Health",
        "ModelStatus",
        "ModelVersion",
        "Prediction",
        "Regression",
        "Reload",
        "State",
        "Timing",
        "VersionStatus",
    ),
    "signatures": ("Signature", "Signatures", "TensorSpec"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tfs_client' has no attribute {name!r}")
    value = getattr(import_module(f"tfs_client.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
