"""How a fake answers: zeros, random values, or a function."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from tfs_client._codec.axis_names import AxisNames
from tfs_client._codec.dtypes import STRING, Array
from tfs_client._codec.random_values import INTEGERS, random_values
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, InvalidArgumentError, OutOfRangeError, ResourceExhaustedError, TFServingError
from tfs_client.server.fakes.output_shapes import UNNAMED, Shape, output_shapes
from tfs_client.signatures import Signature, TensorSpec

Answer = Literal["zeros", "random"] | Callable[[str, Mapping[str, Array]], object]
"""Zeros, random values that depend on the seed and the inputs, or a function from signature and inputs to outputs."""

MOST_BYTES = (1 << 31) - 1  # of an output: a message cannot be longer


class SignatureAnswer:
    """Answers the calls of one signature.

    Args:
        name: the signature's name.
        answer: how to answer.
        seed: changes random values.
        names: the names of open sizes.
        integers: random integers are below it, where the dtype has as many.

    Raises ConfigError for another ``answer``.
    """

    def __init__(
        self,
        name: str,
        signature: Signature,
        answer: Answer,
        seed: int,
        *,
        names: AxisNames = UNNAMED,
        integers: int = INTEGERS,
    ) -> None:
        if answer not in ("zeros", "random") and not callable(answer):
            raise ConfigError(f"expected answer='zeros', 'random' or a function, got {shown(answer)}")
        self._name = name
        self._signature = signature
        self._answer = answer
        self._seed = seed
        self._names = names
        self._integers = integers

    def __call__(self, /, **inputs: Array) -> object:
        """Return the outputs by alias. Raises CallError for outputs that no reply can hold."""
        if callable(self._answer):
            return self._answer(self._name, inputs)
        shapes = output_shapes(self._signature, inputs, self._names)
        for alias, spec in self._signature.outputs.items():
            _check(alias, spec, shapes[alias])
        if self._answer == "zeros":
            return {alias: _zeros(spec, shapes[alias]) for alias, spec in self._signature.outputs.items()}
        digest = _digest(self._seed, self._name, inputs)
        return {
            alias: _random(digest + alias.encode(errors="surrogatepass"), spec, shapes[alias], self._integers)
            for alias, spec in self._signature.outputs.items()
        }


def _check(alias: str, spec: TensorSpec, shape: Shape) -> None:
    """Refuse an output that a message cannot hold."""
    if not spec.row.number:  # as the runtime does, but with other words
        raise OutOfRangeError(f"output {shown(alias)} is an op without outputs: {shown(spec.tensor_name)}")
    try:
        width = spec.row.dtype.itemsize
    except TFServingError as error:
        raise InvalidArgumentError(f"a fake cannot answer output {shown(alias)}: {error}") from None
    size = math.prod(shape) * width
    if size > MOST_BYTES:
        raise ResourceExhaustedError(
            f"a fake cannot answer output {shown(alias)} of shape {shown(shape)}: it would have {size} bytes, expected "
            f"at most {MOST_BYTES}"
        )


def _zeros(spec: TensorSpec, shape: Shape) -> Array:
    return np.full(shape, b"", object) if spec.row is STRING else np.zeros(shape, spec.row.dtype)


def _digest(seed: int, name: str, inputs: Mapping[str, Array]) -> bytes:
    """Return a hash of the seed, the signature's name and the inputs."""
    import hashlib

    found = hashlib.blake2b(f"{seed} {len(name)} {name}".encode(errors="surrogatepass"), digest_size=16)
    for alias, array in sorted(inputs.items()):
        found.update(f"{len(alias)} {alias} {array.dtype} {array.shape}".encode(errors="surrogatepass"))
        if array.dtype == object:
            for value in array.flat:
                found.update(struct.pack("<Q", len(value)))
                found.update(value)
        else:
            found.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return found.digest()


def _random(key: bytes, spec: TensorSpec, shape: Shape, integers: int) -> Array:
    import hashlib

    seed = int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "little")
    return random_values(np.random.Generator(np.random.PCG64(seed)), spec.row, shape, integers)
