"""Retries: the steps of one call driven by hand, then real servers that refuse, die and come back."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
import pytest
from calling import STYLES, calling
from replica import replicas
from scripted import MODEL, Refusal, serving, target_of
from tcp import nobody

from tfs_client import RetryPolicy, StatusCode, UnavailableError
from tfs_client.errors import BY_CODE, CallError, DeadlineExceededError, call_error
from tfs_client.options import Deadline
from tfs_client.retries import JITTER, Budget, attempts, pause
from tfs_client.steps import Send, Sleep

X = {"x": [1.0]}
QUICK = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)

# --- one call, step by step --------------------------------------------------------------------------------------

POLICY = RetryPolicy(attempts=3, initial_backoff=1.0, multiplier=3.0, max_backoff=2.0)


def send(timeout: float | None = 1000.0, **options) -> Send:
    return Send("POST /v1/models/m:predict", b"{}", Deadline(timeout), **options)


def failed(code=StatusCode.UNAVAILABLE, *, unreached=False, retry_after=None) -> CallError:
    error = call_error(code, "details", "Predict", "a hint")
    error.unreached, error.retry_after = unreached, retry_after
    return error


def driven(step: Send, policy: RetryPolicy, *outcomes, budget: Budget | None = None):
    """The pauses between the outcomes that the attempts have, and the last outcome."""
    flow = attempts(step, policy, budget or Budget(policy))
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


@pytest.mark.parametrize("code", [code for code in BY_CODE if code is not StatusCode.UNAVAILABLE])
def test_codes_outside_the_policy_end_the_attempts(code):
    error = failed(code)
    assert driven(send(), POLICY, error) == ([], error)


def test_the_server_sets_the_pause():
    pauses, _ = driven(send(), POLICY, failed(retry_after=7.5), failed(retry_after=0.0), b"reply")
    assert pauses == [7.5, 0.0]


@pytest.mark.parametrize("last", [failed(), failed(retry_after=60.0), failed(unreached=True)])
def test_a_pause_beyond_the_deadline_ends_with_the_deadline(last):
    pauses, error = driven(send(timeout=0.5), POLICY, last)
    assert pauses == [pytest.approx(0.5, abs=0.1)]
    assert isinstance(error, DeadlineExceededError)
    assert "UNAVAILABLE: details" in error.details
    assert (error.hint, error.method, error.__cause__) == ("a hint", "Predict", last)


def test_waiting_for_a_server_uses_up_no_attempt():
    absent = [failed(unreached=True) for _ in range(20)]
    pauses, reply = driven(send(), POLICY, *absent, failed(), failed(), b"reply")
    assert reply == b"reply"
    assert len(pauses) == 22
    assert max(pauses) <= 2 * (1 + JITTER)


@pytest.mark.parametrize(
    ("waits", "call_waits", "number"), [(True, None, None), (True, False, 3), (False, None, 3), (False, True, None)]
)
def test_the_call_says_whether_to_wait_and_otherwise_the_policy(waits, call_waits, number):
    policy = RetryPolicy(attempts=3, wait_for_ready=waits)
    absent = [failed(unreached=True) for _ in range(number or 9)]
    _, end = driven(send(wait_for_ready=call_waits), policy, *absent, *([] if number else [b"reply"]))
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


def failing(times: int, code: StatusCode = StatusCode.UNAVAILABLE, pause: float | None = None):
    """A script that refuses the first calls."""

    def script(call):
        if call.number <= times:
            raise Refusal(code, pause=pause)

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


@pytest.mark.parametrize(("style", "seconds"), [("grpc", 0.2), ("grpc-aio", 0.2), ("rest", 1)])
def test_the_server_sets_the_pause_before_the_next_attempt(style, seconds):
    with serving(style, failing(1, pause=seconds)) as server, client_of(style, server) as client:
        started = time.monotonic()
        assert client.predict(X).array.tolist() == [2]
        assert time.monotonic() - started > 0.9 * seconds
        assert len(server.calls) == 2


@pytest.mark.parametrize("style", ["grpc", "grpc-futures", "grpc-aio"])
def test_a_server_may_forbid_another_attempt(style):
    with serving(style, failing(1, pause=-1)) as server, client_of(style, server) as client:
        with pytest.raises(UnavailableError):
            client.predict(X)
        assert len(server.calls) == 1


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
