"""Two recordings, compared call by call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tfs_client.cli.admin.replay.replayed_calls import Outcome, ReplayedCall, compared, recorded
from tfs_client.recordings.differences import Difference
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.matching import MATCH, Matcher, Rules

ONLY_IN_A, ONLY_IN_B = "is only in A", "is only in B"
Numbered = Sequence[tuple[int, Episode]]


def comparisons(a: Numbered, b: Numbered, *, rtol: float, atol: float, any_version: bool) -> Iterator[ReplayedCall]:
    """Yield the calls of B in order, each compared with one of A, then the calls that are only in A.

    The number of a call is its position in B; of one that is only in A, its position there.
    """
    match = [each for each in MATCH if not (any_version and each == "version")]
    matcher = Matcher([episode for _, episode in a], Rules(match))
    used: set[int] = set()
    for number, episode in b:
        expected = matcher.take(episode)
        if expected is None:
            yield _alone(number, episode, ONLY_IN_B)
        else:
            used.add(id(expected))
            yield compared(number, episode, episode.spec, recorded(expected), recorded(episode), rtol=rtol, atol=atol)
    for number, episode in a:
        if id(episode) not in used:
            yield _alone(number, episode, ONLY_IN_A)


def _alone(number: int, episode: Episode, why: str) -> ReplayedCall:
    outcome = Outcome({}, episode.code, episode.details)
    return ReplayedCall(number, episode.method, episode.spec, outcome, outcome, [Difference("call", why)])
