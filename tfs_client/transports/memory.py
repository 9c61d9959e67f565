"""Memory for large requests, kept between calls.

gRPC takes a request as one ``bytes`` object. Made anew for every call, a large one can cost more than its copying: the
allocator returns its pages to the system when it is freed, and the next one faults them in again (measured at 19 MB: 18
ms of page faults on top of a call of 14 ms). So the memory of a large request is kept, and written anew by the next
request of the same size.

BytesIO makes that safe: the ``bytes`` it hands out are its own buffer, and as long as anybody else still holds them,
writing moves it to a new one. A request that is still in use is never touched.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from io import BytesIO
from typing import Any

LARGE = 1 << 17  # bytes; below, the allocator itself keeps the memory
KEPT = 1 << 26  # bytes in all that are kept while no call uses them


class RequestMemory:
    """Joins the parts of requests. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: list[tuple[int, BytesIO]] = []
        self._lent: dict[int, tuple[int, BytesIO]] = {}  # by identity of the bytes
        self._last_size = 0
        self._closed = False

    def join(self, parts: Sequence[Any], size: int) -> bytes:
        """The parts, bytes and C-contiguous buffers of ``size`` bytes in all, as one request.

        The one who sends it calls ``give_back`` when the call is over.
        """
        if size < LARGE:
            return b"".join(parts)
        with self._lock:
            spare = self._take(size)
            # One size seen for the first time may be one of many: only what comes again is worth keeping.
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
        """The call with this request is over: its memory may serve another."""
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
        """Release what is kept, and keep nothing more."""
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
