"""TensorSpec, Signature and Signatures: a model's inputs and outputs by alias."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_client._codec.casts import survives, surviving_cast
from tfs_client._codec.dtypes import BY_NUMBER, STRING, Array, DType, find, row_of
from tfs_client._codec.values import Untyped, as_array, read
from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError, EncodeError, SignatureError, TFServingError

if TYPE_CHECKING:
    from tfs_client._codec.signature_defs import SignatureInfo, TensorInfo

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
DEFAULT_SIGNATURE = "serving_default"

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class TensorSpec:
    """The dtype and shape of one input or output.

    Args:
        dtype: a numpy dtype or its name, "string" for bytes; TensorFlow's names also work.
        shape: a tuple with None for unknown sizes, or None for an unknown rank.
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
        except TFServingError:  # a resource, or bfloat16 without ml-dtypes: the spec still has its name
            object.__setattr__(self, "dtype", self.row.name)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array of this shape fits."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, shape, strict=True)
        )

    def cast(self, values: object, alias: str, *, lossless: bool = False) -> Array:
        """Return the values as an array of this dtype; see ``Signature.bind``.

        ``lossless`` also casts arrays where the cast is safe, as a call with ``cast=True`` does.
        """
        if type(values) is Untyped or not (hasattr(values, "dtype") or hasattr(values, "__array__")):
            return self._typed(values, alias, lossless)
        array = as_array(values)
        own = row_of(array.dtype)
        if own is self.row or self.row.number == 0:
            return array
        if STRING in (own, self.row):
            raise SignatureError(f"input {alias!r} expects {self}, got {own.readable} {shape_text(array.shape)}")
        if isinstance(self.dtype, np.dtype) and np.can_cast(array.dtype, self.dtype, "safe"):
            return array.astype(self.dtype)
        if lossless:
            return self.cast_lossless(array, alias)
        hint = f"array.astype({self.dtype_name!r})" if self.row.spec is not None else "an explicit cast"
        raise SignatureError(
            f"input {alias!r} expects {self}, got {array.dtype} {array.shape}; casting could lose values: "
            f"cast explicitly with {hint}{', or with cast=True' if survives(array, self.row) else ''}"
        )

    def cast_lossless(self, array: Array, alias: str) -> Array:
        """Cast an array to this dtype if the cast is safe (``tfs_client._codec.casts``).

        Raises SignatureError, which names the first value that does not fit.
        """
        if self.row.number == 0:
            return array
        try:
            return surviving_cast(array, self.row)
        except EncodeError as error:
            raise SignatureError(f"input {alias!r} expects {self}, got {array.dtype} {array.shape}: {error}") from None

    def _typed(self, values: object, alias: str, lossless: bool) -> Array:
        """Convert Python values, which have no dtype, to this one."""
        if self.row.field is None:  # a resource, or a dtype unknown to this version: the server decides
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
            raise SignatureError(f"input {alias!r} expects {self}: {error}{hint}") from None

    @staticmethod
    def _array_of(values: object) -> Array | None:
        """Return numbers as an exact numpy array; None for other values. Raises EncodeError."""
        found = read(values)
        array = found.array if isinstance(found, Untyped) else found
        return array if array.dtype.kind in "biufc" else None

    def __str__(self) -> str:
        return f"{self.dtype_name} {shape_text(self.shape)}"

    @property
    def dtype_name(self) -> str:
        """The readable name of the dtype: numpy's, "string" for bytes, TensorFlow's where numpy has none."""
        return self.row.readable


def shape_text(shape: Shape | None) -> str:
    """Return a shape as text: ``(?, 224, 224, 3)``, ``scalar``, ``any shape``."""
    if shape is None:
        return "any shape"
    if not shape:
        return "scalar"
    sizes = ", ".join("?" if size is None else str(size) for size in shape)
    return f"({sizes},)" if len(shape) == 1 else f"({sizes})"


def shape_difference(want: Shape | None, got: tuple[int, ...]) -> str:
    """Describe how a shape differs from the expected one; "" if it does not."""
    if want is None:
        return ""
    if len(want) != len(got):
        return f"expected {len(want)} {'axis' if len(want) == 1 else 'axes'}, got {len(got)}"
    pairs = enumerate(zip(want, got, strict=True))
    sizes = [f"size {be} on axis {axis}, got {is_}" for axis, (be, is_) in pairs if be not in (None, is_)]
    return f"expected {', and '.join(sizes)}" if sizes else ""


def _checked_shape(shape: Any) -> Shape | None:
    if shape is None:
        return None
    try:
        sizes = tuple(None if size is None or size == -1 else operator.index(size) for size in shape)
    except TypeError:
        raise ConfigError(f"expected a shape as a tuple of sizes, with None for unknown ones, got {shape!r}") from None
    if any(size is not None and size < 0 for size in sizes):
        raise ConfigError(f"expected a shape without negative sizes, got {shape!r}; write None for an unknown size")
    return sizes


