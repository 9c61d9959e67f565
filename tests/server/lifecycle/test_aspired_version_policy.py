"""Version policies: what is done next, for every situation worth a name."""

from __future__ import annotations

from itertools import permutations

import pytest
from resource_preserving import resource_preserving

from tfs_client.server.lifecycle.aspired_version_policy import (
    Action,
    AspiredServableStateSnapshot,
    ServableAction,
    availability_preserving,
)
from tfs_client.server.lifecycle.states import Phase

NEW, LOADING, READY, ERROR = Phase.NEW, Phase.LOADING, Phase.READY, Phase.ERROR
UNLOADING, DISABLED = Phase.UNLOADING, Phase.DISABLED


def versions(**kinds):
    """``v2=(READY, True)`` is version 2, ready and wanted."""
    return [AspiredServableStateSnapshot(int(name[1:]), phase, wanted) for name, (phase, wanted) in kinds.items()]


def load(version):
    return ServableAction(Action.LOAD, version)


def unload(version):
    return ServableAction(Action.UNLOAD, version)


AVAILABILITY = {
    "nothing is known": ({}, None),
    "a first version": ({"v1": (NEW, True)}, load(1)),
    "several: the highest first": ({"v1": (NEW, True), "v3": (NEW, True), "v2": (NEW, True)}, load(3)),
    "the others while it loads": ({"v1": (NEW, True), "v3": (LOADING, True)}, load(1)),
    "all are there": ({"v1": (READY, True), "v2": (READY, True)}, None),
    "a follower appears": ({"v1": (READY, False), "v2": (NEW, True)}, load(2)),
    "it loads: the old one stays": ({"v1": (READY, False), "v2": (LOADING, True)}, None),
    "it is ready: the old one goes": ({"v1": (READY, False), "v2": (READY, True)}, unload(1)),
    "it failed: the old one stays": ({"v1": (READY, False), "v2": (ERROR, True)}, None),
    "two old ones for a new one: the lowest goes": (
        {"v1": (READY, False), "v2": (READY, False), "v3": (NEW, True)},
        unload(1),
    ),
    "then the new one is loaded": ({"v1": (DISABLED, False), "v2": (READY, False), "v3": (NEW, True)}, load(3)),
    "while one is unloading it is no longer counted": (
        {"v1": (UNLOADING, False), "v2": (READY, False), "v3": (NEW, True)},
        load(3),
    ),
    "roll-back": ({"v1": (NEW, True), "v2": (READY, False)}, load(1)),
    "the model is removed": ({"v1": (READY, False), "v2": (READY, False)}, unload(1)),
    "and its last version": ({"v1": (DISABLED, False), "v2": (READY, False)}, unload(2)),
    "an unwanted version loads": ({"v1": (LOADING, False)}, None),
    "an unwanted new version is never loaded": ({"v1": (NEW, False)}, None),
    "what failed is not tried again": ({"v1": (ERROR, True)}, None),
    "unloading comes before loading": (
        {"v1": (READY, False), "v2": (READY, True), "v3": (NEW, True)},
        unload(1),
    ),
}

RESOURCE = {
    "nothing is known": ({}, None),
    "a first version": ({"v1": (NEW, True)}, load(1)),
    "a follower appears: the old one goes first": ({"v1": (READY, False), "v2": (NEW, True)}, unload(1)),
    "the old one goes: nothing is loaded yet": ({"v1": (UNLOADING, False), "v2": (NEW, True)}, None),
    "the old one is gone": ({"v1": (DISABLED, False), "v2": (NEW, True)}, load(2)),
    "the old one had failed": ({"v1": (ERROR, False), "v2": (NEW, True)}, load(2)),
    "an unwanted one still loads": ({"v1": (LOADING, False), "v2": (NEW, True)}, None),
    "an unwanted one is new": ({"v1": (NEW, False), "v2": (NEW, True)}, None),
    "several: the highest first": ({"v1": (NEW, True), "v2": (NEW, True)}, load(2)),
    "all are there": ({"v1": (READY, True), "v2": (READY, True)}, None),
    "the model is removed": ({"v1": (READY, False), "v2": (READY, False)}, unload(1)),
}


@pytest.mark.parametrize("situation", AVAILABILITY)
def test_availability_preserving(situation):
    known, expected = AVAILABILITY[situation]
    for order in permutations(versions(**known)):
        assert availability_preserving(iter(order)) == expected


@pytest.mark.parametrize("situation", RESOURCE)
def test_resource_preserving(situation):
    known, expected = RESOURCE[situation]
    for order in permutations(versions(**known)):
        assert resource_preserving(iter(order)) == expected
