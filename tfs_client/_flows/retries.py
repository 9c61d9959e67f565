"""Retries: when a failed call is retried. The same flow for gRPC and REST.

The rules are those of https://github.com/grpc/proposal/blob/master/A6-client-retries.md. gRPC's own retries, which a
service config enables, use status codes only: they cannot distinguish a busy server from a request that is too large,
and report neither the attempts nor why the last one failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tfs_client._flows import forks
from tfs_client._flows.telemetry.retry_log import RetryLog
from tfs_client._transports.error_meanings import Meaning, meaning_of
from tfs_client._transports.reply import Reply
from tfs_client._transports.retry_hints import TRY_AGAIN, WAITS
from tfs_client._transports.steps import Flow, Send, Sleep
from tfs_client.errors import CallError, DeadlineExceededError, StatusCode, take_facts
from tfs_client.options import RetryPolicy

JITTER = 0.2  # how far a pause may deviate from its mean, as a fraction
LOOK = 0.25  # seconds between two attempts to reach a server, at most
MOST_BUDGETS = 64  # policies whose budgets are kept


class Budget:
    """Counts failed attempts against successes, and forbids retries while failures prevail."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._full = float(policy.budget)
        self._left = self._full
        self._refill = policy.refill
        self._lock = threading.Lock()

    def failed(self) -> bool:
        """Count a failed attempt. Returns whether another may follow."""
        with self._lock:
            self._left = max(0.0, self._left - 1)
            return self._left > self._full / 2

    def succeeded(self) -> None:
        """Count a successful attempt."""
        if self._left < self._full:
            with self._lock:
                self._left = min(self._full, self._left + self._refill)


class Retries:
    """The retries of the calls to one server: calls with equal policies share a budget.

    The budgets of the last 64 policies are kept, so that a program that makes a policy for every call does not fill the
    memory.

    Args:
        log: logs the attempts; None to log nothing.
    """

    def __init__(self, log: RetryLog | None = None) -> None:
        self._log = log
        self._start_afresh()
        forks.watch(self)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._budgets: dict[RetryPolicy, Budget] = {}  # the last used one at the end
        self._last: tuple[RetryPolicy, Budget] | None = None  # most clients have a single policy

    def _abandon(self) -> tuple[object, ...]:
        """In a forked process: start with new budgets and a new lock."""
        self._start_afresh()
        return ()

    def budget(self, policy: RetryPolicy) -> Budget:
        """The budget of the calls with this policy."""
        last = self._last
        if last is not None and last[0] is policy:  # hashing a policy takes longer than everything else here
            return last[1]
        with self._lock:
            budget = self._budgets.pop(policy, None) or Budget(policy)
            self._budgets[policy] = budget
            if len(self._budgets) > MOST_BUDGETS:
                del self._budgets[next(iter(self._budgets))]
        self._last = policy, budget
        return budget

    def sent(
        self,
        send: Send,
        policy: RetryPolicy | None,
        *,
        model: str = "",
        waits: bool | None = None,
        paced: bool = False,
        failed: CallError | None = None,
    ) -> Flow[Reply]:
        """Send, with retries if there is a policy; see ``attempts``."""
        if policy is None:
            flow = _once(send, failed)
        else:
            budget, log = self.budget(policy), self._log
            flow = attempts(send, policy, budget, waits=waits, paced=paced, failed=failed, log=log, model=model)
        return flow if self._log is None or not paced else _paced(flow, send, model, self._log)


def _once(send: Send, failed: CallError | None) -> Flow[Reply]:
    if failed is not None:
        try:
            raise failed
        finally:
            del failed  # otherwise it would live, with everything that it refers to, until the next garbage collection
    reply: Reply = yield send
    return reply


def _paced(flow: Flow[Reply], send: Send, model: str, log: RetryLog) -> Flow[Reply]:
    """Log the refusals of a busy server, which a batch deals with."""
    try:
        return (yield from flow)
    except CallError as error:
        if meaning_of(error) is Meaning.BUSY:
            log.refused(error, send, model)
        raise


def _random() -> float:
    from random import random  # slow to import, and few calls fail

    return random()


def pause(policy: RetryPolicy, failures: int, chance: Callable[[], float] = _random) -> float:
    """Seconds to wait before the next attempt. ``chance`` returns a random number from 0 to 1."""
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
    log: RetryLog | None = None,
    model: str = "",
) -> Flow[Reply]:
    """Send a request until there is a reply, or until another attempt is not permitted or not useful.

    A call that does not reach a server waits for one, if it may, without using up attempts. If a pause would end after
    the deadline, the call waits until the deadline and fails with DEADLINE_EXCEEDED; the error says why the last
    attempt failed.

    Args:
        waits: whether to wait for a server that cannot be reached; None leaves it to the policy.
        paced: whether the caller itself slows down and retries when the server is busy; such errors are raised here.
        failed: the error of the first attempt, if it was made already.
        log: logs the attempts; None to log nothing.
        model: the model that is called, for the log.
    """
    by_policy = waits is None and policy.wait_for_ready
    waits = policy.wait_for_ready if waits is None else waits
    sent = waited = 0
    cause = ""  # why the previous attempt did not reach a server
    hints: list[
        str
    ] = []  # latest first; gRPC reports one address of a host at a time, and each may fail for a different reason
    while True:
        try:
            if failed is not None:
                raise failed
            reply: Reply = yield send
        except CallError as error:
            failed = None  # otherwise it would live, with all that it refers to, until the next garbage collection
            error.hint = _without_advice(error.hint)
            if cause and error.unreached and error.code is StatusCode.DEADLINE_EXCEEDED:
                error.attempts = sent + 1
                raise _late(send, error, cause, hints, by_policy) from error  # the last attempt had hardly any time
            waiting = waits and error.unreached and error.code is StatusCode.UNAVAILABLE
            if waiting:
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
                yield Sleep(left, waiting)
                raise _late(send, error, _shown(error), hints, by_policy) from error
            if log is not None and waiting:
                log.waits(error, send, model, again=waited > 1, requested=not by_policy, pause=seconds)
            elif log is not None:
                log.retried(error, send, model, most=policy.attempts, pause=seconds)
            yield Sleep(seconds, waiting)
        else:
            budget.succeeded()
            reply.attempts = sent + 1
            return reply


def _worth_another(error: CallError, policy: RetryPolicy, paced: bool) -> bool:
    """Whether the same request may succeed later."""
    meaning = meaning_of(error)
    if meaning is Meaning.TOO_LARGE or (paced and meaning is Meaning.BUSY):
        return False
    return meaning in (Meaning.BUSY, Meaning.GONE) if policy.codes is None else error.code in policy.codes


def _without_advice(hint: str) -> str:
    """A transport's hint, which advises to retry, for a call that is retried."""
    return hint.replace(f"; {TRY_AGAIN}", "").replace(f" {TRY_AGAIN}.", "")


def _shown(error: CallError) -> str:
    return f"{error.code.name}: {error.details}"


def _late(send: Send, last: CallError, cause: str, hints: list[str], by_policy: bool) -> CallError:
    """The error of a call whose deadline passed before another attempt."""
    hint = "\n".join(hints[:2])
    if last.unreached:
        text = f"no server was reached within {send.deadline.limit:g} s; the last attempt: {cause}"
        if by_policy:
            hint = f"{hint} {WAITS}".strip()
    else:
        text = f"the deadline passed before another attempt; the last attempt: {cause}"
    late = DeadlineExceededError(text, last.method, hint=hint)
    take_facts(late, last)
    return late