@dataclass(frozen=True)
class Signature:
    """One way to call a model.

    Attributes:
        inputs: the inputs by alias.
        outputs: the outputs by alias.
        method_name: the API method that it was exported for, e.g. ``tensorflow/serving/predict``.
        optional: the aliases of inputs that have a default in the model.
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
        """The aliases of the inputs that every request must have."""
        return tuple(alias for alias in self.inputs if alias not in self.optional)

    def mismatch(self, sent: Mapping[str, Array], *, any_rows: bool = False) -> str:
        """Describe how inputs differ from the signature: names, dtypes, shapes. Returns "" if they match.

        ``any_rows`` leaves out differences that another number of rows along axis 0 would resolve.
        """
        lines = []
        for alias in sent:
            if alias not in self.inputs:
                from difflib import get_close_matches  # slow to import, and only needed for an error

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
                what = shape_difference(spec.shape, shape)
                if spec.row is not own:
                    what = f"wrong dtype, and {what}" if what else "wrong dtype"
                    what += "; pass cast=True to cast it" if survives(array, spec.row) else ""
                lines.append(f"{alias!r} expects {spec}, got {name} {shape_text(array.shape)}: {what}")
        return "; ".join(lines)

    def cast_inputs(self, given: Mapping[str, object]) -> dict[str, Array]:
        """Return inputs by alias as arrays that fit the signature.

        Python values get its dtypes; arrays are cast where that is safe, as a call with ``cast=True`` does. None leaves
        out an optional input. Raises SignatureError for names, values and shapes that do not fit, EncodeError for
        values that cannot become a tensor.
        """
        sent = {}
        for alias, value in given.items():
            if value is None and alias in self.optional:
                continue
            spec = self.inputs.get(alias)
            try:
                sent[alias] = as_array(value) if spec is None else spec.cast(value, alias, lossless=True)
            except EncodeError as error:
                raise EncodeError(f"input {alias!r}: {error}") from error.__cause__
        if difference := self.mismatch(sent):
            raise SignatureError(difference)
        return sent

    def check_outputs(self, got: Mapping[str, Array]) -> None:
        """Check the outputs of a call: each of the signature's must be there, in its dtype and shape.

        Other outputs are allowed. Raises SignatureError, which names every difference.
        """
        lines = []
        for alias, spec in self.outputs.items():
            if alias not in got:
                lines.append(
                    f"output {shown(alias)} is missing: expected {spec}, got the outputs {listed(sorted(got))}"
                )
            elif spec.row not in (row_of(got[alias].dtype), BY_NUMBER[0]) or not spec.accepts(got[alias].shape):
                array = got[alias]
                name = row_of(array.dtype).readable
                lines.append(f"output {shown(alias)}: expected {spec}, got {name} {shape_text(array.shape)}")
        if lines:
            raise SignatureError("; ".join(lines))

    def __hash__(self) -> int:
        return hash((frozenset(self.inputs.items()), frozenset(self.outputs.items()), self.method_name, self.optional))

    def __reduce__(self) -> tuple[object, ...]:  # the read-only mappings themselves cannot be pickled
        return _signature, (dict(self.inputs), dict(self.outputs), self.method_name, self.optional)

    def __repr__(self) -> str:
        optional = f", optional={set(self.optional)!r}" if self.optional else ""
        return f"Signature({dict(self.inputs)!r}, {dict(self.outputs)!r}, {self.method_name!r}{optional})"

    def typed(self, values: Mapping[str, Any], *, cast: bool = False) -> dict[str, Any]:
        """Convert Python numbers to the dtype of the signature; ``cast`` also casts arrays.

        Inputs that the signature does not have are left unchanged. Raises SignatureError for values that do not fit,
        and with ``cast`` for arrays with a value that does not fit.
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

    def bind(self, values: object, *, cast: bool = False) -> dict[str, Array]:
        """Bind a single value to the signature's one required input, in the dtype of the signature.

        Python values must fit the dtype. Arrays are cast only if the dtypes rule out any loss; with ``cast``, if the
        cast is safe.

        Raises SignatureError if the signature does not have exactly one required input, or for a lossy cast;
        EncodeError, which names the input, for values that cannot become a tensor.
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

    def _repr_html_(self) -> str:
        from tfs_client._codec import html_views  # for notebooks only

        return html_views.signature(self)


def takes_strings(signature: Signature) -> str:
    """Return the alias of the only required input if it takes one string per row, as for tf.Examples; else ""."""
    required = signature.required
    spec = signature.inputs[required[0]] if len(required) == 1 else None
    return required[0] if spec is not None and spec.row is STRING and len(spec.shape or (None,)) == 1 else ""


def signature_of(info: SignatureInfo) -> Signature:
    """Return the signature that was read from a message, a file or JSON."""
    inputs, outputs, method, defaults = info

    def specs(infos: Mapping[str, TensorInfo]) -> dict[str, TensorSpec]:
        return {alias: TensorSpec(row, shape, tensor_name=name) for alias, (row, shape, name) in infos.items()}

    return Signature(specs(inputs), specs(outputs), method, optional=frozenset(defaults))


def _signature(inputs: Any, outputs: Any, method_name: str, optional: frozenset[str]) -> Signature:
    return Signature(inputs, outputs, method_name, optional=optional)


class Signatures(Mapping[str, Signature]):
    """The signatures of one model version, by name; ``print`` shows them as a table."""

    __slots__ = ("_model", "_signatures", "_stated", "_version")

    def __init__(
        self, signatures: Mapping[str, Signature], *, model: str, version: int | None, stated: bool = False
    ) -> None:
        self._signatures = dict(signatures)
        self._model = model
        self._version = version
        self._stated = stated

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model

    @property
    def version(self) -> int | None:
        """The version that answered; None when the server does not report it."""
        return self._version

    @property
    def stated(self) -> bool:
        """Whether they come from a client's ``signatures=`` option, so that they say nothing about the server."""
        return self._stated

    def __getitem__(self, name: str) -> Signature:
        return self._signatures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._signatures)

    def __len__(self) -> int:
        return len(self._signatures)

    def named(self, name: str) -> Signature:
        """Return the signature with this name. Raises SignatureError, which lists the known names."""
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

    def _repr_html_(self) -> str:
        from tfs_client._codec import html_views  # for notebooks only

        return html_views.signatures(self, self.model, self.version, self.stated)


GivenSignatures = Signatures | Mapping[str, Any] | str | bytes | os.PathLike[str]
"""Signatures as a user states them: Signatures, the JSON of /metadata, or the folder of a SavedModel."""
