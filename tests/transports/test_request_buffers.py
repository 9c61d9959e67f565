"""The buffers of large requests are used again, and never while something still references them."""

from __future__ import annotations

import threading

import numpy as np

from tfs_client._transports.request_buffers import KEPT, LARGE, RequestBuffers


def parts_of(seed: int, size: int = 2 * LARGE) -> list[object]:
    return [b"head", np.full(size - 6, seed, np.uint8), np.array(7, np.int16)]


def joined(buffers: RequestBuffers, seed: int, size: int = 2 * LARGE) -> bytes:
    return buffers.join(parts_of(seed, size), size)


def expected(seed: int, size: int = 2 * LARGE) -> bytes:
    return b"head" + bytes([seed]) * (size - 6) + b"\x07\x00"


def test_a_request_is_its_parts_joined() -> None:
    buffers = RequestBuffers()
    for seed in range(5):
        request = joined(buffers, seed)
        assert request == expected(seed)
        buffers.give_back(request)
        del request
        assert joined(buffers, seed, 100) == expected(seed, 100)


def test_memory_is_reused_for_requests_of_the_same_size() -> None:
    buffers = RequestBuffers()
    places = []
    for seed in range(5):
        request = joined(buffers, seed)
        places.append(id(request))
        buffers.give_back(request)
        del request
    assert len(set(places[1:])) == 1


def test_memory_of_a_request_still_in_use_is_not_reused() -> None:
    buffers = RequestBuffers()
    held = []
    for seed in range(4):
        request = joined(buffers, seed)
        buffers.give_back(request)
        held.append(request)
    assert held == [expected(seed) for seed in range(4)]


def test_concurrent_requests_do_not_share_memory() -> None:
    buffers = RequestBuffers()
    buffers.give_back(joined(buffers, 0))
    requests = [joined(buffers, seed) for seed in range(4)]
    assert requests == [expected(seed) for seed in range(4)]


def test_kept_memory_is_limited_and_can_be_released() -> None:
    buffers = RequestBuffers()
    size = KEPT // 3
    requests = [joined(buffers, seed % 256, size) for seed in range(6)]
    for request in requests:
        buffers.give_back(request)
    assert sum(kept for kept, _ in buffers._spare) <= KEPT
    buffers.close()
    assert not buffers._spare
    late = joined(buffers, 1, size)
    buffers.give_back(late)  # of a call that was under way when the client was closed
    assert not buffers._spare


def test_each_thread_has_its_own_memory() -> None:
    buffers = RequestBuffers()
    wrong: list[int] = []

    def work(seed: int) -> None:
        for _ in range(50):
            request = joined(buffers, seed)
            if request != expected(seed):
                wrong.append(seed)
            buffers.give_back(request)
            del request

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
