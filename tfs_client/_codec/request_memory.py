"""Memory of a request that arrays lie in, so that what is written to them is sent without a copy.

gRPC takes a request as one ``bytes`` object, and copies it when the call starts. CPython keeps the contents of such an
object in one place for its whole life, so they can be written through their address. That is sound as long as nobody
relies on them being constant: the object is new, is never hashed or compared, and is given to gRPC only. Other
implementations of Python may move their objects; there, requests are joined from their parts.
"""

from __future__ import annotations

import sys
import weakref
from typing import Protocol

import numpy as np

from tfs_client._codec.dtypes import Array

AVAILABLE = sys.implementation.name == "cpython" and sys.byteorder == "little"


class SpareMemory(Protocol):
    """Memory of earlier requests, for those to come."""

    def take(self, size: int) -> bytes | None:
        """Return memory of this size that nothing else refers to; None if none is spare."""

    def keep(self, request: bytes) -> None:
        """Keep the memory of a request whose arrays are gone. Called at any moment, by a garbage collection too."""


class _Memory:
    """The memory of one ``bytes`` object, which lives as long as the arrays that numpy makes of this."""

    __slots__ = ("__array_interface__", "_request", "_spare")

    def __init__(self, request: bytes, spare: SpareMemory | None) -> None:
        self._request = request
        self._spare = spare
        address = np.frombuffer(request, np.uint8).__array_interface__["data"][0]
        self.__array_interface__ = {"data": (address, False), "shape": (len(request),), "typestr": "|u1", "version": 3}

    def __del__(self) -> None:
        if self._spare is not None:
            self._spare.keep(self._request)


def request_of(size: int, spare: SpareMemory | None = None) -> tuple[bytes, Array]:
    """Return a request of ``size`` bytes, and a writable array of them: zeros, except in memory from ``spare``.

    ``spare`` gets the memory back when no array lies in it any more.
    """
    assert AVAILABLE
    assert size > 1  # Python shares shorter objects
    request = None if spare is None else spare.take(size)
    if request is None:
        request = bytes(size)
    return request, np.asarray(_Memory(request, spare))


# --- requests that may change ------------------------------------------------------------------------------------


class Owner(Protocol):
    """What the arrays in a request belong to."""

    def hold(self) -> None:
        """Make the arrays read-only."""

    def release(self) -> None:
        """Make the arrays writable after the last ``hold``."""


owners: dict[int, weakref.ref[Owner]] = {}
"""What arrays in requests belong to, by identity of the requests."""


def own(request: bytes, owner: Owner) -> None:
    """Note that arrays lie in a request, as long as the owner lives."""
    key = id(request)
    owners[key] = weakref.ref(owner, lambda _: owners.pop(key, None))


def held(request: bytes) -> Owner | None:
    """Hold the arrays that lie in a request, until the caller releases them. Returns None if none do."""
    found = owners.get(id(request))
    owner = None if found is None else found()
    if owner is not None:
        owner.hold()
    return owner


def lasting(request: bytes) -> bytes:
    """Return a request that stays as it is: a copy, if arrays lie in it."""
    return bytes(memoryview(request)) if id(request) in owners else request
