"""TensorSpec and Signature: what a model takes and gives, by alias."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from tfs_client.codec.casts import survives, surviving_cast
from tfs_client.codec.dtypes import STRING, DType, find, row_of
from tfs_client.codec.values import Untyped, as_array, read
from tfs_client.errors import ConfigError, EncodeError, SignatureError, TFServingError
from tfs_client.shown import listed, shown

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
DEFAULT_SIGNATURE = "serving_default"

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class TensorSpec:
    """The dtype and shape of one input or output.

    Args:
        dtype: a numpy dtype or its name; "string" for bytes, TensorFlow's spellings also work.
        shape: a tuple with None for unknown sizes, or None for unknown rank.
        tensor_name: the tensor behind the alias in the model's graph, e.g. ``"serving_default_x:0"``; "" if unknown.
    """

    dtype: Any
    shape: Shape | None = None
    tensor_name: str = field(default="", kw_only=True, compare=False)
    row: DType = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", find(self.dtype))
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        try:
            object.__setattr__(self, "dtype", self.row.dtype)
        except TFServingError:  # a resource, or bfloat16 without ml-dtypes: the spec still tells what it is
            object.__setattr__(self, "dtype", self.row.name)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape fits."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, shape, strict=True)
        )

    def cast(self, values: Any, alias: str, *, lossless: bool = False) -> np.ndarray[Any, Any]:
        """The values as an array of this dtype; see ``Signature.bind``.

        ``lossless`` casts arrays where every value survives, as ``cast=True`` of a call asks for.
        """
        if type(values) is Untyped or not (hasattr(values, "dtype") or hasattr(values, "__array__")):
            return self._typed(values, alias, lossless)
        array = as_array(values)
        own = row_of(array.dtype)
        if own is self.row or self.row.number == 0:
            return array
        if STRING in (own, self.row):
            raise SignatureError(f"input {alias!r} takes {self}, got {array.dtype} {array.shape}")
        if isinstance(self.dtype, np.dtype) and np.can_cast(array.dtype, self.dtype, "safe"):
            return array.astype(self.dtype)
        if lossless:
            return self.cast_lossless(array, alias)
        hint = f"array.astype({self.dtype_name!r})" if self.row.spec is not None else "an explicit cast"
        raise SignatureError(
            f"input {alias!r} expects {self}, got {array.dtype} {array.shape}; casting could lose values: "
            f"cast explicitly with {hint}{', or with cast=True' if survives(array, self.row) else ''}"
        )

    def cast_lossless(self, array: np.ndarray[Any, Any], alias: str) -> np.ndarray[Any, Any]:
        """The array in this dtype where every value survives the cast (``tfs_client.codec.casts``).

        Raises SignatureError, which names the first value that would not survive.
        """
        if self.row.number == 0:
            return array
        try:
            return surviving_cast(array, self.row)
        except EncodeError as error:
            raise SignatureError(f"input {alias!r} expects {self}, got {array.dtype} {array.shape}: {error}") from None

    def _typed(self, values: Any, alias: str, lossless: bool) -> np.ndarray[Any, Any]:
        """Python values, which have no dtype, in this one."""
        if self.row.field is None:  # of a resource, or of what this version does not know: the server says what it is
            return as_array(values)
        try:
            return as_array(values, self.row)
        except EncodeError as error:
            found = self._array_of(values)
            if found is not None and lossless and survives(found, self.row):
                return surviving_cast(found, self.row)
            hint = ""
            if found is not None and not lossless and survives(found, self.row):
                hint = "; pass cast=True to cast it"
            raise SignatureError(f"input {alias!r} takes {self}: {error}{hint}") from None

    @staticmethod
    def _array_of(values: Any) -> np.ndarray[Any, Any] | None:
        """Numbers as numpy has them, exact; None for others. Raises EncodeError for what no tensor can hold."""
        found = read(values)
        array = found.array if isinstance(found, Untyped) else found
        return array if array.dtype.kind in "biufc" else None

    def __str__(self) -> str:
        return f"{self.dtype_name} {shape_text(self.shape)}"

    @property
    def dtype_name(self) -> str:
        """A readable name of the dtype: numpy's, "string" for bytes, TensorFlow's where numpy has none."""
        plain = isinstance(self.row.spec, str) and self.row.name != "string"
        return np.dtype(self.dtype).name if plain else self.row.name


def shape_text(shape: Shape | None) -> str:
    """A shape for people: ``(?, 224, 224, 3)``, ``scalar``, ``any shape``."""
    if shape is None:
        return "any shape"
    if not shape:
        return "scalar"
    return (
        "(" + ", ".join("?" if size is None else str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"
    )


def shape_difference(want: Shape | None, got: tuple[int, ...]) -> str:
    """How a shape differs from the one that was wanted; empty when it does not."""
    if want is None:
        return ""
    if len(want) != len(got):
        return f"{len(got)} axes instead of {len(want)}"
    pairs = enumerate(zip(want, got, strict=True))
    return ", ".join(f"axis {axis} is {is_} instead of {be}" for axis, (be, is_) in pairs if be not in (None, is_))


def _checked_shape(shape: Any) -> Shape | None:
    if shape is None:
        return None
    try:
        sizes = tuple(None if size is None or size == -1 else operator.index(size) for size in shape)
    except TypeError:
        raise ConfigError(f"a shape is a tuple of sizes with None for unknown ones, not {shape!r}") from None
    if any(size is not None and size < 0 for size in sizes):
        raise ConfigError(f"a shape has no negative sizes: {shape!r}; write None for an unknown size")
    return sizes


@dataclass(frozen=True)
class Signature:
    """One way to call a model.

    Attributes:
        inputs: what it takes, by alias.
        outputs: what it gives, by alias.
        method_name: the API method it was exported for, e.g. ``tensorflow/serving/predict``.
        optional: aliases of inputs for which the model holds a default.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = PREDICT
    optional: frozenset[str] = field(default=frozenset(), kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))
        object.__setattr__(self, "outputs", MappingProxyType(dict(self.outputs)))

    @property
    def required(self) -> tuple[str, ...]:
        """Aliases of the inputs that every request must have."""
        return tuple(alias for alias in self.inputs if alias not in self.optional)

    def mismatch(self, sent: Mapping[str, np.ndarray[Any, Any]], *, any_rows: bool = False) -> str:
        """How inputs differ from the signature, for people: names, dtypes, shapes. Empty when they do not.

        ``any_rows`` leaves out what another number of rows along axis 0 would mend.
        """
        lines = []
        for alias in sent:
            if alias not in self.inputs:
                from difflib import get_close_matches  # slow to import, and nobody is in a hurry here

                names = {name.casefold(): name for name in self.inputs}
                near = get_close_matches(alias.casefold(), names, n=1)
                lines.append(f"{alias!r} is not an input" + (f", but {names[near[0]]!r} is" if near else ""))
        for alias, spec in self.inputs.items():
            if alias not in sent:
                if alias not in self.optional:
                    lines.append(f"{alias!r} is missing: {spec}")
                continue
            array = sent[alias]
            own = row_of(array.dtype)
            shape = (spec.shape[0] or 0, *array.shape[1:]) if any_rows and spec.shape and array.ndim else array.shape
            if spec.row is not own or not spec.accepts(shape):
                name = own.name if own is STRING or own.spec is None else array.dtype
                if spec.row is own:
                    what = shape_difference(spec.shape, array.shape)
                else:
                    what = "another dtype" + ("; pass cast=True to cast it" if survives(array, spec.row) else "")
                lines.append(f"{alias!r} expects {spec}, got {name} {shape_text(array.shape)}: {what}")
        return "; ".join(lines)

    def __hash__(self) -> int:
        return hash((frozenset(self.inputs.items()), frozenset(self.outputs.items()), self.method_name, self.optional))

    def __reduce__(self) -> tuple[Any, ...]:  # the read-only mappings themselves cannot be pickled
        return _signature, (dict(self.inputs), dict(self.outputs), self.method_name, self.optional)

    def __repr__(self) -> str:
        optional = f", optional={set(self.optional)!r}" if self.optional else ""
        return f"Signature({dict(self.inputs)!r}, {dict(self.outputs)!r}, {self.method_name!r}{optional})"

    def typed(self, values: Mapping[str, Any], *, cast: bool = False) -> dict[str, Any]:
        """Inputs by name, of which Untyped ones get the dtype that the signature wants; ``cast`` casts arrays too.

        Inputs that the signature does not have stay as they are. Raises SignatureError for values that do not fit, and
        with ``cast`` for arrays of which a value would not survive.
        """
        found = dict(values)
        for alias, value in values.items():
            spec = self.inputs.get(alias)
            if spec is None:
                continue
            if isinstance(value, Untyped):
                found[alias] = spec.cast(value, alias, lossless=cast)
            elif cast:
                found[alias] = spec.cast_lossless(value, alias)
        return found

    def bind(self, values: Any, *, cast: bool = False) -> dict[str, np.ndarray[Any, Any]]:
        """A single value as the signature's one required input, in the dtype that the signature wants.

        Python values must fit the dtype. Arrays are cast only where nothing can be lost; with ``cast`` where every
        value survives.

        Raises SignatureError when the signature does not have exactly one required input, or for a lossy cast;
        EncodeError, which names the input, for values that are no tensor.
        """
        required = self.required
        if len(required) != 1:
            names = listed([f"{alias}: {self.inputs[alias]}" for alias in sorted(required)])
            kind = type(values).__name__
            if isinstance(values, Untyped):
                kind = "list" if values.array.ndim else "number"
            raise SignatureError(f"expected inputs by name, got one {kind}; the inputs are: {names}")
        alias = required[0]
        try:
            return {alias: self.inputs[alias].cast(values, alias, lossless=cast)}
        except EncodeError as error:
            raise EncodeError(f"input {alias!r}: {error}") from error.__cause__

    def __str__(self) -> str:
        def side(specs: Mapping[str, TensorSpec]) -> str:
            return ", ".join(f"{alias}: {spec}" for alias, spec in specs.items()) or "nothing"

        return f"{side(self.inputs)} -> {side(self.outputs)}"


