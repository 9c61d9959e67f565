"""What calls return: frozen, typed, printable."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tfs_client.codec import extents
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import ConfigError, DecodeError, SignatureError, StatusCode
from tfs_client.shown import listed, shown

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """The version that answered, not merely the one asked for.

    Attributes:
        name: the model's name.
        version: its version number; None when the server does not say.
        signature: the name of the signature that ran.
    """

    name: str
    version: int | None
    signature: str

    def __str__(self) -> str:
        return f"{self.name} version {'unknown' if self.version is None else self.version}"


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a call went, in seconds.

    Attributes:
        encode: writing the request.
        wait: from the written request to the reply: network, queues and the model.
        decode: reading the reply.
    """

    encode: float
    wait: float
    decode: float

    def __str__(self) -> str:
        parts = (("encode", self.encode), ("wait", self.wait), ("decode", self.decode))
        return ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in parts)


class Prediction(dict[str, Array]):
    """The outputs of one call, by alias: a read-only dict.

    The arrays are read-only, and most are views of the reply that keep all of it alive; ``numpy.array(p["y"])`` makes
    a copy of its own. Two predictions are equal when their outputs are: the same aliases, shapes and values, whatever
    the dtypes, with NaN equal to NaN. ``pandas.DataFrame(p)`` and ``polars.DataFrame(p)`` work for outputs of one
    axis, ``to_pandas()`` for any.
    """

    # A dict and no other Mapping, because packages for tables take a dict alone for columns by name.
    __slots__ = ("_answered", "_asked", "_clock", "_example", "_row")

    def __init__(
        self,
        outputs: Mapping[str, Array],
        *,
        answered: ModelSpec,
        asked: ModelSpec,
        clock: tuple[float, float, float, float],
        example: int | None = None,
        row: bool = False,
    ) -> None:
        # Made for every call, so it only takes note; what few callers ask for is computed when they do.
        dict.__init__(self, outputs)  # faster than by super()
        self._answered = answered
        self._asked = asked
        self._example = example
        self._row = row  # whether it is one row of a batch, without the batch axis
        self._clock = clock  # when it began, when the request was written, when the reply came, when it was read

    @property
    def model(self) -> ModelVersion:
        """The version that answered. What the server leaves out is what was asked for."""
        answered, asked = self._answered, self._asked
        return ModelVersion(answered.name or asked.name, answered.version, answered.signature or asked.signature)

    @property
    def asked(self) -> ModelSpec:
        """The model, version or label, and signature that were asked for."""
        return self._asked

    @property
    def timing(self) -> Timing:
        """Where the time went."""
        began, written, arrived, read = self._clock
        return Timing(written - began, arrived - written, read - arrived)

    @property
    def example(self) -> int | None:
        """The place of its example, from 0, in the source of ``predict_many``; None for what other calls return."""
        return self._example

    def with_outputs(self, outputs: Mapping[str, Array], example: int | None = None) -> Prediction:
        """What the same call says of one of its rows: outputs without the batch axis."""
        return Prediction(
            outputs, answered=self._answered, asked=self._asked, clock=self._clock, example=example, row=True
        )

    def __missing__(self, alias: str) -> Array:
        raise KeyError(f"no output {shown(alias)}; there are: {listed(self)}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.keys() == other.keys() and all(_same(array, other[alias]) for alias, array in self.items())

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = None  # as of all dicts

    def __reduce__(self) -> tuple[Any, ...]:
        outputs = {alias: extents.packed(array) for alias, array in self.items()}
        return _prediction, (outputs, self._answered, self._asked, self._clock, self._example, self._row)

    def _refuse(self, *args: Any, **options: Any) -> Any:
        raise TypeError("a Prediction is read-only; dict(prediction) makes a copy that you can change")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def to_dict(self) -> dict[str, Any]:
        """The outputs as Python's values: nested lists, or a value alone; strings are bytes.

        Raises DecodeError for an output that declares a huge shape and holds next to nothing.
        """
        from tfs_client.codec.plain_values import as_python

        return {alias: as_python(array, alias) for alias, array in self.items()}

    def to_json(self) -> str:
        """The outputs as a JSON object of nested lists.

        Floats have the fewest digits that read back as the same value of their dtype. NaN and infinities are ``NaN``,
        ``Infinity`` and ``-Infinity``, as TensorFlow Serving and Python's json write and read them, though strict JSON
        has no such numbers. Strings are ``{"b64": "..."}``, for they are bytes.

        Raises EncodeError for complex numbers; DecodeError for an output that declares a huge shape and holds next to
        nothing.
        """
        from tfs_client.codec.plain_values import as_json

        return as_json(self)

    def to_pandas(self) -> Any:
        """The outputs as the columns of a pandas.DataFrame, with a row for each along axis 0.

        Outputs of several axes become columns of arrays, a single value stands in every row, and strings are bytes. A
        result of ``predict_many`` or a batcher, which has no batch axis, is one row.

        Raises ConfigError without pandas, SignatureError for outputs of different lengths, DecodeError for an output
        that declares a huge shape and holds next to nothing.
        """
        from tfs_client.codec.plain_values import as_columns

        try:
            import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
        except ImportError:
            raise ConfigError("to_pandas needs the package pandas: pip install pandas") from None
        columns, count = as_columns(self, row=self._row)
        return pandas.DataFrame(columns, index=range(count))

    @property
    def array(self) -> Array:
        """The only output. Raises SignatureError, which lists the names, when there is not exactly one."""
        if len(self) != 1:
            raise SignatureError(f"expected one output, got {len(self)}: {listed(sorted(self))}; pick one by its name")
        return next(iter(self.values()))

    def __repr__(self) -> str:
        lines = [f"Prediction of {self.model}"]
        for alias, array in self.items():
            dtype = "string" if array.dtype.kind == "O" else array.dtype
            lines.append(f"  {alias}: {dtype} {array.shape} {extents.summary(array)}")
        return "\n".join(lines)


def _prediction(
    packed: dict[str, Any],
    answered: ModelSpec,
    asked: ModelSpec,
    clock: tuple[float, float, float, float],
    example: int | None,
    row: bool,
) -> Prediction:
    outputs = {alias: extents.unpacked(found) for alias, found in packed.items()}
    return Prediction(outputs, answered=answered, asked=asked, clock=clock, example=example, row=row)


def _same(array: Array, other: Any) -> bool:
    """Whether two outputs have the same shape and values."""
    text = array.dtype.kind == "O"
    if isinstance(other, np.ndarray) and (other.shape != array.shape or (other.dtype.kind in "OSU") != text):
        return False  # before anything is converted, which may be huge
    try:
        values = np.asarray(other, object if text else None)
    except ValueError:  # ragged
        return False
    if values.dtype.kind in "mM":  # no output is a date, and numpy warns where one is compared with a number
        return False
    if values.shape != array.shape or (values.dtype.kind in "OSU") != (array.dtype.kind in "OSU"):
        return False
    array, values = extents.collapsed(array, values)
    equal = array == values
    return bool(np.all(equal | ((array != array) & (values != values)))) if array.size else True


class State(enum.IntEnum):
    """The state of a model version (tensorflow_serving/apis/get_model_status.proto)."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Health(enum.IntEnum):
    """What gRPC's health service says (grpc/health/v1/health.proto)."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """The status of one version.

    Attributes:
        version: its number.
        state: where it is in its life; AVAILABLE versions answer calls.
        code: OK, or why loading it failed.
        message: the text that belongs to ``code``.
    """

    version: int
    state: State
    code: StatusCode
    message: str

    def __str__(self) -> str:
        failure = f" ({self.code.name}: {self.message})" if self.code else ""
        return f"version {self.version}: {self.state.name}{failure}"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The status of all versions of a model that the server knows, highest first.

    Attributes:
        model: its name.
        versions: their states; empty where the server does not report versions, as KServe's v1 protocol.
        ready: whether the model answers calls: a version does, or the server says so without naming one.
    """

    model: str
    versions: tuple[VersionStatus, ...]
    ready: bool | None = None

    def __post_init__(self) -> None:
        if self.ready is None:
            object.__setattr__(self, "ready", bool(self.available))

    @property
    def available(self) -> tuple[int, ...]:
        """The version numbers that answer calls, highest first."""
        return tuple(status.version for status in self.versions if status.state is State.AVAILABLE)

    def __str__(self) -> str:
        if self.ready and not self.versions:
            return f"{self.model}\n  ready; the server does not report versions"
        return "\n".join([self.model, *(f"  {status}" for status in self.versions)])


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class of a classification. The label is "" when the model gives none, the score 0.0 likewise."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Classification:
    """What Classify says of each example, in the order of the examples.

    Attributes:
        classes: for every example its classes, in the model's order.
        model: the version that answered.
    """

    classes: tuple[tuple[ClassScore, ...], ...]
    model: ModelVersion

    @property
    def best(self) -> tuple[ClassScore, ...]:
        """The class with the highest score, for every example.

        Raises DecodeError where an example has no classes.
        """
        if not all(self.classes):
            place = next(at for at, classes in enumerate(self.classes) if not classes)
            raise DecodeError(f"expected at least one class for every example, got none for example {place}")
        return tuple(max(classes, key=lambda found: found.score) for classes in self.classes)

    def __str__(self) -> str:
        rows = (", ".join(f"{found.label or '-'} {found.score:.4f}" for found in classes) for classes in self.classes)
        return "\n".join([f"Classification of {self.model}", *(f"  {row}" for row in rows)])


@dataclass(frozen=True, slots=True)
class Regression:
    """What Regress says of each example, in the order of the examples.

    Attributes:
        values: one float for every example.
        model: the version that answered.
    """

    values: tuple[float, ...]
    model: ModelVersion

    def __str__(self) -> str:
        return f"Regression of {self.model}: " + ", ".join(f"{value:.4f}" for value in self.values)


@dataclass(frozen=True, slots=True)
class Reload:
    """A configuration was applied.

    Attributes:
        metrics: by how much each metric that was asked for grew meanwhile, by name; 0 for those that do not exist.
    """

    metrics: Mapping[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def __hash__(self) -> int:
        return hash(frozenset(self.metrics.items()))

    def __reduce__(self) -> tuple[Any, ...]:  # a read-only mapping itself cannot be pickled
        return Reload, (dict(self.metrics),)

    def __str__(self) -> str:
        return "\n".join(["reloaded", *(f"  {name} {value:+d}" for name, value in sorted(self.metrics.items()))])
