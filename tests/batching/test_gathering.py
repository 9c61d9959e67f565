"""Gathering: items wait for others of their kind until there are enough, or for too long."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from tfs_client.batching.gathering import Gathering


def test_a_full_batch_is_given_at_once():
    gathering = Gathering(3, None)
    assert [gathering.add("a", item, 0.0) for item in "xyz"] == [None, None, ["x", "y", "z"]]
    assert not gathering


def test_kinds_are_kept_apart():
    gathering = Gathering(2, None)
    assert gathering.add("a", 1, 0.0) is None
    assert gathering.add("b", 2, 0.0) is None
    assert gathering.add("a", 3, 0.0) == [1, 3]
    assert gathering.oldest() == [2]
    assert gathering.oldest() is None


def test_a_batch_is_due_when_its_first_item_has_waited_long_enough():
    gathering = Gathering(9, 0.5)
    gathering.add("a", 1, 10.0)
    gathering.add("b", 2, 10.2)
    gathering.add("a", 3, 10.4)
    assert gathering.next_due() == 10.5
    assert gathering.due(10.4) is None
    assert gathering.due(10.5) == [1, 3]
    assert gathering.next_due() == 10.7


def test_without_a_delay_nothing_is_ever_due():
    gathering = Gathering(9, None)
    gathering.add("a", 1, 0.0)
    assert gathering.next_due() is None
    assert gathering.due(1e9) is None


def test_a_smaller_batch_size_counts_for_what_waits_already():
    gathering = Gathering(9, None)
    for item in range(4):
        gathering.add("a", item, 0.0)
    gathering.batch_size = 2
    assert gathering.add("a", 4, 0.0) == [0, 1, 2, 3, 4]


@given(st.integers(1, 5), st.lists(st.sampled_from("abc")))
def test_every_item_comes_out_once_and_in_order(batch_size, kinds):
    gathering = Gathering(batch_size, None)
    out = []
    for number, kind in enumerate(kinds):
        if batch := gathering.add(kind, (kind, number), 0.0):
            assert len(batch) == batch_size
            out.append(batch)
    while batch := gathering.oldest():
        out.append(batch)
    for batch in out:
        assert len({kind for kind, _ in batch}) == 1
        assert batch == sorted(batch, key=lambda item: item[1])
    assert sorted(chain(*out), key=lambda item: item[1]) == [(kind, number) for number, kind in enumerate(kinds)]
