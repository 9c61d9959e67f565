"""Read status and metadata, and write examples, as JSON; build the paths, which name the model over REST.

Source: tensorflow_serving/model_servers/http_rest_api_util.cc and util/json_tensor.cc.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from tfs_client._codec import json_text, wire
from tfs_client._codec.dtypes import BY_NAME, BY_NUMBER
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.protobuf_messages import parse
from tfs_client._codec.signature_defs import SignatureInfo, TensorInfo
from tfs_client._printable import shown
from tfs_client.errors import DecodeError, EncodeError, reads


def path(spec: ModelSpec, what: str = "") -> str:
    """Return the path of a model, or of a version by number or label; ``what`` is ":predict" or "/metadata".

    Raises EncodeError for names that UTF-8 cannot encode.
    """
    version = f"/versions/{spec.version}" if spec.version is not None else ""
    label = f"/labels/{quote(wire.utf8(spec.label, 'a version label'), safe='')}" if spec.label is not None else ""
    return f"/v1/models/{quote(wire.utf8(spec.name, 'a model name'), safe='')}{version}{label}{what}"


@reads("the reply of GetModelMetadata")
def read_metadata(body: bytes) -> tuple[ModelSpec, dict[str, SignatureInfo]]:
    """Read the version that answered, and its signatures as in ``signature_defs.read_response``.

    Names may be spelled as in the message, as TensorFlow Serving does, or in lowerCamelCase, the default of protobuf's
    JSON, as OpenVINO Model Server does. Raises DecodeError; ``foreign`` for JSON that is not about signatures.
    """
    try:
        reply = json_text.loads(body)
    except DecodeError as error:
        error.foreign = True
        raise
    return metadata_of(reply, json_text.excerpt(body))


@reads("the JSON of signatures")
def metadata_of(reply: object, excerpt: str) -> tuple[ModelSpec, dict[str, SignatureInfo]]:
    """Read parsed JSON as ``read_metadata`` does; ``excerpt`` quotes it in error texts."""
    metadata = reply.get("metadata") if isinstance(reply, dict) else None
    if not isinstance(metadata, dict) or _member(metadata, "signature_def") is None:
        error = DecodeError(f"expected signatures as JSON, got {excerpt}")
        error.foreign = True
        raise error
    try:
        spec = _member(reply, "model_spec") or {}
        version = spec.get("version")
        found = signatures_member(reply)
        return (
            ModelSpec(_text(spec.get("name")), None if version in (None, "") else _integer(version)),
            {name: _signature(signature) for name, signature in found.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecodeError(f"expected signatures as JSON, got {excerpt}: {error}") from error


def signatures_member(reply: Any) -> dict[str, Any]:
    """Return the signatures by name in the parsed JSON of metadata, as protobuf's JSON."""
    found: dict[str, Any] = _member(_member(reply["metadata"], "signature_def"), "signature_def") or {}
    return found


def _member(message: Any, name: str) -> Any:
    """Return a field of a message by its name in the schema, in either spelling; None if it is absent."""
    if name in message:
        return message[name]
    first, *rest = name.split("_")
    return message.get(first + "".join(map(str.capitalize, rest)))


def _signature(signature: Any) -> SignatureInfo:
    inputs, outputs = (
        {alias: _tensor_info(info) for alias, info in (signature.get(side) or {}).items()}
        for side in ("inputs", "outputs")
    )
    defaults = dict.fromkeys((signature.get("defaults") or {}).keys(), b"")
    return inputs, outputs, _text(_member(signature, "method_name")), defaults


def _tensor_info(info: Any) -> TensorInfo:
    dtype = info.get("dtype", "")
    if isinstance(dtype, str):
        row = BY_NAME.get(dtype.removeprefix("DT_").lower(), BY_NUMBER[0])
    else:
        row = BY_NUMBER.get(dtype, BY_NUMBER[0])
    shape = _member(info, "tensor_shape") or {}
    name = _text(info.get("name"))
    if _member(shape, "unknown_rank"):
        return row, None, name
    sizes = (_integer(dim.get("size")) for dim in shape.get("dim") or [])
    return row, tuple(None if size < 0 else size for size in sizes), name


def _integer(value: Any) -> int:
    """Return an int64 of protobuf's JSON, a number or a text; 0 if it is absent. Raises ValueError."""
    if value is None:
        return 0
    exact = (
        isinstance(value, float) and value.is_integer() and abs(value) <= 1 << 53
    )  # larger floats may have been rounded
    if exact or (isinstance(value, str) and len(value) <= 20):
        value = int(value)
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"expected an integer of 64 bits, got {shown(value)}")
    return value


def _text(value: object) -> str:
    """Return a text, or the name of an enum's value; "" if it is absent. Raises ValueError."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"expected a text, got {shown(value)}")
    return value or ""


def _enum(value: object, default: str) -> str:
    """Return the name of an enum's value, or its number as digits; ``default`` if it is absent. Raises ValueError."""
    return str(value) if type(value) is int and 0 <= value < 1 << 31 else _text(value) or default


@reads("the reply of GetModelStatus")
def read_status(body: bytes) -> list[tuple[int, str, str, str]] | bool:
    """Read number, state, error code and error text of every version; states and codes by name, or numbers as digits.

    For KServe's v1 protocol, which has no versions, return whether the model is ready. Raises DecodeError.
    """
    reply = json_text.loads(body)
    try:
        versions = _member(reply, "model_version_status")
        if versions is None:
            ready = reply["ready"]
            return ready if isinstance(ready, bool) else _READY[_text(ready).lower()]
        return [
            (
                _integer(entry.get("version")),
                _enum(entry.get("state"), "UNKNOWN"),
                _enum(_member(entry.get("status") or {}, "error_code"), "OK"),
                _text(_member(entry.get("status") or {}, "error_message")),
            )
            for entry in versions
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        excerpt = json_text.excerpt(body)
        raise DecodeError(f"expected the status of a model as JSON, got {excerpt}: {error}") from error


_READY = {"true": True, "false": False}  # older KServe servers write it as text


def write_examples(examples: Iterable[bytes], context: bytes | None, signature: str) -> bytes:
    """Write the body of a classify or regress call; examples are serialized tf.Examples. Raises EncodeError."""
    body: dict[str, object] = {"signature_name": signature} if signature else {}
    if context is not None:
        body["context"] = _features(context)
    body["examples"] = [_features(example) for example in examples]
    return json_text.dumps(body)


def _features(example: bytes) -> dict[str, list[object]]:
    from tfs_client.protos.tensorflow.core.example.example_pb2 import Example

    try:
        features = parse(Example, example, "the example").features.feature
    except DecodeError:
        raise EncodeError(f"expected a serialized tf.Example, got {json_text.excerpt(example)}") from None
    found: dict[str, list[object]] = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        found[name] = [{"b64": b64encode(value).decode()} for value in values] if kind == "bytes_list" else values
    return found


@reads("the results")
def read_results(body: bytes) -> list[object]:
    """Read the result of a classify or regress call for each example. Raises DecodeError."""
    reply = json_text.loads(body)
    if not isinstance(reply, dict) or not isinstance(reply.get("results"), list):
        raise DecodeError(f"expected an object with the list 'results', got {json_text.excerpt(body)}")
    results: list[object] = reply["results"]
    return results
