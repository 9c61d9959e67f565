"""Retries: when a failed call is tried again, and when it is left at that. The same flow for gRPC and REST.

The rules are those of https://github.com/grpc/proposal/blob/master/A6-client-retries.md. gRPC's own retries, set by a
service config, go by status codes alone: they cannot tell a server that is busy from a request that is too large, and
show neither the attempts nor why the last one failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tfs_client.errors import CallError, DeadlineExceededError, StatusCode
from tfs_client.options import RetryPolicy
from tfs_client.steps import Flow, Send, Sleep

JITTER = 0.2  # of a pause, up or down
WAITS = "Calls wait for an unreachable server; use RetryPolicy(wait_for_ready=False) to fail at once."
LOOK = 0.25  # seconds between two looks for a server that cannot be reached, at the most


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
        if self._left < self._full:
            with self._lock:
                self._left = min(self._full, self._left + self._refill)


class Retries:
    """The retries of one client, whose calls share a budget.

    Attributes:
        budget: None where nothing is tried again.
    """

    def __init__(self, policy: RetryPolicy | None) -> None:
        self._policy = policy
        self.budget = Budget(policy) if policy is not None else None

    def sent(
        self, send: Send, *, waits: bool | None = None, paced: bool = False, failed: CallError | None = None
    ) -> Flow[bytes]:
        """Send as often as the policy says; see ``attempts``."""
        if self._policy is None or self.budget is None:
            return _once(send, failed)
        return attempts(send, self._policy, self.budget, waits=waits, paced=paced, failed=failed)


def _once(send: Send, failed: CallError | None) -> Flow[bytes]:
    if failed is not None:
        try:
            raise failed
        finally:
            del failed  # else it would live, with all that it refers to, until the next garbage collection
    reply: bytes = yield send
    return reply


def _random() -> float:
    from random import random  # slow to import, and few calls fail

    return random()


def pause(policy: RetryPolicy, failures: int, chance: Callable[[], float] = _random) -> float:
    """Seconds before the next attempt, after so many failed ones; ``chance`` draws from 0 to 1."""
    backoff = policy.initial_backoff * policy.multiplier ** min(failures - 1, 64)
    return min(backoff, policy.max_backoff) * (1 - JITTER + 2 * JITTER * chance())


def attempts(
    send: Send,
    policy: RetryPolicy,
    budget: Budget,
    *,
    waits: bool | None = None,
    paced: bool = False,
    failed: CallError | None = None,
) -> Flow[bytes]:
    """Send until there is a reply, or until nothing speaks for another attempt.

    A call that found no server waits for one, if it may, and has used up no attempt. When a pause would last beyond the
    deadline, it is waited for until then, and the call fails as one whose time is over; its error says what the last
    attempt failed with.

    Args:
        waits: whether it waits for a server; None leaves it to the policy.
        paced: the caller slows down when the server is busy, and sends again on its own: that is not tried again here.
        failed: how the first attempt failed, where it was made already.
    """
    by_policy = waits is None and policy.wait_for_ready
    waits = policy.wait_for_ready if waits is None else waits
    sent = waited = 0
    cause = ""  # why the attempt before found no server
    hints: list[str] = []  # the latest first; gRPC names one address of a host, and each may fail for another reason
    while True:
        try:
            if failed is not None:
                raise failed
            reply: bytes = yield send
        except CallError as error:
            failed = None  # else it would live, with all that it refers to, until the next garbage collection
            if cause and error.unreached and error.code is StatusCode.DEADLINE_EXCEEDED:
                error.attempts = sent + 1
                raise _late(send, error, cause, hints, by_policy) from error  # the last look had hardly any time
            if waits and error.unreached and error.code is StatusCode.UNAVAILABLE:
                waited += 1
                error.attempts = sent + 1
                seconds = min(pause(policy, waited), LOOK)
            else:
                sent += 1
                error.attempts = sent
                if not _worth_another(error, policy, paced) or not budget.failed():
                    raise
                if error.final or sent >= policy.attempts:
                    raise
                seconds = pause(policy, sent)
            if error.unreached:
                cause, hints = _shown(error), [error.hint, *(hint for hint in hints if hint != error.hint)]
            else:
                cause, hints = "", [error.hint]
            if error.retry_after is not None:
                seconds = error.retry_after
            left = send.deadline.remaining()
            if left is not None and seconds >= left:
                yield Sleep(left)
                raise _late(send, error, _shown(error), hints, by_policy) from error
            yield Sleep(seconds)
        else:
            budget.succeeded()
            return reply


def _worth_another(error: CallError, policy: RetryPolicy, paced: bool) -> bool:
    """Whether the same request may succeed later."""
    from tfs_client.error_meanings import Meaning, meaning_of  # few calls fail

    meaning = meaning_of(error)
    if meaning is Meaning.TOO_LARGE or (paced and meaning is Meaning.BUSY):
        return False
    return meaning in (Meaning.BUSY, Meaning.GONE) if policy.codes is None else error.code in policy.codes


def _shown(error: CallError) -> str:
    return f"{error.code.name}: {error.details}"


def _late(send: Send, last: CallError, cause: str, hints: list[str], by_policy: bool) -> CallError:
    """The error of a call whose time was over before another attempt."""
    hint = "\n".join(hints[:2])
    if last.unreached:
        text = f"no server was reached within {send.deadline.limit:g} s; the last attempt: {cause}"
        if by_policy:
            hint = f"{hint} {WAITS}".strip()
    else:
        text = f"the deadline passed before another attempt; the last attempt: {cause}"
    late = DeadlineExceededError(text, last.method, hint=hint)
    late.unreached, late.retry_after, late.attempts = last.unreached, last.retry_after, last.attempts
    return late
