"""Retries: the attempts of one call, driven by hand."""

from __future__ import annotations

import contextlib
import gc
import weakref

import pytest
from retrying import BUSY, QUICK, TOO_LARGE

from tfs_client import RetryPolicy, StatusCode
from tfs_client._flows.retries import JITTER, LOOK, WAITS, Budget, Retries, attempts, pause
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.reply import Reply
from tfs_client._transports.steps import Send, Sleep
from tfs_client.errors import BY_CODE, CallError, DeadlineExceededError, call_error

POLICY = RetryPolicy(attempts=3, initial_backoff=1.0, multiplier=3.0, max_backoff=2.0)


def send(timeout: float | None = 1000.0, **options) -> Send:
    return Send("POST /v1/models/m:predict", b"{}", Deadline(timeout), **options)


def failed(
    code=StatusCode.UNAVAILABLE, details="details", *, unreached=False, retry_after=None, final=False
) -> CallError:
    error = call_error(code, details, "Predict", "a hint")
    error.unreached, error.retry_after, error.final = unreached, retry_after, final
    return error


def driven(step: Send, policy: RetryPolicy, *outcomes, budget: Budget | None = None, **options):
    """The pauses between the outcomes that the attempts have, and the last outcome."""
    flow = attempts(step, policy, budget or Budget(policy), **options)
    pauses = []
    answer = next(flow)
    for outcome in outcomes:
        assert answer is step
        try:
            answer = flow.throw(outcome) if isinstance(outcome, Exception) else flow.send(Reply(outcome))
            assert isinstance(answer, Sleep)
            pauses.append(answer.seconds)
            answer = flow.send(None)
        except StopIteration as end:
            reply = end.value
            assert reply.attempts == sum(not getattr(outcome, "unreached", False) for outcome in outcomes)
            return pauses, reply.body
        except CallError as error:
            return pauses, error
    raise AssertionError(f"another attempt after {outcomes}")


def test_a_reply_ends_the_attempts():
    assert driven(send(), POLICY, b"reply") == ([], b"reply")


def test_a_failed_attempt_is_followed_by_a_pause_and_another():
    pauses, reply = driven(send(), POLICY, failed(), failed(), b"reply")
    assert reply == b"reply"
    assert pauses == [pytest.approx(1.0, rel=JITTER), pytest.approx(2.0, rel=JITTER)]


def test_the_last_attempt_is_the_last():
    third = failed()
    assert driven(send(), POLICY, failed(), failed(), third)[1] is third
    assert third.attempts == 3
    assert str(third) == "Predict: UNAVAILABLE: details (after 3 attempts)\na hint"


BUSY_OR_GONE = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED)


@pytest.mark.parametrize("code", [code for code in BY_CODE if code not in BUSY_OR_GONE])
def test_codes_outside_the_policy_end_the_attempts(code):
    error = failed(code)
    assert driven(send(), POLICY, error) == ([], error)
    assert error.attempts == 1
    assert "attempts" not in str(error)


@pytest.mark.parametrize(("code", "details"), BUSY)
def test_a_busy_server_is_retried(code, details):
    assert driven(send(), POLICY, failed(code, details), failed(code, details), b"reply")[1] == b"reply"


@pytest.mark.parametrize("codes", [None, {StatusCode.RESOURCE_EXHAUSTED}])
@pytest.mark.parametrize(("code", "details"), TOO_LARGE)
def test_a_request_that_is_too_large_is_never_retried(code, details, codes):
    error = failed(code, details)
    assert driven(send(), RetryPolicy(codes=codes), error) == ([], error)


def test_only_the_named_codes_are_retried():
    policy = RetryPolicy(codes={StatusCode.ABORTED})
    assert driven(send(), policy, failed(StatusCode.ABORTED), b"reply")[1] == b"reply"
    for other in (failed(), *(failed(*busy) for busy in BUSY)):
        assert driven(send(), policy, other) == ([], other)


