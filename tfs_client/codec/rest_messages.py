"""Status, metadata and examples as JSON. Paths too, for over REST they name the model.

Source: tensorflow_serving/model_servers/http_rest_api_util.cc and util/json_tensor.cc.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from tfs_client.codec import json_text
from tfs_client.codec.dtypes import BY_NAME, BY_NUMBER
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError, EncodeError


def path(spec: ModelSpec, what: str = "") -> str:
    """The path of a model, a version of it, or the one a label stands for; ``what`` is ":predict" or "/metadata"."""
    version = f"/versions/{spec.version}" if spec.version is not None else ""
    label = f"/labels/{quote(spec.label, safe='')}" if spec.label is not None else ""
    return f"/v1/models/{quote(spec.name, safe='')}{version}{label}{what}"


def read_metadata(body: bytes) -> tuple[ModelSpec, dict[str, Any]]:
    """Which version answered, and its signatures as in ``signature_defs.read_response``. Raises DecodeError."""
    reply = json_text.loads(body)
    try:
        spec = ModelSpec(str(reply["model_spec"]["name"]), int(reply["model_spec"]["version"]))
        found = reply["metadata"]["signature_def"]["signature_def"]
        return spec, {name: _signature(signature) for name, signature in found.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecodeError(f"expected signatures as JSON, got {json_text.excerpt(body)}: {error!r}") from None


def _signature(signature: Any) -> tuple[dict[str, Any], dict[str, Any], str, set[str]]:
    inputs, outputs = (
        {alias: _tensor_info(info) for alias, info in signature.get(side, {}).items()} for side in ("inputs", "outputs")
    )
    return inputs, outputs, str(signature.get("method_name", "")), set(signature.get("defaults", {}))


def _tensor_info(info: Any) -> tuple[Any, tuple[int | None, ...] | None, str]:
    row = BY_NAME.get(info.get("dtype", "").removeprefix("DT_").lower(), BY_NUMBER[0])
    shape = info.get("tensor_shape", {})
    if shape.get("unknown_rank"):
        return row, None, info.get("name", "")
    sizes = (int(dim.get("size", 0)) for dim in shape.get("dim", []))
    return row, tuple(None if size < 0 else size for size in sizes), info.get("name", "")


def read_status(body: bytes) -> list[tuple[int, str, str, str]]:
    """For every version its number, state, error code and error text, by their names. Raises DecodeError."""
    reply = json_text.loads(body)
    try:
        return [
            (
                int(entry.get("version", 0)),
                str(entry.get("state", "UNKNOWN")),
                str(entry.get("status", {}).get("error_code", "OK")),
                str(entry.get("status", {}).get("error_message", "")),
            )
            for entry in reply["model_version_status"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecodeError(f"expected the status of a model as JSON, got {json_text.excerpt(body)}: {error!r}") from None


def write_examples(examples: Iterable[bytes], context: bytes | None, signature: str) -> bytes:
    """The body of a classify or regress call; examples are serialized tf.Examples. Raises EncodeError."""
    body: dict[str, Any] = {"signature_name": signature} if signature else {}
    if context is not None:
        body["context"] = _features(context)
    body["examples"] = [_features(example) for example in examples]
    return json_text.dumps(body)


def _features(example: bytes) -> dict[str, list[Any]]:
    from google.protobuf.message import DecodeError as ProtobufError

    from tfs_client.protos.tensorflow.core.example.example_pb2 import Example

    try:
        features = Example.FromString(example).features.feature
    except ProtobufError:
        raise EncodeError(f"expected a serialized tf.Example, got {json_text.excerpt(example)}") from None
    found: dict[str, list[Any]] = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        found[name] = [{"b64": b64encode(value).decode()} for value in values] if kind == "bytes_list" else values
    return found


def read_results(body: bytes) -> list[Any]:
    """What a classify or regress call gives for each example. Raises DecodeError."""
    reply = json_text.loads(body)
    if not isinstance(reply, dict) or not isinstance(reply.get("results"), list):
        raise DecodeError(f"expected an object with the list 'results', got {json_text.excerpt(body)}")
    results: list[Any] = reply["results"]
    return results
