"""Pipeline: which rows are sent next, and what happens to those of failed requests."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import FULL

from tfs_client._flows.batching.concurrency_limit import FixedLimit
from tfs_client._flows.batching.pipeline import LONGEST_PATIENCE, PATIENCE, PATIENCE_ANSWERS, REGROW, Pipeline
from tfs_client.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

BAD_ROW = InvalidArgumentError("negative numbers are beyond me")
BUSY = UnavailableError(FULL)
MEMORY = ResourceExhaustedError("OOM when allocating tensor")


def too_large(rows, most):
    return InvalidArgumentError(f"Task size {rows} is larger than maximum input batch size {most}")


def busy_for(seconds):
    error = UnavailableError("come back later")
    error.retry_after = seconds
    return error


def pipeline_of(rows, batch_size=4, in_flight=1, *, isolate=True):
    pipeline = Pipeline(FixedLimit(in_flight), batch_size, isolate=isolate)
    pipeline.add(rows)
    return pipeline


def sent_at(pipeline, now):
    """All jobs that may be sent at a time."""
    jobs = []
    while (job := pipeline.next(now)) is not None:
        jobs.append(job)
    return jobs


def drained(pipeline, outcome, now=0.0):
    """The answered and the failed rows, if ``outcome(rows)`` is the error of each request, or None for an answer."""
    good, bad = [], []
    while (job := pipeline.next(now)) is not None:
        error = outcome(list(job.rows))
        if error is None:
            pipeline.answered(job, now)
            good.append(list(job.rows))
        elif pipeline.failed(job, error, now):
            bad.append(list(job.rows))
    assert pipeline.idle
    return good, bad


@given(st.integers(1, 50), st.integers(1, 12))
def test_rows_are_sent_in_order_in_full_requests(rows, batch_size):
    good, _ = drained(pipeline_of(range(rows), batch_size), lambda _: None)
    assert list(chain(*good)) == list(range(rows))
    assert {len(part) for part in good[:-1]} <= {batch_size}


@given(st.integers(1, 40), st.integers(1, 16), st.sets(st.integers(0, 39)))
def test_bad_rows_fail_alone_wherever_they_are(rows, batch_size, bad_ones):
    outcome = lambda sent: BAD_ROW if bad_ones & set(sent) else None  # noqa: E731
    good, bad = drained(pipeline_of(range(rows), batch_size), outcome)
    assert bad == [[row] for row in sorted(bad_ones) if row < rows]
    assert sorted(chain(*good)) == [row for row in range(rows) if row not in bad_ones]


@given(st.integers(1, 40), st.integers(1, 16), st.integers(1, 16))
def test_the_servers_limit_is_learned_from_one_refusal(rows, batch_size, most):
    refusals = []

    def outcome(sent):
        if len(sent) > most:
            refusals.append(sent)
            return too_large(len(sent), most)
        return None

    pipeline = pipeline_of(range(rows), batch_size, isolate=False)
    good, bad = drained(pipeline, outcome)
    assert list(chain(*good)) == list(range(rows))
    assert not bad
    assert len(refusals) <= 1
    assert pipeline.batch_size <= max(most, batch_size if not refusals else 0)


def test_an_impossible_limit_is_an_error():
    for most in (4, 7):
        pipeline = pipeline_of(range(4))
        assert pipeline.failed(pipeline.next(0.0), too_large(4, most), 0.0)


def test_rows_that_take_too_much_memory_are_sent_in_halves():
    good, bad = drained(pipeline_of(range(8), 8), lambda sent: MEMORY if len(sent) > 2 else None)
    assert good == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert not bad


def test_a_shortage_of_memory_is_temporary():
    pipeline = pipeline_of(range(8), 8)
    drained(pipeline, lambda sent: MEMORY if len(sent) > 2 else None)
    pipeline.add(range((2 + 4 + 8) * REGROW))
    good, _ = drained(pipeline, lambda _: None)
    assert len(good[-1]) == 8


def test_a_limit_stated_by_the_server_is_permanent():
    pipeline = pipeline_of(range(8), 8)
    drained(pipeline, lambda sent: too_large(len(sent), 2) if len(sent) > 2 else None)
    pipeline.add(range(4 * REGROW))
    good, bad = drained(pipeline, lambda sent: BAD_ROW if len(sent) > 2 else None)
    assert not bad
    assert {len(part) for part in good} == {2}


def test_requests_in_flight_stay_within_the_limit():
    pipeline = pipeline_of(range(40), 4, in_flight=3)
    jobs = [pipeline.next(0.0) for _ in range(4)]
    assert [job is None for job in jobs] == [False, False, False, True]
    assert pipeline.wait(0.0) is None
    pipeline.answered(jobs[1], 1.0)
    assert pipeline.next(1.0).rows == range(12, 16)


def test_a_refused_request_is_sent_again_after_a_pause():
    pipeline = pipeline_of(range(4))
    assert not pipeline.failed(pipeline.next(0.0), BUSY, 1.0)
    pause = pipeline.wait(1.0)
    assert 0.0 < pause < 0.1
    assert pipeline.next(1.0) is None
    assert pipeline.next(1.0 + pause).rows == range(4)


def test_refusals_do_not_change_the_size_of_requests():
    pipeline = pipeline_of(range(80), 4, in_flight=3)
    now, sizes = 0.0, set()
    while not pipeline.idle:
        now += pipeline.wait(now) or 0.0
        first, *others = sent_at(pipeline, now)
        sizes.update(len(job.rows) for job in (first, *others))
        pipeline.answered(first, now + 0.01)
        for job in others:
            assert not pipeline.failed(job, BUSY, now + 0.01)
        now += 0.01
    assert sizes == {4}


def test_nothing_is_sent_before_the_time_the_server_asks_for():
    pipeline = pipeline_of(range(4))
    assert not pipeline.failed(pipeline.next(0.0), busy_for(2.5), 1.0)
    assert 2.5 <= pipeline.wait(1.0) < 2.6
    assert pipeline.next(3.4) is None
    assert pipeline.next(3.6) is not None


def test_answered_requests_are_replaced_although_the_server_asks_to_wait():
    pipeline = pipeline_of(range(16), 4, in_flight=3)
    first, second, third = (pipeline.next(0.0) for _ in range(3))
    assert not pipeline.failed(third, busy_for(60.0), 0.001)
    pipeline.answered(first, 0.01)
    pipeline.answered(second, 0.01)
    again, another = pipeline.next(0.1), pipeline.next(0.1)
    assert again.rows == third.rows
    assert another.rows == range(12, 16)


def test_a_server_that_asks_to_wait_for_an_hour_fails_the_rows():
    pipeline = pipeline_of(range(4))
    assert pipeline.failed(pipeline.next(0.0), busy_for(3600.0), 1.0)


def refused_until_it_gives_up(pipeline, now=0.0):
    while True:
        now += pipeline.wait(now) or 0.0
        if pipeline.failed(pipeline.next(now), BUSY, now):
            return now


def test_retrying_a_server_that_answers_nothing_ends():
    assert PATIENCE - 2 <= refused_until_it_gives_up(pipeline_of(range(4))) <= PATIENCE


def test_an_error_after_patience_says_how_long_the_server_was_busy():
    pipeline, now = pipeline_of(range(4)), 0.0
    error = UnavailableError(FULL)
    while not pipeline.failed(pipeline.next(now), error, now):
        now += pipeline.wait(now)
    assert error.hint == f"The server was busy and answered no request for {now:.0f} s."


def test_patience_grows_with_the_time_of_a_reply():
    pipeline, now = pipeline_of(range(8)), 0.1
    pipeline.answered(pipeline.next(0.0), now)
    assert refused_until_it_gives_up(pipeline, now) == pytest.approx(PATIENCE_ANSWERS * 0.1, rel=0.2)
    pipeline, now = pipeline_of(range(8)), 5.0
    pipeline.answered(pipeline.next(0.0), now)
    assert refused_until_it_gives_up(pipeline, now) <= LONGEST_PATIENCE + 5.0


def test_patience_lasts_as_long_as_a_busy_server_answers_others():
    pipeline = pipeline_of(range(8), 4, in_flight=2)
    first, second = pipeline.next(0.0), pipeline.next(0.0)
    assert not pipeline.failed(first, BUSY, 0.1)
    pipeline.answered(second, PATIENCE)
    assert not pipeline.failed(pipeline.next(PATIENCE + 1), BUSY, PATIENCE + 2)
    assert refused_until_it_gives_up(pipeline, PATIENCE + 2) >= 2 * PATIENCE - 2


def test_earlier_refusals_count_as_attempts_of_the_error():
    pipeline = pipeline_of(range(2), isolate=False)
    errors = [UnavailableError(FULL), UnavailableError(FULL), InvalidArgumentError("no")]
    for now, error in enumerate(errors):
        permanent = pipeline.failed(pipeline.next(now), error, now)
    assert permanent
    assert [error.attempts for error in errors] == [1, 2, 3]


def test_parts_of_a_refused_request_count_its_refusals():
    pipeline = pipeline_of(range(4))
    for now, error in enumerate([UnavailableError(FULL), too_large(4, 2)]):
        pipeline.failed(pipeline.next(now), error, now)
    assert [(len(job.rows), job.attempts) for job in pipeline._waiting] == [(2, 1), (2, 1)]


def test_the_job_refused_first_is_sent_first():
    pipeline = pipeline_of(range(16), 4, in_flight=3)
    jobs = [pipeline.next(0.0) for _ in range(3)]
    for at, job in enumerate(jobs):
        pipeline.failed(job, BUSY, 1.0 + at)
    now, order = 10.0, []
    while (job := pipeline.next(now)) is not None:
        order.append(job.rows.start)
        pipeline.answered(job, now)
    assert order == [0, 4, 8, 12]


def test_an_error_that_no_row_causes_fails_the_request_at_once():
    pipeline = pipeline_of(range(4))
    assert pipeline.failed(pipeline.next(0.0), DeadlineExceededError("late"), 1.0)
    assert pipeline.idle


def test_without_isolate_a_bad_row_fails_its_request():
    pipeline = pipeline_of(range(4), isolate=False)
    assert pipeline.failed(pipeline.next(0.0), BAD_ROW, 1.0)


def test_rows_that_wait_can_be_withdrawn():
    pipeline = pipeline_of(range(12), 4, in_flight=2)
    first, second = pipeline.next(0.0), pipeline.next(0.0)
    pipeline.failed(second, BUSY, 1.0)
    assert pipeline.withdraw() == [range(4, 8), range(8, 12)]
    pipeline.answered(first, 2.0)
    assert pipeline.idle
