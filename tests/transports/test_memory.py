"""The memory of large requests is used again, and never while somebody still holds them."""

from __future__ import annotations

import threading

import numpy as np

from tfs_client.transports.memory import KEPT, LARGE, RequestMemory


def parts_of(seed: int, size: int = 2 * LARGE) -> list[object]:
    return [b"head", np.full(size - 6, seed, np.uint8), np.array(7, np.int16)]


def joined(memory: RequestMemory, seed: int, size: int = 2 * LARGE) -> bytes:
    return memory.join(parts_of(seed, size), size)


def expected(seed: int, size: int = 2 * LARGE) -> bytes:
    return b"head" + bytes([seed]) * (size - 6) + b"\x07\x00"


def test_requests_are_what_their_parts_are() -> None:
    memory = RequestMemory()
    for seed in range(5):
        request = joined(memory, seed)
        assert request == expected(seed)
        memory.give_back(request)
        del request
        assert joined(memory, seed, 100) == expected(seed, 100)


def test_the_memory_of_a_size_that_comes_again_is_used_again() -> None:
    memory = RequestMemory()
    places = []
    for seed in range(5):
        request = joined(memory, seed)
        places.append(id(request))
        memory.give_back(request)
        del request
    assert len(set(places[1:])) == 1


def test_a_request_that_is_still_held_is_left_alone() -> None:
    memory = RequestMemory()
    held = []
    for seed in range(4):
        request = joined(memory, seed)
        memory.give_back(request)
        held.append(request)
    assert held == [expected(seed) for seed in range(4)]


def test_requests_under_way_at_the_same_time_do_not_share_memory() -> None:
    memory = RequestMemory()
    memory.give_back(joined(memory, 0))
    requests = [joined(memory, seed) for seed in range(4)]
    assert requests == [expected(seed) for seed in range(4)]


def test_what_is_kept_is_limited_and_can_be_released() -> None:
    memory = RequestMemory()
    size = KEPT // 3
    requests = [joined(memory, seed % 256, size) for seed in range(6)]
    for request in requests:
        memory.give_back(request)
    assert sum(kept for kept, _ in memory._spare) <= KEPT
    memory.close()
    assert not memory._spare
    late = joined(memory, 1, size)
    memory.give_back(late)  # of a call that was under way when the client was closed
    assert not memory._spare


def test_threads_get_their_own() -> None:
    memory = RequestMemory()
    wrong: list[int] = []

    def work(seed: int) -> None:
        for _ in range(50):
            request = joined(memory, seed)
            if request != expected(seed):
                wrong.append(seed)
            memory.give_back(request)
            del request

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
