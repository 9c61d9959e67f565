"""Congestion window: how many requests a server accepts at once, learned from those that it refuses.

What must hold: refusals stay below a tenth of the answers, because a server that is over its limit refuses at once and
refusing costs it time too; and yet no capacity stays unused, however many clients share the server without knowing of
each other. All rules scale with the time that an answer usually takes:

- **Fall.** A refusal while ``n`` others are under way shows that the server accepts ``n``. The window falls to ``n``,
  and for a moment one fewer is sent, so that other clients get a turn.
- **Open.** Each answer opens the window a little, until one more request is tried. After a long time without a refusal
  it opens faster, so that new capacity is found soon.
- **Gap.** A request that takes the place of an answered one is refused for one of two reasons: another client was
  faster, or the server had not yet released the place. It is sent again after a gap, and such a gap is then left after
  every answer for a while.
- **Pause.** A refusal while nothing is under way says nothing about the limit. The client pauses for a random time,
  whose mean grows with every refusal and shrinks by much less with every answer. So a client that finds the server full
  again and again asks rarely, and many such clients together ask hardly more often than one. A client whose request is
  accepted keeps its place until it is refused, so that all get their turn; one that has waited for a long time asks
  more often.
- **Retry-After.** Until the time that a server asks to wait has passed, the window opens no further; with nothing under
  way, nothing is sent.

Every pause is random, or else clients that were refused together would return together.
Times are passed in; nothing here waits or reads a clock. ``tests/batching`` runs it in simulated time.
"""

from __future__ import annotations

from collections.abc import Callable

AT_FIRST = 0.005  # seconds that an answer is assumed to take before the first has arrived

# The window: requests.
OPENING = 0.025  # by how much an answer opens it: one more request is tried after forty
CALM = 60  # answers without a refusal after which it opens twice as fast; each CALM_STEP more doubles that again
CALM_STEP = 10
FASTEST = 8  # times as fast, at the most

# Rests after a refusal, in times of an answer.
REST = 0.5  # with one request fewer, when several are under way
REST_OF_THE_LAST = 1.5  # when that one is the only one

# The gap after an answer, in times of an answer.
SMALLEST_GAP = 0.06
LARGEST_GAP = 0.1
GAP_FACTOR = 2.0  # by which a refusal widens the gap; GAP_ANSWERS answers undo it
GAP_ANSWERS = 20
DOUBT_ANSWERS = 10  # minimum answers between two refusals that only widen the gap

# The pause of a client that has nothing under way.
PAUSE_FACTOR = 1.6  # by which a refusal lengthens the pause; PAUSE_ANSWERS answers undo it
PAUSE_ANSWERS = 200
# The longest pause is the largest of these three, so that new capacity is found within seconds unless an answer takes
# that long itself.
LONGEST_PAUSE = 2.0  # seconds
MANY_ANSWERS, LONG = 100, 4.0  # times of an answer, up to so many seconds
FEW_ANSWERS = 15  # times of an answer
IMPATIENT = 200  # times of an answer after which pauses become shorter again
SHORT_PAUSE = 5  # times of an answer: how short they become


def draw() -> float:
    from random import random  # imported late: it is slow, and few servers refuse

    return random()


class CongestionWindow:
    """How many requests may be under way, and when the next may be sent.

    Args:
        most: the largest number of requests.
        chance: draws a random number from 0 to 1.

    Attributes:
        usual: seconds that an answer usually takes; None before the first.
    """

    def __init__(self, most: int, chance: Callable[[], float] = draw) -> None:
        self.usual: float | None = None
        self._most = most
        self._chance = chance
        self._window = float(most)
        self._held = 0  # how many were under way at once, and answered, since the window last opened or fell
        self._opened = float("-inf")  # when it last opened by a whole request
        self._closed_until = float("-inf")  # before that it opens no further
        self._calm = 0  # answers since the last refusal
        self._rest_limit, self._rest_until = most, float("-inf")
        self._gap = 0.0
        self._doubted = -1  # answers since a refusal was last blamed on a place not yet released; -1: never
        self._pause = 0.0
        self._resume = float("-inf")  # before that nothing is sent
        self._waiting: float | None = None  # since when every request has been refused

    @property
    def limit(self) -> int:
        """How many requests may be under way now, at least one."""
        return max(1, int(self._window))

    @property
    def ahead(self) -> int:
        """For how many requests rows should be ready, so that none of them waits for its rows."""
        return self._most

    def earliest(self, under_way: int) -> float | None:
        """When another request may be sent with ``under_way`` in flight; None: not before one of them has ended."""
        if under_way >= self.limit:
            return None
        if under_way >= self._rest_limit:
            return max(self._resume, self._rest_until)
        return self._resume

    def answered(self, began: float, now: float, under_way: int) -> None:
        """Record the answer to a request that was sent at ``began``; ``under_way`` others have none yet."""
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
        """Record that a request that was sent at ``began`` was refused while ``under_way`` others were not.

        ``seconds`` is how long the server asks to wait; None if it does not say.
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
        faster = 2 ** ((self._calm - CALM) // CALM_STEP + 1) if self._calm >= CALM else 1
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
        """The pause after another refusal, in seconds."""
        usual = self._seconds
        if self._waiting is None:
            self._waiting = now
        longest = max(LONGEST_PAUSE, min(LONG, MANY_ANSWERS * usual), FEW_ANSWERS * usual)
        self._pause = min(longest, PAUSE_FACTOR * max(self._pause, usual / 2))
        impatience = ((now - self._waiting) / (IMPATIENT * usual)) ** 2
        shortest = min(self._pause, SHORT_PAUSE * usual)
        return max(shortest, self._pause / (1 + impatience)) * self._jitter()

    def _asked(self, seconds: float | None) -> float:
        """The wait that the server asks for, in seconds, and a little more, so that clients do not return together."""
        return 0.0 if seconds is None else seconds + self._pause * self._chance()

    def _jitter(self) -> float:
        return 0.5 + self._chance()
