"""Congestion window: how many requests a server takes at once, learned from those that it refuses.

A server that is over its limit refuses at once, and what it refuses costs it time too. Refusals should stay below a
tenth of the answers, yet no room should stay unused, however many clients share the server, and none of them knows of
the others. The rules, all of them on the time that an answer usually takes:

- A refusal while ``n`` others are under way says that ``n`` are what the server takes. The window falls to ``n``; for a
  moment one fewer are sent, so that others get a turn. Each answer then opens it a little, until one more is tried.
  After a long time without a refusal it opens faster, so that new room is found soon.
- A request that takes the place of an answered one is refused for one of two reasons: another client was faster, or the
  server had not tidied up yet. It goes again after a gap; the gap then stays for a while after every answer.
- A refusal while nothing is under way says nothing about the limit. The client pauses, a random time around a mean that
  every refusal raises and every answer lowers by much less: so whoever finds the server full again and again asks
  rarely, and many such clients together ask little more often than one. Who gets in stays in until refused, so that all
  have their turn; who has waited for long asks more often.
- Who is asked to wait (``Retry-After``) opens the window no further before that, or asks nothing while nothing is under
  way.

Every pause is drawn at random, or clients that were refused together would come back together.
Times are passed in; nothing here waits or looks at a clock. ``tests/batching`` tries it out in simulated time.
"""

from __future__ import annotations

from collections.abc import Callable

AT_FIRST = 0.005  # seconds that an answer is taken to need before the first has come

# The window: requests.
OPENING = 0.025  # what an answer opens it by: one more request is tried after forty
CALM = 60  # answers without a refusal, after which it opens twice as fast, and twice as fast again after each TEN more
TEN = 10
FASTEST = 8  # times as fast, at the most

# Rests after a refusal, in times of an answer.
REST = 0.5  # with one request fewer, when several are under way
REST_OF_THE_LAST = 1.5  # when that one is the only one

# The gap after an answer, in times of an answer.
SMALLEST_GAP = 0.06
LARGEST_GAP = 0.1
GAP_FACTOR = 2.0  # for each refusal; as many answers as follow take it back
GAP_ANSWERS = 20
DOUBT_ANSWERS = 10  # so many must lie between two refusals that only widen the gap

# The pause of a client that has nothing under way.
PAUSE_FACTOR = 1.6  # for each refusal; as many answers as follow take it back
PAUSE_ANSWERS = 200
LONGEST_PAUSE = 2.0  # seconds where answers are quick; else
MANY_ANSWERS, LONG = 100, 4.0  # so many times of an answer, up to so many seconds, or
FEW_ANSWERS = 15  # so many times of an answer: new room should be found in seconds, unless an answer takes as long
IMPATIENT = 200  # times of an answer, from which on pauses become shorter again
SHORT_PAUSE = 5  # times of an answer: so short they become


def _random() -> float:
    from random import random  # slow to import, and few servers refuse

    return random()


