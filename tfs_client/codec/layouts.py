"""Layouts of messages: where the values lie in messages that all look alike but for those values.

A service asks one model again and again, and its requests and the replies differ in nothing but the numbers: same
aliases, dtypes, shapes and model version, hence the same bytes around the same spans. Walking such a message field by
field costs more than everything else the client does for a small prediction (measured: 30 of 60 microseconds on top of
raw gRPC, where the walk runs on cold caches). So the frame of a message is remembered, by the length of the whole; a
message whose frame bytes are equal is read by slicing alone. Only tensors that are views of the message take part, for
only their position does not depend on their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np

Array = np.ndarray[Any, Any]

MAX_FRAME = 4096  # bytes around the values; a longer frame is not worth comparing, nor keeping
MAX_LAYOUTS = 64  # kept at a time, so that messages of ever new lengths do not pile up

T = TypeVar("T")


class Layouts(Generic[T]):
    """The remembered frames of one kind of message. What a frame says besides its tensors is a ``T``."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, Layout[T]] = {}  # by length of the message

    def read(self, data: bytes) -> tuple[T, dict[str, Array]] | None:
        """What the frame says, and the tensors as views of ``data``; None for messages of no known layout."""
        known = self._known.get(len(data))
        if known is None or (found := known.read(data)) is None:
            return None
        return known.says, found

    def learn(self, data: bytes, says: T, tensors: Mapping[str, Array]) -> None:
        """Remember a message that has been read the long way, if its layout is of the kind that can be."""
        if (layout := layout_of(data, says, tensors)) is not None:
            if len(self._known) >= MAX_LAYOUTS:
                self._known.clear()
            self._known[len(data)] = layout

    def clear(self) -> None:
        """Forget them all."""
        self._known.clear()


class Layout(Generic[T]):
    """One remembered frame."""

    __slots__ = ("_frame", "_views", "says")

    def __init__(self, frame: list[tuple[int, int, bytes]], views: list[Any], says: T) -> None:
        self._frame = frame
        self._views = views
        self.says = says

    def read(self, data: bytes) -> dict[str, Array] | None:
        """The tensors of a message of this layout; None when it is of another."""
        for start, stop, piece in self._frame:
            if data[start:stop] != piece:
                return None
        return {alias: np.ndarray(shape, dtype, data, offset) for alias, shape, dtype, offset in self._views}


def layout_of(data: bytes, says: T, tensors: Mapping[str, Array]) -> Layout[T] | None:
    """The layout of a message that has been read; None when some of its values are not views, or it is mostly frame."""
    begin = np.frombuffer(data, np.uint8).ctypes.data if data else 0
    views = []
    for alias, array in tensors.items():
        offset = array.ctypes.data - begin
        # Bools are views only after a look at their values, which the next message must get too.
        plain = array.dtype.kind != "O" and array.dtype.kind != "b" and array.flags.c_contiguous and array.size
        if not plain or not 0 <= offset <= len(data) - array.nbytes:
            return None
        views.append((offset, alias, array.shape, array.dtype, array.nbytes))
    frame, at = [], 0
    for offset, _, _, _, nbytes in sorted(views, key=lambda view: view[0]):
        frame.append((at, offset, data[at:offset]))
        at = offset + nbytes
    frame.append((at, len(data), data[at:]))
    if sum(stop - start for start, stop, _ in frame) > MAX_FRAME:
        return None
    return Layout(frame, [(alias, shape, dtype, offset) for offset, alias, shape, dtype, _ in views], says)
