"""The body of a Predict request: its keys, its two forms, and the order of the model server's checks.

Source: util/json_tensor.cc (FillPredictRequestFromJson) and model_servers/http_rest_api_handler.cc.
The row form lists instances, which are stacked; the columnar form has one value for each input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import CallError, InvalidArgumentError, reads
from tfs_client.server.rest import json_reader
from tfs_client.server.rest.json_debug import debug_text
from tfs_client.server.rest.json_types import JsonValue, members
from tfs_client.server.rest.json_values import Leaf, Shape, array_of, is_base64, leaves, packed
from tfs_client.server.servable import Servable
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature

ROW, COLUMNAR = "row", "columnar"


@dataclass(frozen=True)
class TensorRequest:
    """A Predict request with its tensors as arrays.

    Attributes:
        spec: the model and the signature.
        inputs: arrays by alias.
        outputs: the requested outputs; empty, which means all, because REST requests do not name outputs.
    """

    spec: ModelSpec
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] = ()

    def tensor(self, alias: str) -> Array:
        """Return an input."""
        return self.inputs[alias]


@reads("the body", InvalidArgumentError)
def read_body(data: bytes) -> dict[str, JsonValue]:
    """Read a body, which must be an object. Raises InvalidArgumentError."""
    try:
        root = json_reader.read(data)
    except json_reader.Malformed as error:
        raise InvalidArgumentError(f"JSON Parse error: {error}") from None
    if not isinstance(root, dict):
        raise InvalidArgumentError(f"JSON Value: {debug_text(root)} Is not object")
    return root


def signature_name(root: dict[str, JsonValue]) -> str:
    """Return the name of the signature; "" if the body has none."""
    name = root.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidArgumentError(
            f"JSON Value: {debug_text(root)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def predict_request(root: dict[str, JsonValue], spec: ModelSpec, servable: Servable) -> TensorRequest:
    """Return the request that a body makes to a servable. Raises CallError."""
    name = spec.signature or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise InvalidArgumentError(f'Serving signature name: "{name}" not found in signature def')
    if not signature.inputs:
        raise InvalidArgumentError(f"Failed to get input map for signature: {spec.signature or 'DEFAULT'}")
    inputs = tensors_of(root, signature)
    for array in inputs.values():  # as over gRPC, where arrays are views of the request
        array.flags.writeable = False
    return TensorRequest(spec, inputs)


def form_of(root: dict[str, JsonValue]) -> str:
    """Return ROW or COLUMNAR. The reply has the form of the request."""
    return ROW if "instances" in root else COLUMNAR


@reads("the body", InvalidArgumentError)
def tensors_of(root: dict[str, JsonValue], signature: Signature) -> dict[str, Array]:
    """Return the inputs in a body. Raises CallError."""
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


def _columnar(value: JsonValue, signature: Signature) -> dict[str, Array]:
    if _is_named(value):
        return {alias: _tensor(alias, _named(value, alias), signature) for alias in signature.inputs}
    if len(signature.inputs) > 1:
        raise InvalidArgumentError(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    return {alias: _tensor(alias, value, signature) for alias in signature.inputs}


def _named(value: dict[str, JsonValue], alias: str) -> JsonValue:
    if alias not in value:
        raise InvalidArgumentError(f"Missing named input: {alias} in 'inputs' object.")
    return value[alias]


def _tensor(alias: str, value: JsonValue, signature: Signature) -> Array:
    row = signature.inputs[alias].row
    array = array_of(value, row)
    if array is None:
        shape, flat = leaves(value, row)
        return packed(alias, flat, shape, row)
    return array


# --- row form --------------------------------------------------------------------------------------------------------


def _row(root: dict[str, JsonValue], signature: Signature) -> dict[str, Array]:
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
    # Instances of regular requests are stacked in bulk. Anything else is read one by one, which finds every error in
    # the model server's order.
    found = _stacked_at_once(instances, signature, named)
    return _Stack(signature).fill(instances, named) if found is None else found


def _is_named(value: JsonValue) -> TypeGuard[dict[str, JsonValue]]:
    """Return whether a value is an object of named inputs, not a string in base64."""
    return isinstance(value, dict) and not is_base64(value)


def _stacked_at_once(instances: list[JsonValue], signature: Signature, named: bool) -> dict[str, Array] | None:
    """Stack the instances if all have the same form; None if they must be read one by one."""
    if not named:
        alias = next(iter(signature.inputs))
        columns = {alias: instances}
    else:
        aliases = signature.inputs.keys()
        objects = [instance for instance in instances if type(instance) is dict and instance.keys() == aliases]
        if len(objects) < len(instances):
            return None
        columns = {alias: [instance[alias] for instance in objects] for alias in aliases}
    found = {}
    for alias, column in columns.items():
        array = array_of(column, signature.inputs[alias].row)
        if array is None:
            return None
        found[alias] = array
    return found


class _Stack:
    """Stacks instances one by one: for each input the elements so far, and the shape in one instance."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.flat: dict[str, list[Leaf]] = {}
        self.sizes: dict[str, int] = {}
        self.shapes: dict[str, Shape] = {}

    def fill(self, instances: list[JsonValue], named: bool) -> dict[str, Array]:
        for index, instance in enumerate(instances):
            if _is_named(instance) != named:
                expected, got = ("object", "list") if named else ("value/list", "object")
                raise InvalidArgumentError(f"Expecting {expected} but got {got} at item {index} of input list")
            if _is_named(instance):
                self._add_named(instance, index)
            else:
                self._add(instance, next(iter(self.signature.inputs)), f"{index} of 'instances' list.")
        return {
            alias: packed(alias, flat, (len(instances), *self.shapes[alias]), self.signature.inputs[alias].row)
            for alias, flat in self.flat.items()
        }

    def _add_named(self, instance: dict[str, JsonValue], index: int) -> None:
        for name, value in members(instance):
            self._add(value, name, f"{index} key: {name} of 'instances' list.")
        if instance.keys() != self.signature.inputs.keys():
            names = ",".join(sorted(self.signature.inputs, key=str.encode))
            raise InvalidArgumentError(
                f"Failed to process element: {index} of 'instances' list. JSON object: {debug_text(instance)} "
                f"keys must be equal to: {names}"
            )

    def _add(self, value: JsonValue, alias: str, where: str) -> None:
        try:
            self._add_value(value, alias)
        except CallError as error:
            raise InvalidArgumentError(
                f"Failed to process element: {where} Error: {error.code.name}: {error.details}"
            ) from None

    def _add_value(self, value: JsonValue, alias: str) -> None:
        if alias not in self.signature.inputs:
            raise InvalidArgumentError(f"JSON object: does not have named input: {alias}")
        shape, flat = leaves(value, self.signature.inputs[alias].row)
        size = self.sizes.setdefault(alias, len(flat))
        if size != len(flat):
            raise InvalidArgumentError(f"Expecting tensor size: {size} but got: {len(flat)}")
        known = self.shapes.setdefault(alias, shape)
        if known != shape:
            raise InvalidArgumentError(f"Expecting shape {_shape_text(known)} but got: {_shape_text(shape)}")
        self.flat.setdefault(alias, []).extend(flat)


def _shape_text(shape: Shape) -> str:
    return f"[{','.join(map(str, shape))}]"
