"""SpareRequests: memory of requests is used again when nobody can read it any more."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tfs_client._codec.dtypes import BY_NAME, ArrayShape
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._transports.spare_requests import SpareRequests

SPEC = ModelSpec("m")
SHAPES = {"x": ArrayShape(BY_NAME["float"], (100,))}
SIZE = len(RequestArrays(SPEC, SHAPES).request(SPEC, ()))


def made(spare, shapes=SHAPES):
    return RequestArrays(SPEC, shapes, (), spare)


def address(arrays):
    return arrays["x"].ctypes.data


def test_memory_is_used_again_once_its_arrays_are_gone():
    spare = SpareRequests(10 * SIZE)
    first = made(spare)
    second = made(spare)
    first["x"][:] = 1
    places = {address(first), address(second)}
    assert len(places) == 2
    del first, second
    assert {address(arrays) for arrays in (made(spare), made(spare))} <= places


@pytest.mark.parametrize(
    "kept",
    [
        lambda arrays: arrays["x"],
        lambda arrays: arrays["x"][10:20],
        lambda arrays: memoryview(arrays["x"]),
        lambda arrays: arrays.request(SPEC, ()),
        lambda arrays: memoryview(arrays.request(SPEC, ())),
    ],
    ids=["array", "view", "buffer", "request", "buffer of the request"],
)
def test_memory_that_something_refers_to_is_left_alone(kept):
    spare = SpareRequests(10 * SIZE)
    arrays = made(spare)
    arrays["x"][:] = 1
    reader = kept(arrays)
    before = bytes(reader)
    del arrays
    for _ in range(3):
        made(spare)["x"][:] = 2
    assert bytes(reader) == before


def test_other_arrays_of_the_same_size_get_a_request_of_their_own_layout():
    spare = SpareRequests(10 * SIZE)
    one = RequestArrays(SPEC, {"x": SHAPES["x"], "yy": ArrayShape(BY_NAME["int8"], (3,))}, (), spare)
    one["x"][:], one["yy"][:] = 1, 2
    place = one["x"].ctypes.data
    del one
    other = RequestArrays(SPEC, {"yy": ArrayShape(BY_NAME["int8"], (3,)), "x": SHAPES["x"]}, (), spare)
    other["x"][:], other["yy"][:] = 3, 4
    fresh = RequestArrays(SPEC, {"yy": ArrayShape(BY_NAME["int8"], (3,)), "x": SHAPES["x"]})
    fresh["x"][:], fresh["yy"][:] = 3, 4
    assert abs(other["x"].ctypes.data - place) < SIZE or len(other.request(SPEC, ())) != SIZE
    assert bytes(memoryview(other.request(SPEC, ()))) == bytes(memoryview(fresh.request(SPEC, ())))


def test_a_limit_bounds_what_is_kept():
    spare = SpareRequests(3 * SIZE)
    many = [made(spare) for _ in range(10)]
    del many
    assert len(list(iter(lambda: spare.take(SIZE), None))) == 3
    assert spare.take(SIZE) is None
    large = SpareRequests(SIZE - 1)
    del made(large)["x"]
    assert large.take(SIZE) is None


def test_memory_may_come_back_at_any_moment():
    """A garbage collection within a method may return memory, in a thread that holds the lock."""
    spare = SpareRequests(10 * SIZE)
    arrays = made(spare)
    with spare._lock:
        del arrays
    assert spare.take(SIZE) is not None


def test_threads_never_share_memory():
    spare = SpareRequests(4 * SIZE)
    wrong = []

    def work(number):
        for _ in range(300):
            arrays = made(spare)
            arrays["x"][:] = number
            if not (np.frombuffer(arrays.request(SPEC, ())[-400:], np.float32) == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
