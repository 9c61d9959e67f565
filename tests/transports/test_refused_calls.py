"""Servers that refuse calls: which calls are retried, when, and what ends the attempts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from calling import STYLES, at_once
from retrying import BUSY, PATIENT, QUEUE_FULL, TOO_LARGE, X, client_of, failing, wait_for
from scripted import MODEL, Refusal, serving, target_of

from tfs_client import (
    AsyncMicroBatcher,
    AsyncPredictClient,
    ClosedError,
    DecodeError,
    MicroBatcher,
    RetryPolicy,
    SignatureError,
    StatusCode,
    UnavailableError,
)
from tfs_client.errors import BY_CODE, DeadlineExceededError


@pytest.fixture(params=[style for style in STYLES if style != "rest-futures"])
def style(request):
    return request.param


def test_a_call_is_tried_until_it_succeeds(style):
    with serving(style, failing(4)) as server, client_of(style, server) as client:
        assert client.predict(X).array.tolist() == [2]
        assert len(server.calls) == 5


def test_a_call_makes_as_many_attempts_as_the_policy_allows(style):
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
def test_other_codes_are_not_retried(style, code):
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


@at_once(*STYLES)
def test_one_deadline_covers_all_attempts_and_the_pauses_between(style):
    policy = RetryPolicy(initial_backoff=20, max_backoff=20)
    with serving(style, failing(99)) as server, client_of(style, server, policy, timeout=0.15) as client:
        started = time.monotonic()
        with pytest.raises((DeadlineExceededError, UnavailableError)):
            client.predict(X)
        assert time.monotonic() - started < 10
        assert len(server.calls) < 5


@at_once(*STYLES)
def test_the_server_sets_the_pause_before_the_next_attempt(style):
    seconds = 1 if style.startswith("rest") else 0.2
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
def test_a_request_that_is_too_large_is_sent_once(style, code, details):
    with serving(style, failing(1, code, details=details)) as server, client_of(style, server) as client:
        with pytest.raises(BY_CODE[code]):
            client.predict(X)
        assert len(server.calls) == 1


def test_an_error_says_how_often_the_call_was_sent(style):
    policy = RetryPolicy(attempts=3, initial_backoff=0.01)
    with serving(style, failing(99)) as server, client_of(style, server, policy) as client:
        with pytest.raises(UnavailableError, match=r"as the script says \(after 3 attempts\)") as caught:
            client.predict(X)
        assert (caught.value.attempts, caught.value.details) == (3, "as the script says")
        assert len(server.calls) == 3


@at_once(*STYLES)
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


def test_every_attempt_sends_the_same_call(style):
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
        assert list(pool.map(call, range(24))) == [[2]] * 24
    assert {len(bodies) for bodies in seen.values()} == {3}
    assert [len(set(bodies)) for bodies in seen.values()] == [1] * 24
    assert len({bodies[0] for bodies in seen.values()}) == 24


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


def test_retries_do_not_keep_an_outage_going(style):
    policy = RetryPolicy(initial_backoff=0.01, max_backoff=0.02, budget=10)
    with serving(style, failing(1000)) as server, client_of(style, server, policy) as client:
        for _ in range(20):
            with pytest.raises(UnavailableError):
                client.predict(X)
        assert 20 <= len(server.calls) <= 20 + 5  # half of the budget, and not four for each call


@pytest.mark.parametrize("style", ["grpc", "grpc-futures", "grpc-aio"])
def test_large_requests_are_retried(style):
    large = {"x": np.ones(2_000_000, np.float32)}
    with serving(style, failing(2)) as server, client_of(style, server) as client:
        assert client.predict(large).array.tolist() == [2]
        assert len(server.calls) == 3
        assert {call.size for call in server.calls} == {server.calls[0].size}
        assert server.calls[0].size > 8_000_000


@pytest.mark.parametrize("style", ["rest", "rest-aio"])
def test_large_requests_are_retried_over_rest(style):
    large = {"x": np.full(300_000, 0.5, np.float32)}
    with serving(style, failing(2)) as server, client_of(style, server) as client:
        with pytest.warns(UserWarning, match="gRPC carries the same tensors"):
            assert client.predict(large).array.tolist() == [2]
        assert len(server.calls) == 3
        assert {call.size for call in server.calls} == {server.calls[0].size}


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
            thread.join(30)
            assert not thread.is_alive()
            assert len(server.calls) == 1


@at_once(*STYLES)
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
