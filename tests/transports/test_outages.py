"""Servers that die under load and restart: failed calls with retries, without, and with replicas."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from calling import calling
from replica import replicas
from retrying import X, wait_for
from scripted import MODEL, target_of

from tfs_client import RetryPolicy, UnavailableError


class Load:
    """Threads that keep calling, with pauses in which a server can start, and what came of it."""

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
        while not self._over.wait(0.01):
            started = time.monotonic()
            try:
                self.answers.append(self._client.predict(X, timeout=self._timeout).model.version)
            except Exception as error:
                self.errors.append(error)
            self.longest = max(self.longest, time.monotonic() - started)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


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


def all_answer(loads, number=10):
    """Wait until every load has so many more answers."""
    wanted = {style: len(load.answers) + number for style, load in loads.items()}
    wait_for(lambda: all(len(load.answers) >= wanted[style] for style, load in loads.items()))


WAYS = ("grpc", "grpc-aio", "rest", "rest-aio")


def test_a_server_that_is_killed_and_restarted_fails_no_call():
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


def test_without_retries_an_outage_raises_typed_errors_in_time():
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
def test_replicas_share_the_calls_and_none_fails_when_one_dies(host):
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
