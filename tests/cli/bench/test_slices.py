"""Latencies by the time of their requests."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.measuring import Measuring
from tfs_client.cli.bench.slices import MOST, Slices


def recorded(starts, seconds):
    slices = Slices()
    slices.record(np.asarray(starts, float), np.asarray(seconds, float))
    return slices


def test_each_second_has_its_answers_and_percentiles():
    slices = recorded([0.0, 0.5, 2.9, 2.9], [0.010, 0.010, 0.100, 0.400])

    found = list(slices.rows())

    assert [(start, count) for start, count, _, _ in found] == [(0.0, 2), (1.0, 0), (2.0, 2)]
    assert found[0][2] == pytest.approx(0.010, rel=0.05)
    assert found[2][2:] == (pytest.approx(0.100, rel=0.05), pytest.approx(0.400, rel=0.05))
    assert np.isnan(found[1][2])


def test_a_long_stage_has_wider_slices_and_keeps_all_counts():
    slices = recorded(np.arange(1000), np.full(1000, 0.001))
    slices.record(np.array([86400.0]), np.array([1.0]))

    found = list(slices.rows())

    assert len(found) <= MOST
    assert sum(count for _, count, _, _ in found) == 1001
    assert found[-1][0] <= 86400.0 < found[-1][0] + slices.width


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 3600.0, 1e9])
def test_extreme_latencies_are_counted(seconds):
    assert [count for _, count, _, _ in recorded([0.0], [seconds]).rows()] == [1]


def test_slices_can_be_sent_between_processes():
    slices = recorded([0.0, 3.5], [0.010, 0.100])

    sent = pickle.loads(pickle.dumps(slices))

    assert list(map(str, sent.rows())) == list(map(str, slices.rows()))
    assert len(pickle.dumps(slices)) < 2000


def test_answers_are_in_the_slice_in_which_they_were_meant_to_start():
    measuring = Measuring(None)
    for start, latency in ((0.2, 5.0), (3.4, 0.001)):
        measuring.answered(start, latency, latency, None, 1)

    found = measuring.snapshot(4.0, 0.0)

    assert [count for _, count, _, _ in found.slices.rows()] == [1, 0, 0, 1]
    assert found.latency.longest == 5 * 10**9


@pytest.mark.parametrize("order", [1, -1])
def test_processes_with_different_widths_are_added(order):
    one, other = [Measured(slices=recorded(range(n), [0.01] * n)) for n in (50, 500)][::order]

    one.add(other)

    assert one.slices.width == 8.0
    counts = [count for _, count, _, _ in one.slices.rows()]
    assert sum(counts) == 550
    assert counts[0] == 16
    assert counts[10] == 8
