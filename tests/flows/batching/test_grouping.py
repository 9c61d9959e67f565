"""Grouping: items wait for others of their kind until there are enough, or until ``max_delay`` has passed."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from tfs_client._flows.batching.grouping import Grouping


def test_a_full_batch_is_returned_at_once():
    groups = Grouping(3, None)
    assert [groups.add("a", item, 0.0) for item in "xyz"] == [None, None, ["x", "y", "z"]]
    assert not groups


def test_items_of_different_kinds_are_batched_separately():
    groups = Grouping(2, None)
    assert groups.add("a", 1, 0.0) is None
    assert groups.add("b", 2, 0.0) is None
    assert groups.add("a", 3, 0.0) == [1, 3]
    assert groups.oldest() == [2]
    assert groups.oldest() is None


def test_a_batch_is_due_when_its_first_item_has_waited_long_enough():
    groups = Grouping(9, 0.5)
    groups.add("a", 1, 10.0)
    groups.add("b", 2, 10.2)
    groups.add("a", 3, 10.4)
    assert groups.next_due() == 10.5
    assert groups.due(10.4) is None
    assert groups.due(10.5) == [1, 3]
    assert groups.next_due() == 10.7


def test_without_a_delay_nothing_is_ever_due():
    groups = Grouping(9, None)
    groups.add("a", 1, 0.0)
    assert groups.next_due() is None
    assert groups.due(1e9) is None


def test_a_smaller_batch_size_applies_to_waiting_items():
    groups = Grouping(9, None)
    for item in range(4):
        groups.add("a", item, 0.0)
    groups.batch_size = 2
    assert groups.add("a", 4, 0.0) == [0, 1, 2, 3, 4]


@given(st.integers(1, 5), st.lists(st.sampled_from("abc")))
def test_every_item_comes_out_once_and_in_order(batch_size, kinds):
    groups = Grouping(batch_size, None)
    out = []
    for number, kind in enumerate(kinds):
        if batch := groups.add(kind, (kind, number), 0.0):
            assert len(batch) == batch_size
            out.append(batch)
    while batch := groups.oldest():
        out.append(batch)
    for batch in out:
        assert len({kind for kind, _ in batch}) == 1
        assert batch == sorted(batch, key=lambda item: item[1])
    assert sorted(chain(*out), key=lambda item: item[1]) == [(kind, number) for number, kind in enumerate(kinds)]
