"""Rows: inputs that are split along axis 0, and outputs that are joined again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.containers import refuse_table
from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.reply_facts import UNKNOWN, ReplyFacts
from tfs_client._codec.snapshots import Read, array_of, owned, read_named
from tfs_client._codec.values import Untyped, read_single
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, DecodeError, SignatureError
from tfs_client.results import Prediction


class Rows:
    """Inputs that can be sent in parts.

    Args:
        inputs: arrays by input alias, all of the same length along axis 0; or a single array or list, for a signature
            with one input.
        shared: inputs that are sent whole with every part.
        own: whether all of them are copied, because the caller may change its arrays before the last part is sent.

    Attributes:
        count: how many rows there are.

    Raises EncodeError for values that cannot become tensors, SignatureError for inputs that cannot be split together.
    """

    def __init__(self, inputs: object, shared: Mapping[str, object] | None, *, own: bool = False) -> None:
        refuse_table(inputs)
        self._shared = read_named(shared or {}, "shared input", own=own)
        self._named = isinstance(inputs, Mapping)
        if not self._named and self._shared:
            raise ConfigError(
                "shared inputs need named inputs: expected a mapping from alias to array, got a single value"
            )
        if isinstance(inputs, Mapping):
            self._values = read_named(inputs, "input", own=own)
        else:
            bare = read_single(inputs)
            self._values = {"": owned(bare, inputs) if own else bare}
        arrays = {alias: array_of(values) for alias, values in self._values.items()}
        if twice := sorted(arrays.keys() & self._shared.keys()):
            raise ConfigError(
                f"expected each input to be split or shared, got {', '.join(map(repr, twice))} in both: pass it once"
            )
        if not arrays:
            raise SignatureError("expected at least one input that is not shared, got none")
        for alias, array in arrays.items():
            if not array.ndim:
                raise SignatureError(
                    f"{_named(alias)} is a single value and cannot be split; to send it whole with every request, pass "
                    f"shared={{{alias!r}: …}}"
                )
        lengths = {alias: len(array) for alias, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{alias!r} {length}" for alias, length in lengths.items())
            raise SignatureError(
                f"expected inputs of the same length along axis 0, got {listed}; to send an input whole with every "
                "request, pass it in shared={…}"
            )
        self.count = next(iter(lengths.values()))

    def part(self, rows: range) -> dict[str, Read] | Read:
        """The inputs of the request for some of the rows: views, not copies."""
        which = slice(rows.start, rows.stop)
        parts = {
            alias: Untyped(values.array[which]) if isinstance(values, Untyped) else values[which]
            for alias, values in self._values.items()
        }
        return parts | self._shared if self._named else parts[""]


class JoinedOutputs:
    """The outputs of all parts. Each part is copied once, into the result, as soon as it arrives.

    Of the facts of the replies, the request id and the peer remain if they are the same for all parts, and the largest
    number of attempts: unlike a sum, it is 1 exactly if no request was retried.

    Args:
        count: the total number of rows.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._whole: Prediction | None = None
        self._outputs: dict[str, Array] = {}
        self._answered: ModelSpec | None = None
        self._asked: ModelSpec | None = None
        self._facts: ReplyFacts = UNKNOWN
        self._encode = self._decode = 0.0

    def put(self, rows: range, part: Prediction) -> None:
        """Add the outputs for some of the rows.

        Raises SignatureError for outputs that cannot be joined, DecodeError for outputs that declare far more values
        than they hold.
        """
        if len(rows) == self._count:
            self._whole = part
            return
        check_rows(part, len(rows))
        for alias, array in part.items():
            expansion.check_copy(array, f"output {alias!r}")
        if self._answered is None:
            self._outputs = {alias: _space_for(self._count, array, alias) for alias, array in part.items()}
            self._answered, self._asked = (
                ModelSpec(part.model.name, part.model.version, None, part.model.signature),
                part.asked,
            )
            self._facts = ReplyFacts(part.peer, part.request_id, part.attempts)
        elif self._answered.version != part.model.version:  # the server replaced it during the call
            self._answered = ModelSpec(self._answered.name, None, None, self._answered.signature)
        if part.keys() != self._outputs.keys():
            raise SignatureError(
                f"expected the outputs {', '.join(self._outputs)} in every part, got {', '.join(part)} for rows "
                f"{rows.start} to {rows.stop - 1}"
            )
        facts = self._facts
        facts.attempts = max(facts.attempts, part.attempts)
        facts.peer = facts.peer if facts.peer == part.peer else ""
        facts.request_id = facts.request_id if facts.request_id == part.request_id else ""
        for alias, array in part.items():
            whole = self._outputs[alias]
            if array.shape[1:] != whole.shape[1:] or array.dtype != whole.dtype:
                raise SignatureError(
                    f"output {alias!r} differs between the parts and cannot be joined: expected {whole.dtype} "
                    f"{(len(array), *whole.shape[1:])} for rows {rows.start} to {rows.stop - 1}, got {array.dtype} "
                    f"{array.shape}; predict_many returns each row separately"
                )
            whole[rows.start : rows.stop] = array
        self._encode += part.timing.encode
        self._decode += part.timing.decode

    def prediction(self, seconds: float) -> Prediction:
        """The joined outputs, ``seconds`` after the start. If several versions answered, none is named."""
        if self._whole is not None:
            return self._whole
        assert self._answered is not None
        assert self._asked is not None
        for array in self._outputs.values():
            array.flags.writeable = False
        waited = max(self._encode, seconds - self._decode)
        clock = (0.0, self._encode, waited, max(seconds, waited + self._decode))
        joined = Prediction(self._outputs, answered=self._answered, asked=self._asked, clock=clock)
        joined._facts = self._facts
        return joined


def check_rows(part: Prediction, count: int) -> None:
    """Raise SignatureError unless every output has one row for each row sent."""
    for alias, array in part.items():
        if not array.ndim or len(array) != count:
            raise SignatureError(
                f"output {alias!r} does not have one row for each row sent: expected length {count} along axis 0, got "
                f"shape {array.shape}; leave it out with outputs=[…], or send everything in one predict"
            )


def _space_for(count: int, part: Array, alias: str) -> Array:
    """An array for ``count`` rows like those of a part."""
    try:
        return np.empty((count, *part.shape[1:]), part.dtype)
    except (MemoryError, ValueError) as error:
        raise DecodeError(
            f"output {alias!r} with {count} rows of {part.dtype} {shown(part.shape[1:])} does not fit into memory; "
            "predict_many returns each row separately"
        ) from error


def _named(alias: str) -> str:
    return f"input {alias!r}" if alias else "the input"