class CongestionWindow:
    """How many requests may be under way, at most ``most``, and from when on.

    Args:
        most: never more than so many.
        chance: draws from 0 to 1.

    Attributes:
        usual: seconds that an answer usually takes; None before the first.
    """

    def __init__(self, most: int, chance: Callable[[], float] = _random) -> None:
        self.usual: float | None = None
        self._most = most
        self._chance = chance
        self._window = float(most)
        self._held = 0  # so many were under way at once, and answered, since the window last opened or fell
        self._opened = float("-inf")  # when it last opened by a whole request
        self._closed_until = float("-inf")  # it opens no further before
        self._calm = 0  # answers since the last refusal
        self._rest_limit, self._rest_until = most, float("-inf")
        self._gap = 0.0
        self._doubted = -1  # answers since a refusal was last put down to a server that had not tidied up; -1: never
        self._pause = 0.0
        self._resume = float("-inf")  # nothing is sent before
        self._waiting: float | None = None  # since when nothing that was sent was taken

    @property
    def limit(self) -> int:
        """How many may be under way, one at the least."""
        return max(1, int(self._window))

    @property
    def ahead(self) -> int:
        """For how many requests rows should be at hand, so that none of them waits for its rows."""
        return self._most

    def earliest(self, under_way: int) -> float | None:
        """When one more may be sent while so many are under way; None: when one of them has ended."""
        if under_way >= self.limit:
            return None
        if under_way >= self._rest_limit:
            return max(self._resume, self._rest_until)
        return self._resume

    def answered(self, began: float, now: float, under_way: int) -> None:
        """A request that was sent at ``began`` has its answer; ``under_way`` others have none yet."""
        seconds = now - began
        self.usual = seconds if self.usual is None else 0.9 * self.usual + 0.1 * seconds
        self._calm += 1
        self._waiting = None
        self._doubted += self._doubted >= 0
        self._pause *= PAUSE_FACTOR ** (-1 / PAUSE_ANSWERS)
        if began >= self._opened:
            self._held = max(self._held, min(self.limit, under_way + 1))
        if self._window < self._most and now >= self._closed_until:
            self._open(now)
        if self._gap:
            self._leave_a_gap(now, under_way)

    def refused(self, began: float, now: float, under_way: int, seconds: float | None) -> None:
        """A request that was sent at ``began`` was refused while ``under_way`` others were not.

        ``seconds`` is what the server asks to wait; None when it does not say.
        """
        usual = self._seconds
        if under_way < self._held and not 0 <= self._doubted < DOUBT_ANSWERS:
            self._gap = min(LARGEST_GAP * usual, max(SMALLEST_GAP * usual, GAP_FACTOR * self._gap))
            if seconds is None:
                self._doubted = 0
                self._rest(under_way, now + self._gap * (1 + 0.5 * self._chance()))
                return
        if under_way:
            self._fall(under_way)
            rest = usual * (REST if under_way > 1 else REST_OF_THE_LAST)
            self._rest(under_way - 1, now + rest * self._jitter())
            self._closed_until = max(self._closed_until, now + (seconds or 0.0))
        else:
            self._fall(1)
            self._held = 0
            self._resume = max(self._resume, now + self._longer_pause(now), now + self._asked(seconds))
        self._calm = 0

    @property
    def _seconds(self) -> float:
        return AT_FIRST if self.usual is None else self.usual

    def _open(self, now: float) -> None:
        before = self.limit
        faster = 2 ** ((self._calm - CALM) // TEN + 1) if self._calm >= CALM else 1
        self._window = min(self._most, self._window + OPENING * min(FASTEST, faster))
        if self.limit > before:
            self._opened = now

    def _fall(self, requests: int) -> None:
        self._window = min(self._window, float(requests))
        self._held = min(self._held, requests)

    def _rest(self, limit: int, until: float) -> None:
        self._rest_limit, self._rest_until = limit, until

    def _leave_a_gap(self, now: float, under_way: int) -> None:
        self._gap *= GAP_FACTOR ** (-1 / GAP_ANSWERS)
        if self._gap < SMALLEST_GAP / 4 * self._seconds:
            self._gap = 0.0
        elif now >= self._rest_until:
            self._rest(under_way, now + self._gap)
        else:
            self._rest(min(under_way, self._rest_limit), max(self._rest_until, now + self._gap))

    def _longer_pause(self, now: float) -> float:
        """Seconds to pause after another refusal."""
        usual = self._seconds
        if self._waiting is None:
            self._waiting = now
        longest = max(LONGEST_PAUSE, min(LONG, MANY_ANSWERS * usual), FEW_ANSWERS * usual)
        self._pause = min(longest, PAUSE_FACTOR * max(self._pause, usual / 2))
        impatience = ((now - self._waiting) / (IMPATIENT * usual)) ** 2
        shortest = min(self._pause, SHORT_PAUSE * usual)
        return max(shortest, self._pause / (1 + impatience)) * self._jitter()

    def _asked(self, seconds: float | None) -> float:
        """Seconds that the server wants to be left alone, and a little more, or all would come back together."""
        return 0.0 if seconds is None else seconds + self._pause * self._chance()

    def _jitter(self) -> float:
        return 0.5 + self._chance()
