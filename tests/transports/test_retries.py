"""Retries: the steps of one call driven by hand, then real servers that refuse, die and come back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import re
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from calling import STYLES, calling
from replica import replicas
from scripted import MODEL, Refusal, serving, target_of
from tcp import full, nobody

from tfs_client import (
    AsyncMicroBatcher,
    AsyncPredictClient,
    ClosedError,
    DecodeError,
    MicroBatcher,
    NotFoundError,
    RetryPolicy,
    SignatureError,
    StatusCode,
    TensorSpec,
    UnavailableError,
)
from tfs_client.errors import BY_CODE, CallError, DeadlineExceededError, call_error
from tfs_client.options import Deadline
from tfs_client.retries import JITTER, LOOK, WAITS, Budget, Retries, attempts, pause
from tfs_client.server import ServerConfig
from tfs_client.steps import Send, Sleep
from tfs_client.testing import FakeServer

X = {"x": [1.0]}
QUICK = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)
PATIENT = RetryPolicy(initial_backoff=60, max_backoff=60)

# --- one call, step by step --------------------------------------------------------------------------------------

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
            answer = flow.throw(outcome) if isinstance(outcome, Exception) else flow.send(outcome)
            assert isinstance(answer, Sleep)
            pauses.append(answer.seconds)
            answer = flow.send(None)
        except StopIteration as end:
            return pauses, end.value
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


BUSY = [
    (StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"),
    (StatusCode.RESOURCE_EXHAUSTED, ""),
    (StatusCode.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full"),
]
TOO_LARGE = [
    (StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (10 vs. 4)"),
    (StatusCode.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (10 vs. 4)"),
    (StatusCode.RESOURCE_EXHAUSTED, "OOM when allocating tensor with shape[9,9] and type float"),
]


@pytest.mark.parametrize(("code", "details"), BUSY)
def test_a_busy_server_is_tried_again(code, details):
    assert driven(send(), POLICY, failed(code, details), failed(code, details), b"reply")[1] == b"reply"


@pytest.mark.parametrize("codes", [None, {StatusCode.RESOURCE_EXHAUSTED}])
@pytest.mark.parametrize(("code", "details"), TOO_LARGE)
def test_a_request_that_is_too_large_is_never_tried_again(code, details, codes):
    error = failed(code, details)
    assert driven(send(), RetryPolicy(codes=codes), error) == ([], error)


def test_codes_that_are_named_are_tried_again_and_no_others():
    policy = RetryPolicy(codes={StatusCode.ABORTED})
    assert driven(send(), policy, failed(StatusCode.ABORTED), b"reply")[1] == b"reply"
    for other in (failed(), *(failed(*busy) for busy in BUSY)):
        assert driven(send(), policy, other) == ([], other)


def test_a_batch_sees_that_the_server_is_busy_at_once_and_pays_nothing_for_it():
    policy = RetryPolicy(budget=3)
    budget = Budget(policy)
    for busy in BUSY:
        error = failed(*busy)
        assert driven(send(), policy, error, paced=True, budget=budget) == ([], error)
    assert driven(send(), policy, failed(), b"reply", paced=True, budget=budget)[1] == b"reply"


def test_a_server_may_want_no_further_attempt():
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


def test_errors_are_freed_as_soon_as_nobody_holds_them():
    """Else they would keep their requests, of any size, until the next garbage collection."""
    gc.disable()
    try:
        for policy in (None, POLICY):
            flow = Retries(policy).sent(send(), failed=failed(StatusCode.NOT_FOUND))
            with contextlib.suppress(CallError):
                next(flow)
            flow = Retries(POLICY).sent(send())
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


def test_a_call_that_waited_in_vain_says_for_what():
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


def test_each_reason_for_finding_no_server_keeps_its_hint():
    """gRPC names one address of a host at a time: localhost may be refused as ::1, and distrusted as 127.0.0.1."""
    looks = [failed(unreached=True) for _ in range(4)]
    looks[1].hint = looks[3].hint = "another hint"
    looks[3].retry_after = 9000.0
    _, error = driven(send(timeout=1.5), RetryPolicy(initial_backoff=0.005), *looks)
    assert error.hint == f"another hint\na hint {WAITS}"


def test_a_look_that_had_no_time_left_does_not_hide_what_earlier_ones_saw():
    late = failed(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", unreached=True)
    _, error = driven(send(timeout=30), POLICY, failed(unreached=True), late)
    assert isinstance(error, DeadlineExceededError)
    assert "the last attempt: UNAVAILABLE: details" in error.details
    assert error.unreached


def test_a_server_that_was_found_and_is_slow_is_not_said_to_be_away():
    late = failed(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    _, error = driven(send(timeout=30), POLICY, failed(unreached=True), late)
    assert error is late
    assert (error.unreached, error.attempts) == (False, 1)


def test_a_server_that_broke_and_is_away_has_perhaps_seen_the_call():
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


# --- servers that refuse -----------------------------------------------------------------------------------------


def failing(
    times: int,
    code: StatusCode = StatusCode.UNAVAILABLE,
    pause: float | None = None,
    details: str = "as the script says",
):
    """A script that refuses the first calls."""

    def script(call):
        if call.number <= times:
            raise Refusal(code, details, pause=pause)

    return script


@contextlib.contextmanager
def client_of(style, server, retry=QUICK, **options):
    with calling(
        style, target_of(style, server.port), model=MODEL, **{"timeout": 20, **options}, retry=retry
    ) as client:
        yield client


@pytest.fixture(params=[style for style in STYLES if style != "rest-futures"])
def style(request):
    return request.param


def test_a_call_is_tried_until_it_succeeds(style):
    with serving(style, failing(4)) as server, client_of(style, server) as client:
        assert client.predict(X).array.tolist() == [2]
        assert len(server.calls) == 5


def test_a_call_is_tried_as_often_as_the_policy_says(style):
    policy = RetryPolicy(attempts=3, initial_backoff=0.01)
    with serving(style, failing(99)) as server, client_of(style, server, policy) as client:
        with pytest.raises(UnavailableError, match="as the script says") as caught:
            client.predict(X)
        assert len(server.calls) == 3
    assert not caught.value.unreached


def test_without_a_policy_a_call_is_tried_once(style):
    with serving(style, failing(1)) as server, client_of(style, server, None) as client:
        with pytest.raises(UnavailableError):
            client.predict(X)
        assert len(server.calls) == 1


@pytest.mark.parametrize(
    "code",
    [StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.INTERNAL, StatusCode.DEADLINE_EXCEEDED],
    ids=lambda code: code.name,
)
def test_other_codes_are_not_tried_again(style, code):
    with serving(style, failing(1, code)) as server, client_of(style, server) as client:
        with pytest.raises(BY_CODE[code]):
            client.predict(X)
        assert len(server.calls) == 1


def test_the_policy_names_the_codes(style):
    policy = RetryPolicy(initial_backoff=0.01, codes={StatusCode.RESOURCE_EXHAUSTED})
    with (
        serving(style, failing(2, StatusCode.RESOURCE_EXHAUSTED)) as server,
        client_of(style, server, policy) as client,
    ):
        assert client.predict(X).array.tolist() == [2]
        assert len(server.calls) == 3


def test_one_deadline_covers_all_attempts_and_the_pauses_between(style):
    policy = RetryPolicy(initial_backoff=20, max_backoff=20)
    with serving(style, failing(99)) as server, client_of(style, server, policy, timeout=0.15) as client:
        started = time.monotonic()
        with pytest.raises((DeadlineExceededError, UnavailableError)):
            client.predict(X)
        assert time.monotonic() - started < 10
        assert len(server.calls) < 5


@pytest.mark.parametrize(("style", "seconds"), [("grpc", 0.2), ("grpc-futures", 0.2), ("grpc-aio", 0.2), ("rest", 1)])
def test_the_server_sets_the_pause_before_the_next_attempt(style, seconds):
    with serving(style, failing(1, pause=seconds)) as server, client_of(style, server) as client:
        started = time.monotonic()
        assert client.predict(X).array.tolist() == [2]
        assert time.monotonic() - started > 0.9 * seconds
        assert len(server.calls) == 2


@pytest.mark.parametrize("style", ["grpc", "grpc-futures", "grpc-aio"])
def test_a_server_may_forbid_another_attempt(style):
    with serving(style, failing(1, pause=-1)) as server, client_of(style, server) as client:
        with pytest.raises(UnavailableError) as caught:
            client.predict(X)
        assert len(server.calls) == 1
    assert caught.value.final
    assert caught.value.retry_after is None


@pytest.mark.parametrize(("code", "details"), BUSY)
def test_a_busy_server_gets_the_same_request_later(style, code, details):
    with serving(style, failing(3, code, details=details)) as server, client_of(style, server) as client:
        assert client.predict(X).array.tolist() == [2]
        assert len(server.calls) == 4


@pytest.mark.parametrize(("code", "details"), TOO_LARGE[::2])
def test_what_is_too_large_is_sent_once(style, code, details):
    with serving(style, failing(1, code, details=details)) as server, client_of(style, server) as client:
        with pytest.raises(BY_CODE[code]):
            client.predict(X)
        assert len(server.calls) == 1


def test_other_methods_are_tried_again_too(style):
    """Over gRPC only Predict follows the script, so here it is a server that comes later."""
    with nobody() as port:
        clients = calling(style, target_of(style, port), model=MODEL, timeout=30, retry=QUICK)
        client = clients.__enter__()
        answers = []

        def look():
            with contextlib.suppress(NotFoundError):  # the server is there, and the model comes a moment later
                client.status()
            answers.append("answered")

        waiting = threading.Thread(target=look)
        waiting.start()
    try:
        vector = TensorSpec("float32", (None,))
        config = ServerConfig(rest_port=port) if style.startswith("rest") else ServerConfig(port=port)
        with FakeServer(config) as server:
            server.add_model(MODEL, lambda x: x, inputs={"x": vector}, outputs={"y": vector})
            waiting.join(30)
            assert answers == ["answered"]
    finally:
        clients.__exit__(None, None, None)


def test_an_error_says_how_often_the_call_was_sent(style):
    policy = RetryPolicy(attempts=3, initial_backoff=0.01)
    with serving(style, failing(99)) as server, client_of(style, server, policy) as client:
        with pytest.raises(UnavailableError, match=r"as the script says \(after 3 attempts\)") as caught:
            client.predict(X)
        assert (caught.value.attempts, caught.value.details) == (3, "as the script says")
        assert len(server.calls) == 3


def test_nothing_is_sent_after_the_deadline(style):
    policy = RetryPolicy(initial_backoff=0.3, max_backoff=0.3)
    with (
        serving(style, failing(99, StatusCode.RESOURCE_EXHAUSTED)) as server,
        client_of(style, server, policy, timeout=0.5) as client,
    ):
        with pytest.raises(DeadlineExceededError) as caught:
            client.predict(X)
        sent = len(server.calls)
        time.sleep(0.4)
        assert len(server.calls) == sent
    assert "RESOURCE_EXHAUSTED: as the script says" in caught.value.details
    assert not caught.value.unreached


def test_every_attempt_sends_what_the_call_was_given(style):
    """The memory of large requests is kept for others; not while an attempt may follow."""
    seen: dict[str, list[bytes]] = {}
    lock = threading.Lock()

    def script(call):
        with lock:
            bodies = seen.setdefault(call.metadata["x-call"], [])
            bodies.append(hashlib.sha256(call.body).digest())
            if len(bodies) < 3:
                raise Refusal(StatusCode.UNAVAILABLE)

    def call(number):
        rows = np.full(60_000, number + 0.5, np.float32)
        return client.predict({"x": rows}, metadata={"x-call": str(number)}).array.tolist()

    with (
        serving(style, script) as server,
        client_of(style, server, RetryPolicy(initial_backoff=0.005, max_backoff=0.02, budget=1000)) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        assert list(pool.map(call, range(48))) == [[2]] * 48
    assert {len(bodies) for bodies in seen.values()} == {3}
    assert [len(set(bodies)) for bodies in seen.values()] == [1] * 48
    assert len({bodies[0] for bodies in seen.values()}) == 48


QUEUE_FULL = BUSY[2]


def batched(client):
    return client.predict_batched({"x": np.ones(8, np.float32)}, batch_size=4, in_flight=1)


def many(client):
    return list(client.predict_many([{"x": np.float32(1)}] * 8, batch_size=4, in_flight=1))


def micro(client):
    with MicroBatcher(client, max_batch_size=1, in_flight=1) as batcher:
        return batcher.predict({"x": np.float32(1)})


@pytest.mark.parametrize("call", [batched, many, micro])
@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_batches_deal_with_a_busy_server_themselves(call, way):
    """By their own pace, and not by pauses of a minute."""

    def script(call):
        if call.number <= 2:
            raise Refusal(*QUEUE_FULL)

    started = time.monotonic()
    with serving(way, script) as server, client_of(way, server, PATIENT, timeout=50) as client:
        with contextlib.suppress(SignatureError, DecodeError):  # the answer to four rows has one
            call(client)
        assert len(server.calls) >= 3
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("style", ["grpc-aio", "rest-aio"])
def test_batches_of_asyncio_deal_with_a_busy_server_themselves(style):
    async def run(port):
        async with AsyncPredictClient(target_of(style, port), model=MODEL, retry=PATIENT, timeout=50) as client:
            with contextlib.suppress(SignatureError, DecodeError):
                await client.predict_batched({"x": np.ones(8, np.float32)}, batch_size=4, in_flight=1)
            async with AsyncMicroBatcher(client, max_batch_size=1) as batcher:
                await batcher.predict({"x": np.float32(1)})

    def script(call):
        if call.number <= 2:
            raise Refusal(*QUEUE_FULL)

    started = time.monotonic()
    with serving(style, script) as server:
        asyncio.run(run(server.port))
        assert len(server.calls) >= 3
    assert time.monotonic() - started < 30


# --- ends in the middle of a pause ---------------------------------------------------------------------------------


@contextlib.contextmanager
def pausing(style):
    """A client, and what came of its call, which is in a pause of a minute."""
    with serving(style, failing(99)) as server:
        clients = client_of(style, server, PATIENT, timeout=None)
        client = clients.__enter__()
        outcome: list[BaseException] = []

        def call():
            try:
                client.predict(X)
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        wait_for(lambda: server.calls)
        time.sleep(0.2)  # for the refusal to come back
        try:
            yield client, thread, outcome
        finally:
            clients.__exit__(None, None, None)
            thread.join()
            assert len(server.calls) == 1


def test_closing_the_client_ends_a_pause_at_once(style):
    started = time.monotonic()
    with pausing(style) as (client, thread, outcome):
        client.close()
        thread.join(20)
        assert [type(error) for error in outcome] == [ClosedError]
    assert time.monotonic() - started < 30


def test_cancelling_the_task_ends_a_pause_at_once():
    async def run(port):
        async with AsyncPredictClient(target_of("grpc", port), model=MODEL, retry=PATIENT, timeout=None) as client:
            task = asyncio.create_task(client.predict(X))
            while not server.calls:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with serving("grpc", failing(99)) as server:
        asyncio.run(asyncio.wait_for(run(server.port), 20))
        assert len(server.calls) == 1


# --- down is not slow ------------------------------------------------------------------------------------------------

ALL = pytest.mark.parametrize("style", STYLES)


def error_at(style, port, **options) -> CallError:
    with (
        calling(style, target_of(style, port, host="127.0.0.1"), model=MODEL, **options) as client,
        pytest.raises(CallError) as caught,
    ):
        client.predict(X)
    return caught.value


@ALL
def test_a_dead_server_is_refused_connections_also_when_the_time_is_over(style):
    with nobody() as port:
        error = error_at(style, port, timeout=0.6, retry=RetryPolicy())
    assert isinstance(error, DeadlineExceededError)
    assert (error.unreached, error.attempts) == (True, 1)
    assert re.search("no server was reached within 0.6 s.*refused|Connect call failed", error.details)
    assert "is the server running" in error.hint
    assert WAITS in error.hint


@ALL
def test_a_slow_model_was_reached(style):
    with serving(style, lambda call: time.sleep(0.6)) as server:
        error = error_at(style, server.port, timeout=0.3, retry=RetryPolicy())
    assert isinstance(error, DeadlineExceededError)
    assert not error.unreached
    assert error.details == "Deadline Exceeded"
    assert "No answer from" in error.hint
    assert "wait for a server" not in error.hint


@ALL
def test_a_model_that_is_slow_after_others_were_refused_was_reached(style):
    """The connection is made within the call."""

    def script(call):
        if call.number == 1:
            raise Refusal(StatusCode.UNAVAILABLE)
        time.sleep(1.2)

    with serving(style, script) as server:
        error = error_at(style, server.port, timeout=0.8, retry=QUICK)
    assert isinstance(error, DeadlineExceededError)
    assert (error.unreached, error.attempts) == (False, 2)
    assert "No answer from" in error.hint


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit in the queue")
@pytest.mark.parametrize("retry", [None, RetryPolicy()], ids=["once", "retries"])
@ALL
def test_an_address_that_swallows_everything_was_not_reached(style, retry):
    with full() as port:
        error = error_at(style, port, timeout=0.3, retry=retry)
    assert isinstance(error, DeadlineExceededError)
    assert error.unreached
    assert "no connection was made in time" in error.details
    assert "No connection to" in error.hint
    assert "No answer from" not in error.hint
    assert "wait for a server" not in error.hint


class Passing(grpc.UnaryUnaryClientInterceptor):
    """Changes nothing."""

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details, request)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit in the queue")
@pytest.mark.parametrize("style", ["grpc", "grpc-futures"])
def test_interceptors_do_not_hide_whether_a_server_was_reached(style):
    with full() as port:
        assert error_at(style, port, timeout=0.3, interceptors=[Passing(), Passing()]).unreached
    with serving(style, lambda call: time.sleep(0.6)) as server:
        assert not error_at(style, server.port, timeout=0.3, interceptors=[Passing()]).unreached


def test_a_server_that_is_killed_between_calls_was_not_reached():
    with replicas(1) as running, contextlib.ExitStack() as stack:
        ports = running[0].ports
        targets = {style: target_of(style, ports[style.startswith("rest")], host="127.0.0.1") for style in STYLES}
        clients = {
            style: stack.enter_context(calling(style, target, model=MODEL, retry=QUICK))
            for style, target in targets.items()
        }
        for client in clients.values():
            client.predict(X, timeout=30)
        running[0].kill()
        for client in clients.values():
            with pytest.raises(DeadlineExceededError) as caught:
                client.predict(X, timeout=0.5)
            assert caught.value.unreached
            assert re.search("refused|Connect call failed", caught.value.details)


@pytest.mark.parametrize("style", [style for style in STYLES if style.startswith("grpc")])
def test_a_call_that_a_stopping_server_still_works_on_was_reached(style):
    """It takes no new connections, but it has the call."""
    entered, over = threading.Event(), threading.Event()

    def script(call):
        if call.number == 2:
            entered.set()
            over.wait(20)

    with serving(style, script) as server, client_of(style, server, None) as client, ThreadPoolExecutor(1) as pool:
        assert client.predict(X).array.tolist() == [2]
        slow = pool.submit(client.predict, X, timeout=1.5)
        assert entered.wait(20)
        stopping = server.stop(10)

        def refused():
            try:
                client.predict(X)
            except CallError as error:
                return error.unreached

        wait_for(refused)
        # The server's clock may be a little ahead: then it ends the call, and with its last call the connection.
        with pytest.raises((DeadlineExceededError, UnavailableError)) as late:
            slow.result()
        over.set()
        stopping.wait()
    assert not late.value.unreached


@pytest.mark.parametrize("retry", [None, QUICK], ids=["once", "retries"])
@ALL
def test_waiting_until_a_server_is_ready_says_why_it_is_not(style, retry):
    with (
        nobody() as port,
        calling(style, target_of(style, port, host="127.0.0.1"), model=MODEL, retry=retry) as client,
        pytest.raises(DeadlineExceededError) as caught,
    ):
        client.wait_until_ready(0.5)
    assert re.search("was not ready within 0.5 s: .*(refused|Connect call failed)", caught.value.details, re.DOTALL)
    assert WAITS not in str(caught.value)
    assert caught.value.unreached


@ALL
def test_a_server_that_comes_after_a_while_is_found_soon(style):
    found = []
    with nobody() as port:
        clients = calling(style, target_of(style, port), model=MODEL, timeout=30, retry=RetryPolicy())
        client = clients.__enter__()

        def call():
            client.predict(X)
            found.append(time.monotonic())

        waiting = threading.Thread(target=call)
        waiting.start()
        time.sleep(0.7)
    try:
        with serving(style, port=port):
            there = time.monotonic()
            waiting.join(30)
        assert found[0] - there < 5  # 1.3 at the most, but for a machine that is busy
    finally:
        clients.__exit__(None, None, None)


def test_retries_do_not_keep_an_outage_going(style):
    policy = RetryPolicy(initial_backoff=0.01, max_backoff=0.02, budget=10)
    with serving(style, failing(1000)) as server, client_of(style, server, policy) as client:
        for _ in range(20):
            with pytest.raises(UnavailableError):
                client.predict(X)
        assert 20 <= len(server.calls) <= 20 + 5  # half of the budget, and not four for each call


@pytest.mark.parametrize("style", ["grpc", "grpc-futures", "grpc-aio"])
def test_large_requests_are_tried_again(style):
    large = {"x": np.ones(2_000_000, np.float32)}
    with serving(style, failing(2)) as server, client_of(style, server) as client:
        assert client.predict(large).array.tolist() == [2]
        assert len(server.calls) == 3
        assert {call.size for call in server.calls} == {server.calls[0].size}
        assert server.calls[0].size > 8_000_000


@pytest.mark.parametrize("style", ["rest", "rest-aio"])
def test_large_requests_are_tried_again_over_rest(style):
    large = {"x": np.full(300_000, 0.5, np.float32)}
    with serving(style, failing(2)) as server, client_of(style, server) as client:
        with pytest.warns(UserWarning, match="gRPC carries the same tensors"):
            assert client.predict(large).array.tolist() == [2]
        assert len(server.calls) == 3
        assert {call.size for call in server.calls} == {server.calls[0].size}


def test_a_call_waits_for_a_server_that_is_not_there_yet(style):
    answers = []
    with nobody() as port:
        client_manager = calling(style, target_of(style, port), model=MODEL, timeout=20, retry=QUICK)
        client = client_manager.__enter__()
        waiting = threading.Thread(target=lambda: answers.append(client.predict(X).array.tolist()))
        waiting.start()
    try:
        with serving(style, port=port) as server:
            waiting.join(20)
            assert answers == [[2]]
            assert len(server.calls) == 1
    finally:
        client_manager.__exit__(None, None, None)


# --- servers that die --------------------------------------------------------------------------------------------


class Load:
    """Threads that call without pause, and what came of it."""

    def __init__(self, client, timeout: float, threads: int) -> None:
        self.answers: list[int | None] = []  # the version that answered each call, over gRPC
        self.errors: list[Exception] = []
        self.longest = 0.0
        self._client = client
        self._timeout = timeout
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        while not self._over.wait(0.002):
            started = time.monotonic()
            try:
                self.answers.append(self._client.predict(X, timeout=self._timeout).model.version)
            except Exception as error:
                self.errors.append(error)
            self.longest = max(self.longest, time.monotonic() - started)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def under_load(targets, retry, timeout, threads=4):
    """Loads by style; they end with the block."""
    with contextlib.ExitStack() as stack:
        clients = {
            style: stack.enter_context(calling(style, target, model=MODEL, retry=retry))
            for style, target in targets.items()
        }
        loads = {style: Load(client, timeout, threads) for style, client in clients.items()}
        try:
            yield loads
        finally:
            for load in loads.values():
                load.end()


def wait_for(condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def all_answer(loads, number=10):
    """Wait until every load has so many more answers."""
    wanted = {style: len(load.answers) + number for style, load in loads.items()}
    wait_for(lambda: all(len(load.answers) >= wanted[style] for style, load in loads.items()))


WAYS = ("grpc", "grpc-aio", "rest", "rest-aio")


def test_a_server_that_is_killed_and_comes_back_costs_no_call():
    with replicas(1) as running:
        ports = running[0].ports
        targets = {style: target_of(style, ports[style.startswith("rest")]) for style in WAYS}
        with under_load(targets, RetryPolicy(), timeout=30) as loads:
            all_answer(loads)
            running[0].kill()
            running[0] = running[0].again()
            running[0].wait_until_ready()
            all_answer(loads)
    assert {style: load.errors for style, load in loads.items()} == {style: [] for style in WAYS}


def test_without_retries_every_call_that_an_outage_costs_has_a_typed_error_in_time():
    with replicas(1) as running:
        ports = running[0].ports
        targets = {style: target_of(style, ports[style.startswith("rest")]) for style in WAYS}
        with under_load(targets, None, timeout=10) as loads:
            all_answer(loads)
            running[0].kill()
            wait_for(lambda: all(load.errors for load in loads.values()))
            running[0] = running[0].again()
            running[0].wait_until_ready()
            all_answer(loads)
    for load in loads.values():
        assert {type(error) for error in load.errors} == {UnavailableError}
        assert all(error.hint for error in load.errors)
        assert load.longest < 10


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_replicas_share_the_calls_and_one_that_dies_costs_none(host):
    with replicas(2) as running:
        target = [f"{host}:{replica.ports[0]}" for replica in running]
        with under_load({"grpc": target, "grpc-aio": target}, RetryPolicy(), timeout=30, threads=2) as loads:
            wait_for(lambda: all(set(load.answers) == {1, 2} for load in loads.values()))
            running[1].kill()
            dead = {style: len(load.answers) + 4 for style, load in loads.items()}  # some were on their way
            all_answer(loads, 30)
    for style, load in loads.items():
        assert load.errors == []
        assert set(load.answers[dead[style] :]) == {1}