def takes_strings(signature: Signature) -> str:
    """The alias of the only required input where that takes a string for each row, as for tf.Examples; else ""."""
    required = signature.required
    spec = signature.inputs[required[0]] if len(required) == 1 else None
    return required[0] if spec is not None and spec.row is STRING and len(spec.shape or (None,)) == 1 else ""


def _signature(inputs: Any, outputs: Any, method_name: str, optional: frozenset[str]) -> Signature:
    return Signature(inputs, outputs, method_name, optional=optional)


class Signatures(Mapping[str, Signature]):
    """The signatures of one model version, by name; ``print`` shows them as a table."""

    __slots__ = ("_model", "_signatures", "_version")

    def __init__(self, signatures: Mapping[str, Signature], *, model: str, version: int | None) -> None:
        self._signatures = dict(signatures)
        self._model = model
        self._version = version

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model

    @property
    def version(self) -> int | None:
        """The version that answered; None when the server does not say."""
        return self._version

    def __getitem__(self, name: str) -> Signature:
        return self._signatures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._signatures)

    def __len__(self) -> int:
        return len(self._signatures)

    def named(self, name: str) -> Signature:
        """The signature of that name. Raises SignatureError, which lists the names, when there is none."""
        try:
            return self._signatures[name]
        except KeyError:
            raise SignatureError(
                f"model {shown(self.model)} has no signature {shown(name)}; its signatures: {listed(sorted(self))}"
            ) from None

    def __repr__(self) -> str:
        return f"Signatures({self._signatures!r}, model={self.model!r}, version={self.version})"

    def __str__(self) -> str:
        lines = [f"{self.model} version {self.version}"]
        for name, signature in sorted(self.items()):
            lines.append(f"  {name}  [{signature.method_name or 'no method'}]")
            for side, specs in (("in ", signature.inputs), ("out", signature.outputs)):
                lines += [f"    {side} {alias}: {spec}" for alias, spec in sorted(specs.items())]
        return "\n".join(lines)


GivenSignatures = Signatures | Mapping[str, Any] | str | bytes | os.PathLike[str]
"""Signatures as a user states them: Signatures, the JSON of /metadata, or the folder of a SavedModel."""
