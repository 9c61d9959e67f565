"""Down is not slow: servers that cannot be reached, that are found later, and that are merely slow."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from calling import GRPC, STYLES, at_once, calling
from replica import replicas
from retrying import QUICK, X, client_of, wait_for
from scripted import MODEL, Refusal, serving, target_of
from tcp import full, nobody

from tfs_client import NotFoundError, RetryPolicy, StatusCode, TensorSpec, UnavailableError
from tfs_client._transports.retry_hints import WAITS
from tfs_client.errors import CallError, DeadlineExceededError
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer


def error_at(style, port, **options) -> CallError:
    with (
        calling(style, target_of(style, port, host="127.0.0.1"), model=MODEL, **options) as client,
        pytest.raises(CallError) as caught,
    ):
        client.predict(X)
    return caught.value


@at_once(*STYLES)
def test_a_dead_server_refuses_connections_even_after_the_deadline(style):
    with nobody() as port:
        error = error_at(style, port, timeout=1.5, retry=RetryPolicy())
    assert isinstance(error, DeadlineExceededError)
    assert (error.unreached, error.attempts) == (True, 1)
    assert re.search("no server was reached within 1.5 s.*refused|Connect call failed", error.details)
    assert "is the server running" in error.hint
    assert WAITS in error.hint


@at_once("rest-aio")
def test_a_call_that_ends_before_it_was_sent_did_not_reach_the_server(style):
    async def slow(request):
        await asyncio.sleep(20)

    with serving(style, lambda call: None) as server:
        assert error_at(style, server.port, timeout=0.2, interceptors=[slow]).unreached
        assert not server.calls


@at_once(*STYLES)
def test_a_slow_model_was_reached(style):
    over = threading.Event()
    with serving(style, lambda call: over.wait(20)) as server:
        error = error_at(style, server.port, timeout=1.0, retry=RetryPolicy())
        over.set()
    assert isinstance(error, DeadlineExceededError)
    assert not error.unreached
    assert error.details == "Deadline Exceeded"
    assert "No answer from" in error.hint
    assert "wait for a server" not in error.hint


@at_once(*STYLES)
def test_a_model_that_is_slow_after_others_were_refused_was_reached(style):
    """The connection is made within the call."""

    over = threading.Event()

    def script(call):
        if call.number == 1:
            raise Refusal(StatusCode.UNAVAILABLE)
        over.wait(20)

    with serving(style, script) as server:
        error = error_at(style, server.port, timeout=1.0, retry=QUICK)
        over.set()
    assert isinstance(error, DeadlineExceededError)
    assert (error.unreached, error.attempts) == (False, 2)
    assert "No answer from" in error.hint


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit in the queue")
@pytest.mark.parametrize("retry", [None, RetryPolicy()], ids=["once", "retries"])
@at_once(*STYLES)
def test_an_address_that_swallows_everything_was_not_reached(style, retry):
    with full() as port:
        error = error_at(style, port, timeout=1.0, retry=retry)
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
@at_once("grpc", "grpc-futures")
def test_interceptors_do_not_hide_whether_a_server_was_reached(style):
    with full() as port:
        assert error_at(style, port, timeout=0.6, interceptors=[Passing(), Passing()]).unreached
    over = threading.Event()
    with serving(style, lambda call: over.wait(20)) as server:
        assert not error_at(style, server.port, timeout=1.0, interceptors=[Passing()]).unreached
        over.set()


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

        @at_once(*STYLES)
        def check(style):
            with pytest.raises(DeadlineExceededError) as caught:
                clients[style].predict(X, timeout=1.5)
            assert caught.value.unreached
            assert re.search("refused|Connect call failed", caught.value.details)

        check()


@at_once(*GRPC)
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
            slow.result(30)
        over.set()
        assert stopping.wait(30)
    assert not late.value.unreached


@pytest.mark.parametrize("retry", [None, QUICK], ids=["once", "retries"])
@at_once(*STYLES)
def test_waiting_until_a_server_is_ready_says_why_it_is_not(style, retry):
    with (
        nobody() as port,
        calling(style, target_of(style, port, host="127.0.0.1"), model=MODEL, retry=retry) as client,
        pytest.raises(DeadlineExceededError) as caught,
    ):
        client.wait_until_ready(1.5)
    assert re.search("was not ready within 1.5 s: .*(refused|Connect call failed)", caught.value.details, re.DOTALL)
    assert WAITS not in str(caught.value)
    assert caught.value.unreached


@at_once(*STYLES)
def test_a_server_that_starts_later_is_found_soon(style):
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


@at_once(*STYLES)
def test_a_call_waits_for_a_server_that_starts_later(style):
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


@at_once(*STYLES)
def test_other_methods_are_retried_too(style):
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
