"""ConcurrencyLimit: how many requests are under way, against servers in simulated time."""

from __future__ import annotations

import pytest
from simulated import simulate

from tfs_client._flows.batching.concurrency_limit import MOST, AdaptiveLimit, FixedLimit, concurrency_limit
from tfs_client.errors import ConfigError

FIXED = (1, 2, 4, 8, 16, 32)
SERVERS = {
    "serial": {},
    "serial and far away": {"travel": 0.004},
    "four workers": {"workers": 4},
    "eight workers": {"workers": 8},
    "sixteen workers": {"workers": 16},
    "very fast": {"workers": 2, "service": 0.0005, "travel": 0.0001},
    "a short queue": {"room": 2},
    "no queue": {"room": 0},
    "four workers and a short queue": {"workers": 4, "room": 2},
    "uneven": {"noise": 0.9},
    "a short queue, uneven": {"room": 1, "noise": 0.5},
    "slower later": {"requests": 3000, "workers": 8, "service": lambda now: 0.004 if now < 0.2 else 0.012},
    "faster later": {"requests": 3000, "workers": 8, "service": lambda now: 0.012 if now < 0.2 else 0.004},
    "stuck for a while": {"requests": 3000, "workers": 8, "service": lambda now: 0.04 if 0.2 < now < 0.3 else 0.004},
}


@pytest.mark.parametrize("server", SERVERS.values(), ids=list(SERVERS))
def test_auto_is_as_fast_as_the_best_fixed_number(server):
    server = {"requests": 1000} | server
    best = max(simulate(FixedLimit(limit), **server).rate() for limit in FIXED)
    for seed in range(2):
        assert simulate(AdaptiveLimit(), seed=seed, **server).rate() >= 0.9 * best


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_auto_does_not_grow_without_bound(workers):
    run = simulate(AdaptiveLimit(), 3000, workers=workers)
    settled = [limit for when, limit in run.limits if when > 0.5]
    assert workers <= max(settled) <= 12 * workers
    assert max(settled) < MOST


@pytest.mark.parametrize(("workers", "factor"), [(1, 10), (4, 3), (4, 10), (8, 10)])
def test_auto_recovers_from_a_server_that_becomes_slower(workers, factor):
    server = {"workers": workers, "service": lambda now: 0.004 if now < 1 else 0.004 * factor}
    auto, best = (simulate(concurrency, 3000, **server) for concurrency in (AdaptiveLimit(), FixedLimit(16)))
    then = 1 + 0.3 * factor
    assert auto.rate(then, then + 2) >= 0.8 * best.rate(then, then + 2)


@pytest.mark.parametrize("server", [name for name in SERVERS if "queue" in name])
@pytest.mark.parametrize("limit", [8, 32])
def test_a_fixed_number_adapts_to_a_short_queue(server, limit):
    best = max(simulate(FixedLimit(few), 1000, **SERVERS[server]).rate() for few in (1, 2, 3, 4, 6))
    run = simulate(FixedLimit(limit), 1000, **SERVERS[server])
    assert run.rate() >= 0.9 * best
    assert run.refused < 1000  # less than one for every answer


def test_a_fixed_number_adapts_even_if_each_request_takes_half_a_second():
    assert simulate(FixedLimit(32), 200, service=0.5, room=2).rate() >= 1.9


@pytest.mark.parametrize("wrong", [0, -1, True, 2.0, "4", "Auto", None, [4]])
def test_anything_but_a_positive_number_or_auto_is_refused(wrong):
    with pytest.raises(ConfigError, match="expected in_flight as a number of requests, at least 1, or 'auto'"):
        concurrency_limit(wrong)
