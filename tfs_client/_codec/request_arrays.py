"""RequestArrays: the inputs of a Predict call whose arrays lie in the request's own bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfs_client._codec import request_memory
from tfs_client._codec.dtypes import STRING, Array, ArrayShape
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import shown
from tfs_client.errors import EncodeError

MOST_STRINGS = (1 << 30) - 1  # each takes at least two bytes of a message


class RequestArrays(dict[str, Array]):
    """Writable arrays by input alias, made by ``PredictClient.empty``: fill them, and pass this to ``predict``.

    The arrays lie in the bytes of the request, which ``predict`` over gRPC sends as they are. Their first contents are
    zeros. They may be filled again for the next call as soon as ``predict`` or ``predict_future`` has returned. While
    ``AsyncPredictClient.predict`` is under way they are read-only; views that were made before are not, and must not be
    written to.

    It is a dict: replaced, added or removed entries are respected, and arrays reshaped or cast in place too. Such a
    request is copied, like one for another model, version or signature, or with other outputs than ``empty`` was called
    for, and one with strings.
    """

    # What must hold: ``request`` never returns bytes that differ from what the mapping says. So it compares every entry
    # with the array that was handed out. And bytes that are read after the call has returned are never refilled: the
    # callers copy them (``request_memory.lasting``), or hold the arrays for that time (``request_memory.held``).

    __slots__ = ("__weakref__", "_holds", "_locked", "_made", "_outputs", "_request", "_spec")

    def __init__(
        self,
        spec: ModelSpec,
        shapes: Mapping[str, ArrayShape],
        outputs: Sequence[str] = (),
        spare: request_memory.SpareMemory | None = None,
    ) -> None:
        # With ``spare``, memory is used again, so the first contents are arbitrary. The caller fills the arrays once,
        # before the call: nothing has to hold them, or to copy the request.
        self._spec = spec
        self._outputs = tuple(outputs)
        self._request = b""
        self._holds: list[None] = []  # one for each
        self._locked: list[Array] = []  # the arrays that were writable before the first of them
        fixed = bool(shapes) and all(each.row is not STRING for each in shapes.values())
        try:
            arrays = self._laid_out(shapes, spare) if fixed and request_memory.AVAILABLE else None
            super().__init__(_separate(shapes) if arrays is None else arrays)
        except MemoryError as error:
            raise EncodeError(f"inputs of {_described(shapes)} do not fit in memory") from error
        except ValueError as error:  # more axes than numpy supports, or sizes beyond its index type
            raise EncodeError(f"expected shapes that numpy can have, got {_described(shapes)}: {error}") from None
        self._made = [_Made(alias, a, a.dtype, a.shape, a.strides, a.base) for alias, a in self.items()]
        if self._request and spare is None:
            request_memory.own(self._request, self)

    def _laid_out(
        self, shapes: Mapping[str, ArrayShape], spare: request_memory.SpareMemory | None
    ) -> dict[str, Array] | None:
        """The arrays in the memory of a request; None if they would not be aligned there."""
        from tfs_client._codec.request_layout import layout  # few programs need it

        size, heads = layout(self._spec, self._outputs, tuple(shapes.items()))
        request, memory = request_memory.request_of(size, spare)
        arrays = {}
        at = 0
        for (alias, each), head in zip(shapes.items(), heads, strict=True):
            start = at + len(head)
            memory[at:start] = np.frombuffer(head, np.uint8)
            at = start + each.nbytes
            arrays[alias] = memory[start:at].view(each.row.dtype).reshape(each.shape)
        if not all(array.flags.aligned for array in arrays.values()):
            return None
        self._request = request
        return arrays

    def request(self, spec: ModelSpec, outputs: Sequence[str]) -> bytes | None:
        """Return the request with these inputs; None if it has to be joined from its parts."""
        if not self._request or len(self) != len(self._made):
            return None
        if (spec is not self._spec and spec != self._spec) or tuple(outputs) != self._outputs:
            return None
        for alias, array, dtype, shape, strides, base in self._made:
            if (
                self.get(alias) is not array
                or array.shape != shape
                or array.strides != strides
                or array.dtype is not dtype
                or array.base is not base
            ):
                return None
        return self._request

    def hold(self) -> None:
        """Make the arrays read-only, for a transport that reads the request later."""
        if not self._holds:
            self._locked = [array for _, array, *_ in self._made if array.flags.writeable]
        self._holds.append(None)
        for array in self._locked:
            array.flags.writeable = False

    def release(self) -> None:
        """Make the arrays writable after the last ``hold``."""
        self._holds.pop()
        if not self._holds:
            for array in self._locked:
                array.flags.writeable = True

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle this as a plain dict, whose arrays lie in memory of their own."""
        return dict, ({alias: array.copy() for alias, array in self.items()},)


class _Made(NamedTuple):
    """An array as it was handed out."""

    alias: str
    array: Array
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    base: object


def _described(shapes: Mapping[str, ArrayShape]) -> str:
    return ", ".join(f"{alias!r} {each.row.readable} {shown(each.shape)}" for alias, each in shapes.items())


def _separate(shapes: Mapping[str, ArrayShape]) -> dict[str, Array]:
    """Arrays in memory of their own. Strings are empty at first. Raises EncodeError for too many of them."""
    strings = sum(math.prod(each.shape) for each in shapes.values() if each.row is STRING)
    if strings > MOST_STRINGS:
        raise EncodeError(f"expected at most {MOST_STRINGS} strings, which fit in a request of 2 GiB, got {strings}")
    return {
        alias: np.full(each.shape, b"", object) if each.row is STRING else np.zeros(each.shape, each.row.dtype)
        for alias, each in shapes.items()
    }
