"""The body of a Classify or Regress request: JSON objects that become tf.Example messages.

Source: util/json_tensor.cc (FillClassificationRequestFromJson, FillRegressionRequestFromJson,
MakeExampleFromJsonObject).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tfs_client._codec import examples as wire_examples
from tfs_client._codec.dtypes import Array
from tfs_client.errors import EncodeError, InvalidArgumentError, reads
from tfs_client.server.rest.json_debug import debug_text, type_name
from tfs_client.server.rest.json_types import JsonValue, bytes_of, members
from tfs_client.server.rest.json_values import from_base64, is_base64
from tfs_client.server.rest.predict_requests import signature_name

BYTES, FLOAT, INT64 = "bytes", "float", "int64"

Feature: TypeAlias = "Array | Sequence[bytes | int | float]"  # from which the codec chooses the kind of the list


@dataclass(frozen=True)
class ExamplesRequest:
    """The content of a body.

    Attributes:
        signature: the name of the signature, or "".
        examples: serialized examples.
        context: a serialized example, or None.
    """

    signature: str
    examples: list[bytes]
    context: bytes | None

    @property
    def joined(self) -> list[bytes]:
        """The examples for the model: the bytes of each follow those of the context."""
        return self.examples if self.context is None else [self.context + example for example in self.examples]


@reads("the body", InvalidArgumentError)
def examples_request(root: dict[str, JsonValue], method: str) -> ExamplesRequest:
    """Read the body of a request to "classify" or "regress". Raises InvalidArgumentError."""
    signature = signature_name(root)
    context = _example(root["context"]) if "context" in root else None
    return ExamplesRequest(signature, [_example(value) for value in _listed(root, method)], context)


def _listed(root: dict[str, JsonValue], method: str) -> list[JsonValue]:
    if "examples" not in root:
        raise InvalidArgumentError(
            f"JSON Value: {debug_text(root)} When method is {method}, key 'examples' is expected and was not found"
        )
    examples = root["examples"]
    if not isinstance(examples, list):
        raise InvalidArgumentError(f"JSON Value: {debug_text(root)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise InvalidArgumentError(f"JSON Value: {debug_text(root)} 'examples' value is an empty array")
    return examples


def _example(value: JsonValue) -> bytes:
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"Example must be JSON object but got JSON {type_name(value)}")
    # The last of several features with one name wins.
    features: Mapping[str, Feature] = {name: _feature(name, feature) for name, feature in members(value)}
    try:
        return wire_examples.write(features)
    except EncodeError as error:  # a name that is not UTF-8
        raise InvalidArgumentError(str(error)) from None


def _feature(name: str, value: JsonValue) -> Feature:
    """Return the values of a feature in the form from which the codec makes a list of the right kind."""
    values = value if isinstance(value, list) else [value]
    kinds = [_kind(name, item) for item in values[:1]]
    found = []
    for item in values:
        if _kind(name, item) != kinds[0]:
            raise InvalidArgumentError(f"Unexpected element type in feature: {name} expecting type: {kinds[0]}")
        found.append(_read(item))
    if not kinds:
        return []  # a feature without values has no kind
    if kinds[0] == BYTES:
        return found
    with np.errstate(over="ignore", under="ignore"):  # values that are too large become infinite
        return np.array(found, np.float64).astype(np.float32) if kinds[0] == FLOAT else np.array(found, np.int64)


def _kind(name: str, value: JsonValue) -> str:
    if isinstance(value, float):
        return FLOAT
    if isinstance(value, int):  # also a bool
        if value >> 63 > 0:
            raise InvalidArgumentError(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        return INT64
    if isinstance(value, str) or is_base64(value):
        return BYTES
    raise InvalidArgumentError(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _read(value: JsonValue) -> bytes | int | float:
    """Return a value whose kind has been checked."""
    if is_base64(value):
        return from_base64(value["b64"])
    if isinstance(value, str):
        return bytes_of(value)
    assert isinstance(value, (int, float))
    return value