def test_a_batch_learns_at_once_that_the_server_is_busy_and_uses_no_budget():
    policy = RetryPolicy(budget=3)
    budget = Budget(policy)
    for busy in BUSY:
        error = failed(*busy)
        assert driven(send(), policy, error, paced=True, budget=budget) == ([], error)
    assert driven(send(), policy, failed(), b"reply", paced=True, budget=budget)[1] == b"reply"


def test_a_server_can_forbid_further_attempts():
    budget = Budget(RetryPolicy(budget=3))
    error = failed(final=True)
    assert driven(send(), POLICY, error, budget=budget) == ([], error)
    assert driven(send(), POLICY, failed(), budget=budget)[0] == []  # the first counted too


def test_the_first_attempt_may_have_been_made_already():
    flow = attempts(send(), POLICY, Budget(POLICY), failed=failed())
    assert isinstance(next(flow), Sleep)
    assert isinstance(flow.send(None), Send)
    last = failed(StatusCode.NOT_FOUND)
    with pytest.raises(CallError) as caught:
        flow.throw(last)
    assert caught.value is last
    assert last.attempts == 2
    refused = failed(StatusCode.NOT_FOUND)
    with pytest.raises(CallError) as caught:
        next(attempts(send(), POLICY, Budget(POLICY), failed=refused))
    assert caught.value is refused


def test_errors_are_freed_once_unreferenced():
    """Else they would keep their requests, of any size, until the next garbage collection."""
    gc.disable()
    try:
        for policy in (None, POLICY):
            flow = Retries().sent(send(), policy, failed=failed(StatusCode.NOT_FOUND))
            with contextlib.suppress(CallError):
                next(flow)
            flow = Retries().sent(send(), POLICY)
            next(flow)
            for code, unreached in ((14, True), (14, False), (5, False)):
                outcome = failed(code, unreached=unreached)
                there = weakref.ref(outcome)
                with contextlib.suppress(CallError):
                    flow.throw(outcome)
                    flow.send(None)
                del outcome
                assert there() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("advice", "hint"),
    [
        ("The server is busy; retry=RetryPolicy() tries such calls again.", "The server is busy."),
        ("Is it up? retry=RetryPolicy() tries such calls again. A proxy is used.", "Is it up? A proxy is used."),
        ("is this its gRPC port?", "is this its gRPC port?"),
    ],
)
def test_a_hint_does_not_advise_a_call_with_retries_to_retry(advice, hint):
    error = failed(StatusCode.NOT_FOUND)
    error.hint = advice
    driven(send(), POLICY, error)
    assert error.hint == hint


def test_the_server_sets_the_pause():
    pauses, _ = driven(send(), POLICY, failed(retry_after=7.5), failed(retry_after=0.0), b"reply")
    assert pauses == [7.5, 0.0]


@pytest.mark.parametrize("last", [failed(), failed(retry_after=60.0)])
def test_a_pause_beyond_the_deadline_ends_with_the_deadline(last):
    pauses, error = driven(send(timeout=0.5), POLICY, last)
    assert pauses == [pytest.approx(0.5, abs=0.1)]
    assert isinstance(error, DeadlineExceededError)
    assert "UNAVAILABLE: details" in error.details
    assert (error.hint, error.method, error.__cause__) == ("a hint", "Predict", last)
    assert (error.unreached, error.attempts, error.retry_after) == (False, 1, last.retry_after)


def test_a_call_that_timed_out_waiting_says_for_what():
    last = failed(unreached=True)
    pauses, error = driven(send(timeout=0.05), POLICY, last)
    assert pauses == [pytest.approx(0.05, abs=0.04)]
    assert isinstance(error, DeadlineExceededError)
    assert error.details == "no server was reached within 0.05 s; the last attempt: UNAVAILABLE: details"
    assert error.hint == f"a hint {WAITS}"
    assert (error.unreached, error.attempts, error.__cause__) == (True, 1, last)


def test_a_call_that_waits_for_other_reasons_than_the_policy_does_not_name_the_policy():
    _, error = driven(send(timeout=0.05), POLICY, failed(unreached=True), waits=True)
    assert (error.unreached, error.hint) == (True, "a hint")


