"""Inputs with random values, made from the signature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tfs_client._codec import predict_messages
from tfs_client._codec.dtypes import Array
from tfs_client._codec.random_values import random_values
from tfs_client._printable import bounded, listed, shown
from tfs_client.cli.bench.query_sources.predictions import check_bytes
from tfs_client.cli.example_inputs import examples_input
from tfs_client.errors import ConfigError
from tfs_client.signatures import Signature, Signatures, TensorSpec, shape_text

OTHERS = "--input, --inputs or --recording"
LONGEST_NAME = 100  # bytes of a name in an example
PICTURE_AXES, CHANNELS = 4, (1, 3)  # of inputs that are probably pictures
PICTURE_SIZE = 224  # the most frequent one of models that classify pictures
INTEGERS = 2
DISTINCT = 8  # requests that differ: a cache for whole requests would show, and they are soon made


@dataclass(frozen=True)
class RandomInputs:
    """How random requests are generated.

    Attributes:
        rows: the size of the batch; None if the command line does not say: 1.
        shapes: shapes of inputs by alias, with None for the size of the batch.
        distinct: how many requests differ; None if the command line does not say: 8.
        integers: random integers are below it; None if the command line does not say: 2, because 0 and 1 are valid for
            most models, and larger numbers only for some.
        seed: changes the values.
    """

    rows: int | None = None
    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    distinct: int | None = None
    integers: int | None = None
    seed: int = 0

    def requests(self, model: Signatures, name: str, given: Mapping[str, Array]) -> list[dict[str, Array]]:
        """Return the inputs of each request.

        Args:
            model, name: the signature.
            given: inputs that all requests have.

        Raises ConfigError for inputs for which random values cannot be generated, and for shapes that the signature
        leaves open.
        """
        signature = model.named(name)
        wanted = [alias for alias in signature.required if alias not in given]
        if wanted and (examples := examples_input(model, name)) in wanted:
            raise ConfigError(
                f"input {shown(examples)} of signature {shown(name)} takes tf.Examples, which cannot be made from a "
                f"signature: use {OTHERS}"
            )
        self._check_shapes(signature, given)
        shapes = {alias: self._shape(alias, signature.inputs[alias]) for alias in (*wanted, *self._optional(signature))}
        if not shapes:
            self._check_all_given()
            return [dict(given)]
        self._check_rows(signature, shapes)
        self._check_integers(signature, shapes)
        integers = INTEGERS if self.integers is None else self.integers
        distinct = DISTINCT if self.distinct is None else self.distinct
        check_bytes(distinct * sum(_bytes(signature.inputs[alias], shape) for alias, shape in shapes.items()))
        made = []
        for number in range(distinct):
            rng = np.random.Generator(np.random.PCG64([self.seed, number]))
            values = {
                alias: random_values(rng, signature.inputs[alias].row, shape, integers)
                for alias, shape in shapes.items()
            }
            made.append({**given, **values})
        return made

    def _optional(self, signature: Signature) -> list[str]:
        """Optional inputs for which the command line has a shape."""
        return [alias for alias in self.shapes if alias in signature.optional]

    def _check_shapes(self, signature: Signature, given: Mapping[str, Array]) -> None:
        for alias in self.shapes:
            if alias not in signature.inputs:
                raise ConfigError(f"--shape: unknown input {shown(alias)}; the inputs are: {listed(signature.inputs)}")
            if alias in given:
                raise ConfigError(f"--shape {alias}: the values of this input are given: use one of them")

    def _check_all_given(self) -> None:
        """Refuse options for random values where all values are given."""
        for flag, value in (("--rows", self.rows), ("--distinct", self.distinct), ("--integers", self.integers)):
            if value is not None:
                raise ConfigError(f"{flag} needs a random input, but --input sets them all: omit {flag}")

    def _check_rows(self, signature: Signature, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a number of rows that no input would have."""
        if self.rows is None:
            return
        if not any(shape and shape[0] == self.rows for shape in shapes.values()):
            inputs = ", ".join(f"{alias}: {signature.inputs[alias]}" for alias in shapes)
            fixed = next((alias for alias, sizes in self.shapes.items() if sizes and sizes[0] is not None), None)
            advice = ""
            if fixed is not None:
                sizes = ",".join(["?", *map(str, self.shapes[fixed][1:])])
                advice = f"; write --shape '{bounded(fixed, LONGEST_NAME)}={sizes}' to let --rows set the first size"
            raise ConfigError(f"--rows {self.rows} fits no input; the inputs are: {inputs}{advice}")

    def _check_integers(self, signature: Signature, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a limit on integers where no input has any."""
        if self.integers is not None and not any("int" in signature.inputs[alias].row.name for alias in shapes):
            inputs = ", ".join(f"{alias}: {signature.inputs[alias]}" for alias in shapes)
            raise ConfigError(f"--integers {self.integers}: no random input takes integers; the inputs are: {inputs}")

    def _shape(self, alias: str, spec: TensorSpec) -> tuple[int, ...]:
        if not isinstance(spec.dtype, np.dtype) or not spec.row.number:
            raise ConfigError(
                f"input {shown(alias)} expects {spec}, for which random values cannot be generated: use {OTHERS}"
            )
        rows = 1 if self.rows is None else self.rows
        asked = self.shapes.get(alias)
        if asked is None:
            asked = spec.shape
            if asked is None or None in asked[1:]:
                name = bounded(alias, LONGEST_NAME)
                pictures = asked is not None and len(asked) == PICTURE_AXES and asked[-1] in CHANNELS
                usual = PICTURE_SIZE if pictures else 1
                example = ",".join(
                    "?" if not axis else str(usual if size is None else size)
                    for axis, size in enumerate(asked or (None, 1))
                )
                raise ConfigError(
                    f"input {shown(alias)} expects {spec}, which leaves sizes open besides the batch: expected --shape "
                    f"{name}=SIZES, for example --shape '{name}={example}', where ? is the number of rows"
                    f"{'; or --image FILE, to send pictures' if pictures else ''}"
                )
        sizes = tuple(rows if size is None else size for size in asked)
        if not spec.accepts(sizes):
            raise ConfigError(f"input {shown(alias)} expects {spec}, got {shape_text(sizes)}")
        if _bytes(spec, sizes) > predict_messages.MAX_MESSAGE:
            raise ConfigError(f"input {shown(alias)} of shape {shape_text(sizes)} does not fit in one message")
        return sizes


def _bytes(spec: TensorSpec, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * int(spec.row.dtype.itemsize)
