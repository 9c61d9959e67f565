"""The results of calls: frozen, typed, printable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.reply_facts import UNKNOWN, ReplyFacts
from tfs_client._printable import listed, short_number, shown
from tfs_client.errors import DecodeError, ReplyMetadata, SignatureError, StatusCode, WireEnum


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """The model version that answered, which may differ from the one requested.

    Attributes:
        name: the model's name.
        version: its version number; None when the server does not report it.
        signature: the name of the signature that ran.
    """

    name: str
    version: int | None
    signature: str

    def __str__(self) -> str:
        return f"{self.name} version {'unknown' if self.version is None else self.version}"


@dataclass(frozen=True, slots=True)
class Timing:
    """The duration of the parts of a call, in seconds.

    Attributes:
        encode: the time to write the request.
        wait: the time from the written request to the reply: network, queues and the model.
        decode: the time to read the reply.
    """

    encode: float
    wait: float
    decode: float

    def __str__(self) -> str:
        parts = (("encode", self.encode), ("wait", self.wait), ("decode", self.decode))
        return ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in parts)


class Prediction(dict[str, Array]):
    """The outputs of one call, by alias: a read-only dict.

    The arrays are read-only, and most are views of the reply, so that each keeps the whole reply in memory;
    ``numpy.array(p["y"])`` makes an independent copy. Two predictions are equal if their outputs have the same aliases,
    shapes and values, regardless of the dtypes, with NaN equal to NaN. ``pandas.DataFrame(p)`` and
    ``polars.DataFrame(p)`` work for outputs with one axis, ``to_pandas()`` for any.

    ``request_id``, ``attempts``, ``metadata``, ``peer`` and ``raw`` describe the reply; for a row of a batch, they
    describe the whole request, and ``raw`` is None. Pickles do not contain them.
    """

    # A dict rather than another Mapping, because table packages accept only a dict as columns by name.
    __slots__ = ("_answered", "_asked", "_clock", "_example", "_facts", "_row")

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
        # Created for every call, so it only stores its arguments; what few callers need is computed on demand.
        dict.__init__(self, outputs)  # faster than by super()
        self._answered = answered
        self._asked = asked
        self._example = example
        self._row = row  # whether this is one row of a batch, without the batch axis
        self._clock = clock  # when the call began, the request was written, the reply arrived, the reply was read
        self._facts: ReplyFacts = UNKNOWN  # set by what received the reply

    @property
    def model(self) -> ModelVersion:
        """The version that answered; fields that the server leaves out are those requested."""
        answered, asked = self._answered, self._asked
        return ModelVersion(answered.name or asked.name, answered.version, answered.signature or asked.signature)

    @property
    def asked(self) -> ModelSpec:
        """The requested model, version or label, and signature."""
        return self._asked

    @property
    def timing(self) -> Timing:
        """The duration of the parts of the call."""
        began, written, arrived, read = self._clock
        return Timing(written - began, arrived - written, read - arrived)

    @property
    def example(self) -> int | None:
        """The index of its example, from 0, in the source of ``predict_many``; None for other calls."""
        return self._example

    @property
    def request_id(self) -> str:
        """The id that was sent with the call; "" for none."""
        return self._facts.request_id

    @property
    def attempts(self) -> int:
        """How often it was sent, refusals by a busy server included; 0 if unknown; of several requests, the most."""
        return self._facts.attempts

    @property
    def metadata(self) -> ReplyMetadata:
        """The metadata that the server sent with its reply; over REST the headers. It may contain secrets."""
        return self._facts.metadata

    @property
    def peer(self) -> str:
        """The server's address; "" if unknown.

        Over REST the address of the connection or its proxy; over gRPC that of the client's target, "" for replicas.
        """
        return self._facts.peer

    @property
    def raw(self) -> bytes | None:
        """The decompressed reply: a serialized PredictResponse, or JSON. None for rows, and if joined or recorded."""
        return self._facts.raw

    def with_outputs(self, outputs: Mapping[str, Array], example: int | None = None) -> Prediction:
        """Return the result of one row of the same call: outputs without the batch axis."""
        row = Prediction(outputs, answered=self._answered, asked=self._asked, clock=self._clock, row=True)
        row._example, row._facts = example, self._facts.without_body()
        return row

    def __missing__(self, alias: str) -> Array:
        raise KeyError(f"unknown output {shown(alias)}; known outputs: {listed(self)}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.keys() == other.keys() and all(expansion.is_same(y, other[alias]) for alias, y in self.items())

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = None  # like every dict

    def __reduce__(self) -> tuple[Callable[..., Prediction], tuple[object, ...]]:
        outputs = {alias: expansion.packed(array) for alias, array in self.items()}
        return _prediction, (outputs, self._answered, self._asked, self._clock, self._example, self._row)

    def __copy__(self) -> Prediction:
        return self._copied(*self.__reduce__())

    def __deepcopy__(self, memo: dict[int, Any]) -> Prediction:
        return self._copied(*deepcopy(self.__reduce__(), memo))

    def _copied(self, make: Callable[..., Prediction], arguments: tuple[object, ...]) -> Prediction:
        made = make(*arguments)
        made._facts = self._facts
        return made

    def _refuse(self, *args: object, **options: object) -> Any:
        raise TypeError("a Prediction is read-only; dict(prediction) makes a copy that can be changed")

    if not TYPE_CHECKING:  # to a type checker they have dict's types
        __setitem__ = __delitem__ = __ior__ = _refuse
        clear = pop = popitem = setdefault = update = _refuse

    def to_dict(self) -> dict[str, Any]:
        """Return the outputs as Python values: nested lists, or single values; strings are bytes.

        Raises DecodeError for an output that declares a huge shape but holds few values.
        """
        from tfs_client._codec.plain_values import as_python

        return {alias: as_python(array, alias) for alias, array in self.items()}

    def to_json(self) -> str:
        """Return the outputs as a JSON object of nested lists.

        Floats have the fewest digits that read back as the same value of their dtype. NaN and infinities are ``NaN``,
        ``Infinity`` and ``-Infinity``, as TensorFlow Serving and Python's json write and read them, although strict
        JSON does not allow them. Strings are ``{"b64": "..."}``, because they are bytes.

        Raises EncodeError for complex numbers, DecodeError for an output that declares a huge shape for few values.
        """
        from tfs_client._codec.plain_values import as_json

        return as_json(self)

    def to_pandas(self) -> Any:
        """Return the outputs as the columns of a pandas.DataFrame, with one row per entry of axis 0.

        Outputs with several axes become columns of arrays, a single value is repeated in every row, and strings are
        bytes. A result of ``predict_many`` or a batcher, which has no batch axis, is one row.

        Raises ConfigError without pandas, SignatureError for outputs of different lengths, DecodeError for an output
        that declares a huge shape but holds few values.
        """
        from tfs_client._codec.plain_values import as_frame

        return as_frame(self, row=self._row)

    @property
    def array(self) -> Array:
        """The only output. Raises SignatureError, which lists the names, if there is not exactly one."""
        if len(self) != 1:
            raise SignatureError(f"expected one output, got {len(self)}: {listed(sorted(self))}; pick one by its name")
        return next(iter(self.values()))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """``array`` for numpy's functions, which would take another dict as a single value. Raises SignatureError."""
        return np.asarray(self.array, dtype) if copy is None else np.array(self.array, dtype, copy=copy)

    def __repr__(self) -> str:
        lines = [f"Prediction of {self.model}"]
        for alias, array in self.items():
            dtype = "string" if array.dtype.kind == "O" else array.dtype
            lines.append(f"  {alias}: {dtype} {array.shape} {expansion.summary(array)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from tfs_client._codec import html_views  # for notebooks only

        return html_views.prediction(self, self.model, self.model.signature, self.timing, self._example)


def _prediction(
    packed: dict[str, Any],
    answered: ModelSpec,
    asked: ModelSpec,
    clock: tuple[float, float, float, float],
    example: int | None,
    row: bool,
) -> Prediction:
    outputs = {alias: expansion.unpacked(found) for alias, found in packed.items()}
    return Prediction(outputs, answered=answered, asked=asked, clock=clock, example=example, row=row)


class State(WireEnum):
    """The state of a model version (tensorflow_serving/apis/get_model_status.proto)."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Health(WireEnum):
    """The statuses of gRPC's health service (grpc/health/v1/health.proto)."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """The status of one version.

    Attributes:
        version: its number.
        state: its state; AVAILABLE versions answer calls.
        code: OK, or why it could not be loaded.
        message: the error text for ``code``.
    """

    version: int
    state: State
    code: StatusCode
    message: str

    @property
    def failed(self) -> bool:
        """Whether the server could not load it: it has ended with an error, and is not loaded again automatically."""
        return self.state is State.END and self.code is not StatusCode.OK

    def __str__(self) -> str:
        failure = f" ({self.code.name}: {self.message})" if self.code else ""
        return f"version {self.version}: {self.state.name}{failure}"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The status of all versions of a model that the server knows, highest first.

    Attributes:
        model: the model's name.
        versions: the status of each version; empty if the server does not report versions, as with KServe's v1
            protocol.
        ready: whether the model answers calls: a version is AVAILABLE, or the server says so without naming one.
    """

    model: str
    versions: tuple[VersionStatus, ...]
    ready: bool | None = None

    def __post_init__(self) -> None:
        if self.ready is None:
            object.__setattr__(self, "ready", bool(self.available))

    @property
    def available(self) -> tuple[int, ...]:
        """The numbers of the versions that answer calls, highest first."""
        return tuple(status.version for status in self.versions if status.state is State.AVAILABLE)

    @property
    def failed(self) -> bool:
        """Whether the server could not load the model: all versions have ended, the highest with an error.

        The highest version counts, because it is the one that the server wanted last.
        """
        ended = all(status.state is State.END for status in self.versions)
        return bool(self.versions) and ended and self.versions[0].failed

    def __str__(self) -> str:
        if self.ready and not self.versions:
            return f"{self.model}\n  ready; the server does not report versions"
        return "\n".join([self.model, *(f"  {status}" for status in self.versions)])

    def _repr_html_(self) -> str:
        from tfs_client._codec import html_views  # for notebooks only

        return html_views.model_status(self.model, self.versions, self.ready)


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class of a classification. ``label`` is "" and ``score`` 0.0 where the model gives none."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Classification:
    """The result of Classify for each example, in the order of the examples.

    Attributes:
        classes: the classes of every example, in the model's order.
        model: the version that answered.
    """

    classes: tuple[tuple[ClassScore, ...], ...]
    model: ModelVersion

    @property
    def best(self) -> tuple[ClassScore, ...]:
        """The class with the highest score for every example.

        Raises DecodeError if an example has no classes.
        """
        if not all(self.classes):
            place = next(at for at, classes in enumerate(self.classes) if not classes)
            raise DecodeError(f"expected at least one class for every example, got none for example {place}")
        return tuple(max(classes, key=lambda found: found.score) for classes in self.classes)

    def __str__(self) -> str:
        rows = (
            ", ".join(f"{found.label or '-'} {short_number(found.score)}" for found in classes)
            for classes in self.classes
        )
        return "\n".join([f"Classification of {self.model}", *(f"  {row}" for row in rows)])

    def _repr_html_(self) -> str:
        from tfs_client._codec import html_views  # for notebooks only

        return html_views.classification(self.classes, self.model)


@dataclass(frozen=True, slots=True)
class Regression:
    """The result of Regress for each example, in the order of the examples.

    Attributes:
        values: one float for every example.
        model: the version that answered.
    """

    values: tuple[float, ...]
    model: ModelVersion

    def __str__(self) -> str:
        return f"Regression of {self.model}: " + ", ".join(map(short_number, self.values))

    def _repr_html_(self) -> str:
        from tfs_client._codec import html_views  # for notebooks only

        return html_views.regression(self.values, self.model)


@dataclass(frozen=True, slots=True)
class Reload:
    """The result of a reload: the configuration was applied.

    Attributes:
        metrics: the increase of each requested metric during the reload, by name; 0 for those that do not exist.
    """

    metrics: Mapping[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def __hash__(self) -> int:
        return hash(frozenset(self.metrics.items()))

    def __reduce__(self) -> tuple[object, ...]:  # read-only mappings cannot be pickled
        return Reload, (dict(self.metrics),)

    def __str__(self) -> str:
        return "\n".join(["reloaded", *(f"  {name} {value:+d}" for name, value in sorted(self.metrics.items()))])
