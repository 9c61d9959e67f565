"""RequestBuffers: memory for large requests, reused between calls.

gRPC takes a request as one ``bytes`` object. Allocating a large one for every call can cost more than copying into it:
the allocator returns its pages to the system when it is freed, and the next request faults them in again (measured at
19 MB: 18 ms of page faults on top of a call of 14 ms). So the memory of a large request is kept, and the next request
of the same size is written into it.

What must hold: a request that is still in use is never overwritten. BytesIO ensures it. The ``bytes`` that it hands out
are its own buffer, and while anything else refers to them, writing moves it to a new buffer.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from io import BytesIO
from typing import Any

LARGE = 1 << 17  # bytes; below, the allocator itself keeps the memory
KEPT = 1 << 26  # bytes of unused memory to keep in total


class RequestBuffers:
    """Joins the parts of requests. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: list[tuple[int, BytesIO]] = []
        self._lent: dict[int, tuple[int, BytesIO]] = {}  # by identity of the bytes
        self._last_size = 0
        self._closed = False

    def join(self, parts: Sequence[Any], size: int) -> bytes:
        """Join parts, bytes and C-contiguous buffers of ``size`` bytes in total, to one request.

        The sender calls ``give_back`` when the call is over.
        """
        if size < LARGE:
            return b"".join(parts)
        with self._lock:
            spare = self._take(size)
            # Only memory of a size that recurs is worth keeping.
            again, self._last_size = size == self._last_size, size
        if spare is not None:
            _write(parts, spare)
        elif again and size <= KEPT:
            spare = BytesIO(b"".join(parts))
        else:
            return b"".join(parts)
        request = spare.getvalue()
        self._lent[id(request)] = size, spare
        return request

    def give_back(self, request: bytes) -> None:
        """Take back the memory of a request whose call is over."""
        if not self._lent:
            return
        size, spare = self._lent.pop(id(request), (0, None))
        if spare is not None:
            with self._lock:
                if self._closed:
                    return
                while self._spare and size + sum(kept for kept, _ in self._spare) > KEPT:
                    del self._spare[0]
                self._spare.append((size, spare))

    def close(self) -> None:
        """Release the memory, and keep none from now on."""
        with self._lock:
            self._closed = True
            self._spare.clear()
            self._lent.clear()

    def _take(self, size: int) -> BytesIO | None:
        for index, (kept, spare) in enumerate(self._spare):
            if kept == size:
                del self._spare[index]
                return spare
        return None


def _write(parts: Sequence[Any], spare: BytesIO) -> None:
    with spare.getbuffer() as room:
        at = 0
        for part in parts:
            view = memoryview(part).cast("B")
            room[at : at + view.nbytes] = view
            at += view.nbytes
