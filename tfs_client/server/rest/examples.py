"""The body of a Classify or Regress request: JSON objects to tf.Example messages.

Source: util/json_tensor.cc (FillClassificationRequestFromJson, FillRegressionRequestFromJson,
MakeExampleFromJsonObject).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfs_client.codec import examples as wire_examples
from tfs_client.errors import EncodeError, InvalidArgumentError, reads
from tfs_client.server.rest.json_debug import debug_text, type_name
from tfs_client.server.rest.json_text import bytes_of, members
from tfs_client.server.rest.requests import signature_name
from tfs_client.server.rest.values import from_base64, is_base64

BYTES, FLOAT, INT64 = "bytes", "float", "int64"


@dataclass(frozen=True)
class ExamplesRequest:
    """What a body asks for.

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
        """The examples as the model gets them: the context's bytes before each."""
        return self.examples if self.context is None else [self.context + example for example in self.examples]


@reads("the body", InvalidArgumentError)
def examples_request(root: dict[str, Any], method: str) -> ExamplesRequest:
    """Read the body of a request to "classify" or "regress". Raises InvalidArgumentError."""
    signature = signature_name(root)
    context = _example(root["context"]) if "context" in root else None
    return ExamplesRequest(signature, [_example(value) for value in _listed(root, method)], context)


def _listed(root: dict[str, Any], method: str) -> list[Any]:
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


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"Example must be JSON object but got JSON {type_name(value)}")
    # Of features that repeat a name the last one counts.
    features: Mapping[str, Any] = {name: _feature(name, feature) for name, feature in members(value)}
    try:
        return wire_examples.write(features)
    except EncodeError as error:  # a name that is no UTF-8
        raise InvalidArgumentError(str(error)) from None


def _feature(name: str, value: Any) -> Any:
    """The feature's values, as what the codec makes the right list of."""
    values = value if isinstance(value, list) else [value]
    kinds = [_kind(name, item) for item in values[:1]]
    found = []
    for item in values:
        if _kind(name, item) != kinds[0]:
            raise InvalidArgumentError(f"Unexpected element type in feature: {name} expecting type: {kinds[0]}")
        found.append(_read(item))
    if not kinds:
        return []  # a feature without values is one without a kind
    if kinds[0] == BYTES:
        return found
    with np.errstate(over="ignore", under="ignore"):  # what is too large becomes infinite
        return np.array(found, np.float64).astype(np.float32) if kinds[0] == FLOAT else np.array(found, np.int64)


def _kind(name: str, value: Any) -> str:
    if isinstance(value, float):
        return FLOAT
    if isinstance(value, int):  # also a bool
        if value >> 63 > 0:
            raise InvalidArgumentError(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        return INT64
    if isinstance(value, str) or is_base64(value):
        return BYTES
    raise InvalidArgumentError(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        return from_base64(value["b64"])
    return bytes_of(value) if isinstance(value, str) else value
