"""Retries over REST, by the policy that gRPC follows on its own: when to try again, and when to leave it.

The rules are those of https://github.com/grpc/proposal/blob/master/A6-client-retries.md
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tfs_client.errors import CallError, DeadlineExceededError
from tfs_client.options import RetryPolicy
from tfs_client.steps import Flow, Send, Sleep

JITTER = 0.2  # of a pause, up or down


class Budget:
    """Counts failed attempts against successes; what is left of it decides whether anything is tried again."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._full = float(policy.budget)
        self._left = self._full
        self._refill = policy.refill
        self._lock = threading.Lock()

    def failed(self) -> bool:
        """An attempt failed; whether another may follow."""
        with self._lock:
            self._left = max(0.0, self._left - 1)
            return self._left > self._full / 2

    def succeeded(self) -> None:
        """An attempt succeeded."""
        with self._lock:
            self._left = min(self._full, self._left + self._refill)


def _random() -> float:
    from random import random  # slow to import, and few calls fail

    return random()


def pause(policy: RetryPolicy, failures: int, chance: Callable[[], float] = _random) -> float:
    """Seconds before the next attempt, after so many failed ones; ``chance`` draws from 0 to 1."""
    backoff = policy.initial_backoff * policy.multiplier ** min(failures - 1, 64)
    return min(backoff, policy.max_backoff) * (1 - JITTER + 2 * JITTER * chance())


def attempts(send: Send, policy: RetryPolicy, budget: Budget) -> Flow[bytes]:
    """Send until there is a reply, or until nothing speaks for another attempt.

    A call that found no server waits for one, if the policy says so, and has used up no attempt. When the pause would
    last beyond the deadline, it is waited for, and the call fails as one whose time is over, as gRPC's do.
    """
    sent = waited = 0
    while True:
        try:
            reply: bytes = yield send
        except CallError as error:
            waits = error.unreached and (policy.wait_for_ready if send.wait_for_ready is None else send.wait_for_ready)
            if waits:
                waited += 1
            else:
                sent += 1
                if error.code not in policy.codes or not budget.failed() or sent >= policy.attempts:
                    raise
            seconds = pause(policy, waited if waits else sent) if error.retry_after is None else error.retry_after
            left = send.deadline.remaining()
            if left is not None and seconds >= left:
                yield Sleep(left)
                raise DeadlineExceededError(
                    f"the time was over before another attempt; the last one: {error.code.name}: {error.details}",
                    error.method,
                    hint=error.hint,
                ) from error
            yield Sleep(seconds)
        else:
            budget.succeeded()
            return reply
