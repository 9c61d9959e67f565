"""Congestion window: how clients adapt to refusals, alone and together, in simulated time."""

from __future__ import annotations

import random

import pytest
from simulated import share

from tfs_client._flows.batching.concurrency_limit import AdaptiveLimit, FixedLimit
from tfs_client._flows.batching.congestion import LONGEST_PAUSE, CongestionWindow

SERVICE = 0.01


def fixed(number, seed=0):
    return FixedLimit(number, random.Random(seed).random)


def auto(seed=0):
    return AdaptiveLimit(chance=random.Random(seed).random)


ALONE = {"one too many": lambda: fixed(5), "twice as many": lambda: fixed(8), "many": lambda: fixed(32), "auto": auto}


@pytest.mark.parametrize("asks", [None, 0.0, 0.02, 1.0])
@pytest.mark.parametrize("make", ALONE.values(), ids=list(ALONE))
def test_a_client_alone_is_as_fast_as_the_best_fixed_number_and_rarely_refused(make, asks):
    best = share([fixed(4)], 5, slots=lambda _: 4)
    assert not best.refused
    run = share([make()], 5, slots=lambda _: 4, asks=asks)
    assert run.rate(0, 5) >= 0.9 * best.rate(0, 5)
    assert run.refusals() <= 0.1


@pytest.mark.parametrize("slots", [1, 2, 16])
def test_a_client_alone_uses_any_number_of_slots(slots):
    best = share([fixed(slots)], 6, slots=lambda _: slots)
    run = share([fixed(32)], 6, slots=lambda _: slots)
    assert run.rate(1, 6) >= 0.9 * best.rate(1, 6)
    assert run.refusals(1) <= 0.1


@pytest.mark.parametrize("tidying", [0.0002, 0.0005, 0.001])
@pytest.mark.parametrize("slots", [1, 4])
def test_a_server_that_releases_slots_slowly_gets_time(slots, tidying):
    for limit in (slots, 2 * slots):
        run = share([fixed(limit)], 6, slots=lambda _: slots, tidying=tidying)
        assert run.rate(1, 6) >= 0.75 * slots / (SERVICE + tidying)
        assert run.refusals(1) <= 0.1


@pytest.mark.parametrize("make", [lambda seed: fixed(4, seed), lambda seed: fixed(32, seed), auto])
def test_twenty_clients_speed_up_when_slots_return(make):
    run = share([make(seed) for seed in range(20)], 12, slots=lambda now: 4 if 4 <= now < 9 else 40)
    before = run.rate(2, 4)
    assert before >= 0.85 * 40 / (SERVICE + 0.0006)
    assert run.rate(6, 9) >= 0.8 * 4 / (SERVICE + 0.0006)
    assert run.rate(10, 12) >= 0.9 * before  # a second later
    assert run.refusals(0.5) <= 0.1  # 640 requests at once are too many at first
    assert run.refusals(7, 9) <= 0.15
    assert run.longest < 7


@pytest.mark.parametrize("clients", [2, 5, 20, 60])
def test_all_clients_get_their_turn(clients):
    run = share([fixed(4, seed) for seed in range(clients)], 30, slots=lambda _: 4)
    assert run.rate(5, 30) >= 0.8 * 4 / (SERVICE + 0.0006)
    assert min(run.of_client) >= 0.15 * sum(run.of_client) / clients
    assert run.refusals(10) <= 0.1 * max(1.0, clients / 20)


def test_clients_of_a_slow_model_get_their_turn_before_they_give_up():
    share([fixed(4, seed) for seed in range(20)], 300, slots=lambda _: 4, service=0.1)


def test_a_server_that_returns_is_used_at_once():
    run = share([fixed(8)], 20, slots=lambda now: 0 if 5 <= now < 10 else 8)
    refused_meanwhile = run.refusals(5, 11) * run.rate(5, 11) * 6
    assert refused_meanwhile < 40
    assert run.rate(12, 20) >= 0.9 * run.rate(2, 5)


def test_pauses_are_drawn_at_random_and_bounded():
    pauses = set()
    for seed in range(20):
        window = CongestionWindow(1, random.Random(seed).random)
        now = 0.0
        for _ in range(100):
            window.refused(now, now, 0, None)
            pause = window.earliest(0) - now
            assert 0 < pause <= 1.5 * LONGEST_PAUSE
            now += pause
        pauses.add(pause)
    assert len(pauses) == 20


def test_a_refusal_with_others_in_flight_shows_the_servers_limit():
    window = CongestionWindow(32)
    for under_way in range(31, 3, -1):
        window.refused(0.0, 0.001, under_way, None)
    assert window.limit == 4
    assert window.earliest(4) is None


def test_one_request_is_always_allowed():
    window = CongestionWindow(3)
    for now in range(100):
        window.refused(float(now), now + 0.5, 0, None)
    assert window.limit == 1
    assert window.earliest(0) is not None


def test_the_window_reopens_to_the_requested_number():
    window = CongestionWindow(4)
    window.refused(0.0, 0.001, 1, None)
    for step in range(200):
        assert window.limit <= 4
        window.answered(1.0 + step, 1.01 + step, 0)
    assert window.limit == 4
