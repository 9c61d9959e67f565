"""Status, metadata and examples as JSON. Paths too, for over REST they name the model.

Source: tensorflow_serving/model_servers/http_rest_api_util.cc and util/json_tensor.cc.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from tfs_client.codec import json_text, wire
from tfs_client.codec.dtypes import BY_NAME, BY_NUMBER
from tfs_client.codec.messages import parse
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError, EncodeError, reads
from tfs_client.shown import shown


def path(spec: ModelSpec, what: str = "") -> str:
    """The path of a model, a version of it, or the one a label stands for; ``what`` is ":predict" or "/metadata".

    Raises EncodeError for names that UTF-8 cannot hold.
    """
    version = f"/versions/{spec.version}" if spec.version is not None else ""
    label = f"/labels/{quote(wire.utf8(spec.label, 'a version label'), safe='')}" if spec.label is not None else ""
    return f"/v1/models/{quote(wire.utf8(spec.name, 'a model name'), safe='')}{version}{label}{what}"


@reads("the reply of GetModelMetadata")
def read_metadata(body: bytes) -> tuple[ModelSpec, dict[str, Any]]:
    """Which version answered, and its signatures as in ``signature_defs.read_response``.

    Names may be spelled as in the message, as TensorFlow Serving does, or in lowerCamelCase, as protobuf's JSON does by
    default and OpenVINO Model Server with it. Raises DecodeError; ``foreign`` for what is not about signatures.
    """
    try:
        reply = json_text.loads(body)
    except DecodeError as error:
        error.foreign = True
        raise
    return metadata_of(reply, json_text.excerpt(body))


@reads("the JSON of signatures")
def metadata_of(reply: Any, said: str) -> tuple[ModelSpec, dict[str, Any]]:
    """The same of JSON that has been parsed; ``said`` stands for it in error texts."""
    metadata = reply.get("metadata") if isinstance(reply, dict) else None
    signatures = _member(metadata, "signature_def") if isinstance(metadata, dict) else None
    if signatures is None:
        error = DecodeError(f"expected signatures as JSON, got {said}")
        error.foreign = True
        raise error
    try:
        spec = _member(reply, "model_spec") or {}
        version = spec.get("version")
        found = _member(signatures, "signature_def") or {}
        return (
            ModelSpec(_text(spec.get("name")), None if version in (None, "") else _integer(version)),
            {name: _signature(signature) for name, signature in found.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecodeError(f"expected signatures as JSON, got {said}: {error}") from error


def _member(message: Any, name: str) -> Any:
    """A field of a message by its name in the schema, whichever way the JSON spells it; None where it is absent."""
    if name in message:
        return message[name]
    first, *rest = name.split("_")
    return message.get(first + "".join(map(str.capitalize, rest)))


def _signature(signature: Any) -> tuple[dict[str, Any], dict[str, Any], str, set[str]]:
    inputs, outputs = (
        {alias: _tensor_info(info) for alias, info in (signature.get(side) or {}).items()}
        for side in ("inputs", "outputs")
    )
    return inputs, outputs, _text(_member(signature, "method_name")), set(signature.get("defaults") or {})


def _tensor_info(info: Any) -> tuple[Any, tuple[int | None, ...] | None, str]:
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
    """An int64 as protobuf's JSON may have it, a number or a text; 0 where it is absent. Raises ValueError."""
    if value is None:
        return 0
    exact = isinstance(value, float) and value.is_integer() and abs(value) <= 1 << 53  # larger ones have been rounded
    if exact or (isinstance(value, str) and len(value) <= 20):
        value = int(value)
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"expected an integer of 64 bits, got {shown(value)}")
    return value


def _text(value: Any) -> str:
    """A text, or the name of an enum's value; "" where it is absent. Raises ValueError."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"expected a text, got {shown(value)}")
    return value or ""


def _enum(value: Any, default: str) -> str:
    """The name of an enum's value, or its number as digits; ``default`` where it is absent. Raises ValueError."""
    return str(value) if type(value) is int and 0 <= value < 1 << 31 else _text(value) or default


@reads("the reply of GetModelStatus")
def read_status(body: bytes) -> list[tuple[int, str, str, str]] | bool:
    """For every version its number, state, error code and error text; states and codes by name, or numbers as digits.

    Of KServe's v1 protocol, which knows no versions, whether the model is ready. Raises DecodeError.
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
        said = json_text.excerpt(body)
        raise DecodeError(f"expected the status of a model as JSON, got {said}: {error}") from error


_READY = {"true": True, "false": False}  # old versions of KServe's servers write it as text


def write_examples(examples: Iterable[bytes], context: bytes | None, signature: str) -> bytes:
    """The body of a classify or regress call; examples are serialized tf.Examples. Raises EncodeError."""
    body: dict[str, Any] = {"signature_name": signature} if signature else {}
    if context is not None:
        body["context"] = _features(context)
    body["examples"] = [_features(example) for example in examples]
    return json_text.dumps(body)


def _features(example: bytes) -> dict[str, list[Any]]:
    from tfs_client.protos.tensorflow.core.example.example_pb2 import Example

    try:
        features = parse(Example, example, "the example").features.feature
    except DecodeError:
        raise EncodeError(f"expected a serialized tf.Example, got {json_text.excerpt(example)}") from None
    found: dict[str, list[Any]] = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        found[name] = [{"b64": b64encode(value).decode()} for value in values] if kind == "bytes_list" else values
    return found


@reads("the results")
def read_results(body: bytes) -> list[Any]:
    """What a classify or regress call gives for each example. Raises DecodeError."""
    reply = json_text.loads(body)
    if not isinstance(reply, dict) or not isinstance(reply.get("results"), list):
        raise DecodeError(f"expected an object with the list 'results', got {json_text.excerpt(body)}")
    results: list[Any] = reply["results"]
    return results
