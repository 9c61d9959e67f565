"""Layouts of replies: where the values lie in messages that all look alike but for those values.

A service asks one model again and again, and its replies differ in nothing but the numbers: same aliases, dtypes,
shapes and model version, hence the same bytes around the same spans. Walking such a reply field by field costs more
than everything else the client does for a small prediction (measured: 30 of 60 microseconds on top of raw gRPC, where
the walk runs on cold caches). So the frame of a reply is remembered, by the length of the message; a reply whose frame
bytes are equal is read by slicing alone. Only tensors that are views of the message take part, for only their position
does not depend on their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfs_client.codec.model_spec import ModelSpec

Array = np.ndarray[Any, Any]

MAX_FRAME = 4096  # bytes around the values; a longer frame is not worth comparing, nor keeping
MAX_LAYOUTS = 64  # kept at a time, so that replies of ever new lengths do not pile up


class Layout:
    """One remembered frame."""

    __slots__ = ("_frame", "_views", "spec")

    def __init__(self, frame: list[tuple[int, int, bytes]], views: list[Any], spec: ModelSpec) -> None:
        self._frame = frame
        self._views = views
        self.spec = spec

    def read(self, data: bytes) -> dict[str, Array] | None:
        """The outputs of a message of this layout; None when it is of another."""
        for start, stop, piece in self._frame:
            if data[start:stop] != piece:
                return None
        return {alias: np.ndarray(shape, dtype, data, offset) for alias, shape, dtype, offset in self._views}


def layout_of(data: bytes, spec: ModelSpec, outputs: Mapping[str, Array]) -> Layout | None:
    """The layout of a message that has been read; None when some of its values are not views, or it is mostly frame."""
    begin = np.frombuffer(data, np.uint8).ctypes.data if data else 0
    views = []
    for alias, array in outputs.items():
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
    return Layout(frame, [(alias, shape, dtype, offset) for offset, alias, shape, dtype, _ in views], spec)
