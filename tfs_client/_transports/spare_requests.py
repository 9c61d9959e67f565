"""SpareRequests: memory of requests that arrays lie in, reused between calls for the reason in ``request_buffers``."""

from __future__ import annotations

import sys
import threading
from collections import deque


class SpareRequests:
    """Memory of earlier requests, for those to come. May be used from any thread.

    Args:
        most: bytes to keep at most.
    """

    # What must hold:
    #
    # - Memory is written again only when nobody can read it. Its arrays are gone when it comes here, and ``take``
    #   leaves it alone while anything else refers to the bytes: gRPC, an interceptor, an attempt to be repeated.
    # - ``keep`` never waits. It may be called at any moment, by a garbage collection within a method of this class.

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._returned: deque[bytes] = deque()
        self._spare: list[bytes] = []
        self._size = 0

    def keep(self, request: bytes) -> None:
        """Keep the memory of a request whose arrays are gone."""
        if len(request) > self._most:
            return
        self._returned.append(request)
        if self._lock.acquire(blocking=False):  # otherwise the next call sorts it
            try:
                self._sort()
            finally:
                self._lock.release()

    def take(self, size: int) -> bytes | None:
        """Return memory of this size; None if none is spare."""
        with self._lock:
            self._sort()
            for index in range(len(self._spare)):
                if len(self._spare[index]) == size and _references(self._spare, index) == _ALONE:
                    self._size -= size
                    return self._spare.pop(index)
        return None

    def _sort(self) -> None:
        """Put what was returned with the rest, and drop the oldest memory above the limit."""
        while self._returned:
            request = self._returned.popleft()
            self._spare.append(request)
            self._size += len(request)
            del request
        while self._size > self._most:
            self._size -= len(self._spare.pop(0))


def _references(requests: list[bytes], index: int) -> int:
    return sys.getrefcount(requests[index])


_ALONE = _references([bytes(2)], 0)  # to an object in a list only
