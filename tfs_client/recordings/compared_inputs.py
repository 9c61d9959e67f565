"""Compared inputs: the names that a caller gives of the inputs to compare."""

from __future__ import annotations

from collections.abc import Iterable

from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError, DecodeError
from tfs_client.recordings.contents import input_of, inputs_of
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.matching import Rules


def check_compared(episodes: Iterable[Episode], rules: Rules) -> None:
    """Raise ConfigError for a name in ``inputs`` that no recorded call has, because it would compare nothing."""
    if rules.inputs is None or "inputs" not in rules.match:
        return
    known: set[str] = set()
    for episode in episodes:
        try:
            known |= {input_of(alias) for alias in inputs_of(episode)}
        except DecodeError:  # nobody knows what it has
            return
        if known.issuperset(rules.inputs):
            return
    if known:
        unknown = next(name for name in rules.inputs if name not in known)
        raise ConfigError(f"inputs= has {shown(unknown)}, but the recorded calls have {listed(sorted(known))}")
