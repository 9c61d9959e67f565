"""The body of a Predict request: its keys, its two forms, and the order in which the model server finds fault.

Source: util/json_tensor.cc (FillPredictRequestFromJson) and model_servers/http_rest_api_handler.cc.
Row form lists instances, which are stacked; columnar form has one value for each input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import CallError, InvalidArgumentError, reads
from tfs_client.server.rest import json_text
from tfs_client.server.rest.json_debug import debug_text
from tfs_client.server.rest.json_text import members
from tfs_client.server.rest.values import Shape, array_of, is_base64, leaves, packed
from tfs_client.server.servable import Array, Servable
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature

ROW, COLUMNAR = "row", "columnar"


@dataclass(frozen=True)
class TensorRequest:
    """A Predict request whose tensors are arrays already.

    Attributes:
        spec: whose signature is meant.
        inputs: arrays by alias.
        outputs: none are named, so all are wanted.
    """

    spec: ModelSpec
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] = ()

    def tensor(self, alias: str) -> Array:
        """An input."""
        return self.inputs[alias]


@reads("the body", InvalidArgumentError)
def read_body(data: bytes) -> dict[str, Any]:
    """The root of a body, which must be an object. Raises InvalidArgumentError."""
    try:
        root = json_text.read(data)
    except json_text.Malformed as error:
        raise InvalidArgumentError(f"JSON Parse error: {error}") from None
    if not isinstance(root, dict):
        raise InvalidArgumentError(f"JSON Value: {debug_text(root)} Is not object")
    return root


def signature_name(root: dict[str, Any]) -> str:
    """The name of the signature; "" when the body has none."""
    name = root.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidArgumentError(
            f"JSON Value: {debug_text(root)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def predict_request(root: dict[str, Any], spec: ModelSpec, servable: Servable) -> TensorRequest:
    """What the body asks of a servable that was found for it. Raises CallError."""
    name = spec.signature or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise InvalidArgumentError(f'Serving signature name: "{name}" not found in signature def')
    if not signature.inputs:
        raise InvalidArgumentError(f"Failed to get input map for signature: {spec.signature or 'DEFAULT'}")
    inputs = tensors_of(root, signature)
    for array in inputs.values():  # as over gRPC, where they are views of the request
        array.flags.writeable = False
    return TensorRequest(spec, inputs)


def form_of(root: dict[str, Any]) -> str:
    """ROW or COLUMNAR; the reply takes the form of the request."""
    return ROW if "instances" in root else COLUMNAR


@reads("the body", InvalidArgumentError)
def tensors_of(root: dict[str, Any], signature: Signature) -> dict[str, Array]:
    """The inputs of a body. Raises CallError."""
    if "instances" in root and "inputs" in root:
        raise InvalidArgumentError(
            f"JSON Value: {debug_text(root)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in root:
        return _row(root, signature)
    if "inputs" in root:
        return _columnar(root["inputs"], signature)
    raise InvalidArgumentError("Missing 'inputs' or 'instances' key")


# --- columnar form ---------------------------------------------------------------------------------------------------


def _columnar(value: Any, signature: Signature) -> dict[str, Array]:
    if isinstance(value, dict) and not is_base64(value):
        return {alias: _tensor(alias, _named(value, alias), signature) for alias in signature.inputs}
    if len(signature.inputs) > 1:
        raise InvalidArgumentError(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    return {alias: _tensor(alias, value, signature) for alias in signature.inputs}


def _named(value: dict[str, Any], alias: str) -> Any:
    if alias not in value:
        raise InvalidArgumentError(f"Missing named input: {alias} in 'inputs' object.")
    return value[alias]


def _tensor(alias: str, value: Any, signature: Signature) -> Array:
    row = signature.inputs[alias].row
    array = array_of(value, row)
    if array is None:
        shape, flat = leaves(value, row)
        return packed(alias, flat, shape, row)
    return array


# --- row form --------------------------------------------------------------------------------------------------------


def _row(root: dict[str, Any], signature: Signature) -> dict[str, Array]:
    instances = root["instances"]
    if not isinstance(instances, list):
        raise InvalidArgumentError(f"JSON Value: {debug_text(root)} Expecting 'instances' to be an list/array")
    if not instances:
        raise InvalidArgumentError(f"JSON Value: {debug_text(root)} No values in 'instances' array")
    named = _is_named(instances[0])
    if not named and len(signature.inputs) > 1 and not isinstance(instances[0], dict):
        raise InvalidArgumentError(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    found = _stacked_at_once(instances, signature, named)
    return _Stack(signature).fill(instances, named) if found is None else found


def _is_named(instance: Any) -> bool:
    return isinstance(instance, dict) and not is_base64(instance)


def _stacked_at_once(instances: list[Any], signature: Signature, named: bool) -> dict[str, Array] | None:
    """The instances as arrays, if all of them are alike; None when it takes a closer look."""
    if not named:
        alias = next(iter(signature.inputs))
        columns = {alias: instances}
    else:
        aliases = signature.inputs.keys()
        if any(type(instance) is not dict or instance.keys() != aliases for instance in instances):
            return None
        columns = {alias: [instance[alias] for instance in instances] for alias in aliases}
    found = {}
    for alias, column in columns.items():
        array = array_of(column, signature.inputs[alias].row)
        if array is None:
            return None
        found[alias] = array
    return found


class _Stack:
    """Instances taken one after the other; for each input the leaves so far, and the shape of one instance."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.flat: dict[str, list[Any]] = {}
        self.sizes: dict[str, int] = {}
        self.shapes: dict[str, Shape] = {}

    def fill(self, instances: list[Any], named: bool) -> dict[str, Array]:
        for index, instance in enumerate(instances):
            if _is_named(instance) != named:
                expected, got = ("object", "list") if named else ("value/list", "object")
                raise InvalidArgumentError(f"Expecting {expected} but got {got} at item {index} of input list")
            if named:
                self._add_named(instance, index)
            else:
                self._add(instance, next(iter(self.signature.inputs)), f"{index} of 'instances' list.")
        return {
            alias: packed(alias, flat, (len(instances), *self.shapes[alias]), self.signature.inputs[alias].row)
            for alias, flat in self.flat.items()
        }

    def _add_named(self, instance: dict[str, Any], index: int) -> None:
        for name, value in members(instance):
            self._add(value, name, f"{index} key: {name} of 'instances' list.")
        if instance.keys() != self.signature.inputs.keys():
            names = ",".join(sorted(self.signature.inputs, key=str.encode))
            raise InvalidArgumentError(
                f"Failed to process element: {index} of 'instances' list. JSON object: {debug_text(instance)} "
                f"keys must be equal to: {names}"
            )

    def _add(self, value: Any, alias: str, where: str) -> None:
        try:
            self._add_value(value, alias)
        except CallError as error:
            raise InvalidArgumentError(
                f"Failed to process element: {where} Error: {error.code.name}: {error.details}"
            ) from None

    def _add_value(self, value: Any, alias: str) -> None:
        if alias not in self.signature.inputs:
            raise InvalidArgumentError(f"JSON object: does not have named input: {alias}")
        shape, flat = leaves(value, self.signature.inputs[alias].row)
        size = self.sizes.setdefault(alias, len(flat))
        if size != len(flat):
            raise InvalidArgumentError(f"Expecting tensor size: {size} but got: {len(flat)}")
        known = self.shapes.setdefault(alias, shape)
        if known != shape:
            raise InvalidArgumentError(f"Expecting shape {_shown(known)} but got: {_shown(shape)}")
        self.flat.setdefault(alias, []).extend(flat)


def _shown(shape: Shape) -> str:
    return f"[{','.join(map(str, shape))}]"