def test_each_kind_of_unreachable_server_keeps_its_hint():
    """gRPC names one address of a host at a time: localhost may be refused as ::1, and distrusted as 127.0.0.1."""
    looks = [failed(unreached=True) for _ in range(4)]
    looks[1].hint = looks[3].hint = "another hint"
    looks[3].retry_after = 9000.0
    _, error = driven(send(timeout=1.5), RetryPolicy(initial_backoff=0.005), *looks)
    assert error.hint == f"another hint\na hint {WAITS}"


def test_a_last_attempt_without_time_left_does_not_hide_the_error_before():
    late = failed(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", unreached=True)
    _, error = driven(send(timeout=30), POLICY, failed(unreached=True), late)
    assert isinstance(error, DeadlineExceededError)
    assert "the last attempt: UNAVAILABLE: details" in error.details
    assert error.unreached


def test_a_slow_server_is_not_reported_as_unreachable():
    late = failed(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    _, error = driven(send(timeout=30), POLICY, failed(unreached=True), late)
    assert error is late
    assert (error.unreached, error.attempts) == (False, 1)


def test_a_server_that_disconnected_may_have_seen_the_call():
    _, error = driven(send(timeout=0.3), QUICK, failed(), failed(unreached=True, retry_after=9.0))
    assert (error.unreached, error.attempts) == (True, 2)


def test_waiting_for_a_server_uses_up_no_attempt():
    absent = [failed(unreached=True) for _ in range(20)]
    pauses, reply = driven(send(), POLICY, *absent, failed(), failed(), b"reply")
    assert reply == b"reply"
    assert len(pauses) == 22
    assert max(pauses[:20]) <= LOOK
    assert max(pauses) <= 2 * (1 + JITTER)


@pytest.mark.parametrize(
    ("waits", "call_waits", "number"), [(True, None, None), (True, False, 3), (False, None, 3), (False, True, None)]
)
def test_the_call_says_whether_to_wait_and_otherwise_the_policy(waits, call_waits, number):
    policy = RetryPolicy(attempts=3, wait_for_ready=waits)
    absent = [failed(unreached=True) for _ in range(number or 9)]
    _, end = driven(send(), policy, *absent, *([] if number else [b"reply"]), waits=call_waits)
    assert end is absent[-1] if number else end == b"reply"


def test_an_outage_uses_up_the_budget_and_success_refills_it():
    policy = RetryPolicy(attempts=5, budget=4, refill=0.5)
    budget = Budget(policy)
    assert len(driven(send(), policy, *[failed() for _ in range(2)], budget=budget)[0]) == 1
    for _ in range(3):
        assert driven(send(), policy, failed(), budget=budget)[0] == []
    for _ in range(8):
        driven(send(), policy, b"reply", budget=budget)
    assert driven(send(), policy, failed(), b"reply", budget=budget)[1] == b"reply"


def test_waiting_and_refusals_leave_the_budget_alone():
    policy = RetryPolicy(budget=2)
    budget = Budget(policy)
    driven(send(), policy, *[failed(unreached=True) for _ in range(9)], b"reply", budget=budget)
    driven(send(), policy, failed(StatusCode.NOT_FOUND), budget=budget)
    assert driven(send(), policy, failed(), budget=budget)[0] == []  # one of two is half of it
    assert len(driven(send(), RetryPolicy(budget=3), failed(), b"reply")[0]) == 1


def test_pauses_grow_up_to_their_limit_around_a_mean():
    policy = RetryPolicy(initial_backoff=0.1, multiplier=2.0, max_backoff=0.5)
    assert [pause(policy, failures, lambda: 0.5) for failures in range(1, 6)] == pytest.approx(
        [0.1, 0.2, 0.4, 0.5, 0.5]
    )
    assert pause(policy, 1, lambda: 0.0) == pytest.approx(0.08)
    assert pause(policy, 1, lambda: 1.0) == pytest.approx(0.12)
    assert pause(policy, 10_000, lambda: 0.5) == 0.5
