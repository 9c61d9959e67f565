"""A cache of message layouts: the positions of the values in messages that differ in nothing else.

A service calls one model again and again, and its requests and replies differ only in the numbers: same aliases,
dtypes, shapes and model version, hence the same bytes around the same spans. To walk such a message field by field
costs more than everything else that the client does for a small prediction (measured: 30 of 60 microseconds on top of
raw gRPC, where the walk runs on cold caches).

Strategy: the frame of a message, all its bytes except the values, is remembered by the message's length. A message of
the same length with an equal frame is read by slicing. This is correct because

- the frame contains every tag, length, alias, dtype and shape, so equal frames mean equal positions and types;
- the values of the cached tensors can be any bytes. So only tensors that are views of the message are cached, and no
  bools, whose bytes must be checked each time.

A message that does not match is read in full, and its layout replaces the one for its length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np

from tfs_client._codec.dtypes import Array

MAX_FRAME = 4096  # bytes around the values; longer frames are not worth comparing or keeping
MAX_LAYOUTS = 64  # kept at a time, so that messages of ever new lengths do not use up memory

T = TypeVar("T")

View = tuple[str, tuple[int, ...], np.dtype[np.generic], int]
"""A tensor: its alias, shape and dtype, and the offset of its values in the message."""


class Layouts(Generic[T]):
    """The layouts of one kind of message. ``T`` is the content of a frame apart from its tensors."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, Layout[T]] = {}  # by length of the message

    def read(self, data: bytes) -> tuple[T, dict[str, Array]] | None:
        """Return the frame's content, and the tensors as views of ``data``; None if the layout is not known."""
        # On the hot path, so the work is done in place.
        known = self._known.get(len(data))
        if known is None:
            return None
        for start, stop, piece in known.frame:
            if data[start:stop] != piece:
                return None
        found = {}
        for alias, shape, dtype, offset in known.views:
            found[alias] = np.ndarray(shape, dtype, data, offset)
        return known.content, found

    def learn(self, data: bytes, content: T, tensors: Mapping[str, Array]) -> None:
        """Remember the layout of a message that was read field by field, if it can be cached."""
        if (layout := layout_of(data, content, tensors)) is not None:
            if len(self._known) >= MAX_LAYOUTS:
                self._known.clear()
            self._known[len(data)] = layout

    def clear(self) -> None:
        """Forget all layouts."""
        self._known.clear()


class Layout(Generic[T]):
    """One layout.

    Attributes:
        frame: the bytes around the values, each piece with its span.
        views: the tensors.
        content: the content of the frame apart from them.
    """

    __slots__ = ("content", "frame", "views")

    def __init__(self, frame: list[tuple[int, int, bytes]], views: list[View], content: T) -> None:
        self.frame = frame
        self.views = views
        self.content = content


def layout_of(data: bytes, content: T, tensors: Mapping[str, Array]) -> Layout[T] | None:
    """Return the layout of a message that was read; None if a tensor is not a view, or the frame is too long."""
    begin = np.frombuffer(data, np.uint8).ctypes.data if data else 0
    views = []
    for alias, array in tensors.items():
        offset = array.ctypes.data - begin
        # Bools are views only after a check of their values, which the next message needs too.
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
    return Layout(frame, [(alias, shape, dtype, offset) for offset, alias, shape, dtype, _ in views], content)
