"""The input of a model that takes the picture."""

from __future__ import annotations

from collections.abc import Collection

from tfs_client._printable import shown
from tfs_client.errors import ImageError, SignatureError
from tfs_client.signatures import Signature, TensorSpec


def picture_input(signature: Signature, taken: Collection[str] = ()) -> str:
    """Return the alias of the input for the picture: the only possible one, or the only one whose name suggests it.

    Args:
        signature: the model's signature.
        taken: the aliases of inputs that have another value.

    Raises SignatureError if none or several are possible.
    """
    possible = [
        alias
        for alias, spec in signature.inputs.items()
        if alias not in taken and (spec.row.name == "string" or spec.shape is None or len(spec.shape) >= 2)
    ]
    named = [alias for alias in possible if "image" in alias.lower() or "picture" in alias.lower()]
    if len(possible) != 1 and len(named) != 1:
        raise SignatureError(
            "no input given for the picture: use image_input= (--image-input NAME); the inputs are: "
            f"{_inputs_of(signature)}"
        )
    return possible[0] if len(possible) == 1 else named[0]


def spec_of(signature_or_spec: Signature | TensorSpec, image_input: str | None) -> TensorSpec:
    """Return the spec of the input for the picture. Raises SignatureError, and ImageError for other arguments."""
    if isinstance(signature_or_spec, TensorSpec):
        if image_input is not None:
            raise ImageError(f"image_input={shown(image_input)} chooses an input of a signature, got one spec")
        return signature_or_spec
    if not isinstance(signature_or_spec, Signature):
        raise ImageError(f"expected a Signature or a TensorSpec, got {type(signature_or_spec).__name__}")
    alias = picture_input(signature_or_spec) if image_input is None else image_input
    if not isinstance(alias, str) or alias not in signature_or_spec.inputs:
        raise SignatureError(f"unknown input {shown(alias)}; the inputs are: {_inputs_of(signature_or_spec)}")
    return signature_or_spec.inputs[alias]


def files_shape(spec: TensorSpec, count: int) -> tuple[int, ...]:
    """Return the shape of a tensor with the bytes of so many files, one in each row."""
    axes = 1 if spec.shape is None else len(spec.shape)
    return (count, *[1] * (axes - 1)) if axes else ()


def _inputs_of(signature: Signature) -> str:
    return ", ".join(f"{name}: {spec}" for name, spec in sorted(signature.inputs.items())) or "none"
