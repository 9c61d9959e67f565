"""Rows: inputs that are split along axis 0, and outputs that are put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfs_client.codec import extents
from tfs_client.codec.containers import refuse_table
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.codec.snapshots import array_of, owned, read_named
from tfs_client.codec.values import Untyped, read_single
from tfs_client.errors import ConfigError, DecodeError, SignatureError
from tfs_client.results import Prediction
from tfs_client.shown import shown

Array = np.ndarray[Any, Any]


class Rows:
    """Inputs that can be sent in parts.

    Args:
        inputs: arrays by input alias, all of one length along axis 0; or a single array or list, for a signature with
            one input.
        shared: inputs that go whole with every part.
        own: whether all of them are copied, because the caller may change its arrays before the last part is sent.

    Raises EncodeError for values that are no tensor, SignatureError for inputs that cannot be split together.
    """

    def __init__(self, inputs: Any, shared: Mapping[str, Any] | None, *, own: bool = False) -> None:
        refuse_table(inputs)
        self._shared = read_named(shared or {}, "shared input", own=own)
        self._named = isinstance(inputs, Mapping)
        if not self._named and self._shared:
            raise ConfigError("shared inputs go with others that have names: give a mapping from alias to array")
        if self._named:
            self._values = read_named(inputs, "input", own=own)
        else:
            bare = read_single(inputs)
            self._values = {"": owned(bare, inputs) if own else bare}
        arrays = {alias: array_of(values) for alias, values in self._values.items()}
        if twice := sorted(arrays.keys() & self._shared.keys()):
            raise ConfigError(f"{', '.join(map(repr, twice))}: expected an input to be split or shared, got it as both")
        if not arrays:
            raise SignatureError("there is nothing to split: expected at least one input that is not shared")
        for alias, array in arrays.items():
            if not array.ndim:
                raise SignatureError(
                    f"{_named(alias)} is a single value and cannot be split; what goes whole with every part belongs "
                    f"in shared={{{alias!r}: …}}"
                )
        lengths = {alias: len(array) for alias, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{alias!r} {length}" for alias, length in lengths.items())
            raise SignatureError(
                f"expected inputs of one length along axis 0, got {listed}; what goes whole with every part belongs in "
                "shared={…}"
            )
        self.count = next(iter(lengths.values()))

    def part(self, rows: range) -> Any:
        """What is sent for some of the rows: views, no copies."""
        which = slice(rows.start, rows.stop)
        parts = {
            alias: Untyped(values.array[which]) if isinstance(values, Untyped) else values[which]
            for alias, values in self._values.items()
        }
        return parts | self._shared if self._named else parts[""]


class Rejoined:
    """The outputs of all parts, each put in its place as it comes. The only copy is that into the result.

    Args:
        count: rows in all.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._whole: Prediction | None = None
        self._outputs: dict[str, Array] = {}
        self._answered: ModelSpec | None = None
        self._asked: ModelSpec | None = None
        self._encode = self._decode = 0.0

    def put(self, rows: range, part: Prediction) -> None:
        """The outputs for some of the rows.

        Raises SignatureError for those that cannot be put together, DecodeError for those that hold next to nothing of
        what they declare.
        """
        if len(rows) == self._count:
            self._whole = part
            return
        check_rows(part, len(rows))
        for alias, array in part.items():
            extents.check_copy(array, f"output {alias!r}")
        if self._answered is None:
            self._outputs = {alias: _room(self._count, array, alias) for alias, array in part.items()}
            self._answered, self._asked = (
                ModelSpec(part.model.name, part.model.version, None, part.model.signature),
                part.asked,
            )
        elif self._answered.version != part.model.version:  # they were swapped meanwhile
            self._answered = ModelSpec(self._answered.name, None, None, self._answered.signature)
        if part.keys() != self._outputs.keys():
            raise SignatureError(
                f"the outputs changed between the parts: {', '.join(self._outputs)} became {', '.join(part)}"
            )
        for alias, array in part.items():
            whole = self._outputs[alias]
            if array.shape[1:] != whole.shape[1:] or array.dtype != whole.dtype:
                raise SignatureError(
                    f"output {alias!r} has another shape in another part, {array.dtype} {array.shape} for rows "
                    f"{rows.start} to {rows.stop - 1} and {whole.dtype} {whole.shape[1:]} for each row before, and "
                    "cannot be put together; predict_many returns each row separately"
                )
            whole[rows.start : rows.stop] = array
        self._encode += part.timing.encode
        self._decode += part.timing.decode

    def prediction(self, seconds: float) -> Prediction:
        """All of it, after so many seconds. Of several versions that answered, none is named."""
        if self._whole is not None:
            return self._whole
        assert self._answered is not None
        assert self._asked is not None
        for array in self._outputs.values():
            array.flags.writeable = False
        waited = max(self._encode, seconds - self._decode)
        clock = (0.0, self._encode, waited, max(seconds, waited + self._decode))
        return Prediction(self._outputs, answered=self._answered, asked=self._asked, clock=clock)


def check_rows(part: Prediction, count: int) -> None:
    """Raise SignatureError unless every output has a row for each row that was sent."""
    for alias, array in part.items():
        if not array.ndim or len(array) != count:
            raise SignatureError(
                f"output {alias!r} has no row for each of the {count} rows sent, its shape is {array.shape}; leave it "
                "out with outputs=[…], or send everything in one predict"
            )


def _room(count: int, part: Array, alias: str) -> Array:
    """Memory for so many rows like those of a part."""
    try:
        return np.empty((count, *part.shape[1:]), part.dtype)
    except (MemoryError, ValueError) as error:
        raise DecodeError(
            f"output {alias!r} of {count} rows like {part.dtype} {shown(part.shape[1:])} does not fit into memory; "
            "predict_many returns each row separately"
        ) from error


def _named(alias: str) -> str:
    return f"input {alias!r}" if alias else "the input"
