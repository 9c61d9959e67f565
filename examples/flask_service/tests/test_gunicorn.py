"""The service under gunicorn: two worker processes on the loopback address, in front of a fake model server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

import httpx
import pytest
from digit_models import add_digits, brightest_row, picture

FOLDER = Path(__file__).parent.parent
LISTENING = r"Listening at: (\S+)"
LIMIT = 30  # seconds for what takes less than one on an idle machine


class Gunicorn:
    """A running gunicorn, as the folder's gunicorn.conf.py configures it."""

    def __init__(self, target: str, folder: Path, arguments: Sequence[str], settings: Mapping[str, str]) -> None:
        environment = {"DIGITS_TARGET": target, "BIND": "127.0.0.1:0", "WEB_CONCURRENCY": "2", **settings}
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        command = [sys.executable, "-m", "gunicorn", *arguments]
        self.process = subprocess.Popen(
            command, cwd=FOLDER, env=os.environ | environment, stderr=subprocess.PIPE, text=True
        )
        self._log = ""
        self._written = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._written:
                self._log += line
                self._written.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Wait until the log matches, and return the first group."""
        with self._written:
            self._written.wait_for(lambda: re.search(pattern, self._log), LIMIT)
            found = re.search(pattern, self._log)
            assert found, f"not in the log: {pattern}\n{self._log}"
            return found[1]

    def reload(self) -> None:
        """Ask gunicorn to replace its workers."""
        self.process.send_signal(signal.SIGHUP)
        self.wait_for("(Handling signal: hup)")

    def terminate(self) -> None:
        """Ask gunicorn to finish its requests and end."""
        self.process.terminate()
        self.wait_for("(Handling signal: term)")

    def wait(self) -> tuple[int, str]:
        """Wait for the end; returns the exit code and the log."""
        code = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        return code, self._log

    def stop(self) -> None:
        """End the process, whatever state it is in."""
        self.process.terminate()
        try:
            self.process.wait(LIMIT)
        finally:
            self.process.kill()
            self._reader.join(LIMIT)
            if self.process.stderr is not None:
                self.process.stderr.close()


@pytest.fixture
def start_gunicorn(tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    """Start gunicorn in front of a model server: ``start_gunicorn(target, "--max-requests=9", DIGITS_TIMEOUT="5")``.

    It is stopped after the test.
    """
    started: list[Gunicorn] = []

    def start(target: str, *arguments: str, **settings: str) -> Gunicorn:
        started.append(Gunicorn(target, tmp_path, arguments, settings))
        return started[-1]

    yield start
    for gunicorn in started:
        gunicorn.stop()


def test_each_worker_has_a_client_and_metrics_are_summed(digits, start_gunicorn):
    url = start_gunicorn(digits.target).wait_for(LISTENING)

    sent = 0
    # Each request has a new connection, and so the kernel chooses a worker for it.
    caller = httpx.Client(base_url=url, timeout=LIMIT, headers={"connection": "close"})

    def post(_: int) -> int:
        return caller.post("/v1/digits", json=picture(3)).json()["digit"]

    with caller, ThreadPoolExecutor(8) as threads:
        while len({call.peer for call in digits.calls}) < 2 and sent < 800:
            assert set(threads.map(post, range(8))) == {3}
            sent += 8
        metrics = caller.get("/metrics").text.splitlines()
    assert len({call.peer for call in digits.calls}) == 2, "one connection for each worker"
    assert f'digits_requests_total{{route="/v1/digits",status="200"}} {sent}.0' in metrics


def test_more_requests_than_may_wait_are_refused_while_probes_are_answered(fake_server, start_gunicorn):
    release = threading.Event()

    def slow(signature, inputs):
        assert release.wait(LIMIT)
        return brightest_row(signature, inputs)

    add_digits(fake_server, slow)
    settings = {"WEB_CONCURRENCY": "1", "DIGITS_MAX_WAITING": "2", "DIGITS_TIMEOUT": str(LIMIT)}
    url = start_gunicorn(fake_server.target, **settings).wait_for(LISTENING)
    with httpx.Client(base_url=url, timeout=LIMIT) as caller, ThreadPoolExecutor(20) as threads:
        try:
            sent = [threads.submit(caller.post, "/v1/digits", json=picture(3)) for _ in range(20)]
            refused = [reply.result() for reply in islice(as_completed(sent, LIMIT), 18)]
            assert {(reply.status_code, reply.headers.get("retry-after")) for reply in refused} == {(429, "1")}
            assert caller.get("/healthz").status_code == 200
            assert "digits_waiting 2.0" in caller.get("/metrics").text
        finally:
            release.set()
        assert sorted(reply.result(LIMIT).status_code for reply in sent) == [200] * 2 + [429] * 18


def test_a_request_that_runs_is_answered_before_gunicorn_ends(fake_server, start_gunicorn):
    entered, release = threading.Event(), threading.Event()

    def slow(signature, inputs):
        entered.set()
        assert release.wait(LIMIT)
        return brightest_row(signature, inputs)

    add_digits(fake_server, slow)
    gunicorn = start_gunicorn(fake_server.target)
    url = gunicorn.wait_for(LISTENING)
    with ThreadPoolExecutor(1) as threads:
        reply = threads.submit(httpx.post, f"{url}/v1/digits", json=picture(3), timeout=LIMIT)
        assert entered.wait(LIMIT)
        gunicorn.terminate()
        release.set()
        assert reply.result(LIMIT).json()["digit"] == 3
    code, log = gunicorn.wait()
    assert code == 0
    assert "Traceback" not in log


WORKERS = pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])


def posts(url: str, count: int) -> list[tuple[int, object]]:
    """Post ``count`` pictures from eight threads, each over a new connection; returns the statuses and digits."""
    caller = httpx.Client(base_url=url, timeout=LIMIT, headers={"connection": "close"})

    def post(number: int) -> tuple[int, object]:
        reply = caller.post("/v1/digits", json=picture(number % 8))
        return reply.status_code, reply.json().get("digit")

    with caller, ThreadPoolExecutor(8) as threads:
        return list(threads.map(post, range(count)))


@WORKERS
def test_a_client_that_was_used_before_the_fork_works_in_every_worker(
    digits, fake_target, start_gunicorn, worker_class
):
    config = f"--config={FOLDER / 'tests' / 'used_before_fork.conf.py'}"
    gunicorn = start_gunicorn(fake_target, config, WORKER_CLASS=worker_class, PRELOAD="1")
    url = gunicorn.wait_for(LISTENING)
    assert posts(url, 40) == [(200, number % 8) for number in range(40)]
    gunicorn.wait_for("used before the fork: (True)")
    metrics = httpx.get(f"{url}/metrics", timeout=LIMIT).text.splitlines()
    assert 'digits_requests_total{route="/v1/digits",status="200"} 40.0' in metrics
    (under_way,) = {line.rpartition(" ")[2] for line in metrics if line.startswith("tfs_client_calls_in_flight{")}
    assert under_way == "0.0"
    gunicorn.terminate()
    code, log = gunicorn.wait()
    assert code == 0
    assert "Traceback" not in log


def test_greenlets_of_a_worker_wait_at_the_same_time(fake_server, fake_target, start_gunicorn):
    """Each with a call to itself; they all reach the model before one is answered."""
    together = threading.Barrier(4)

    def answer(signature, inputs):
        together.wait(LIMIT)
        return brightest_row(signature, inputs)

    add_digits(fake_server, answer)
    gunicorn = start_gunicorn(fake_target, WORKER_CLASS="gevent", WEB_CONCURRENCY="1", DIGITS_TIMEOUT=str(LIMIT))
    url = gunicorn.wait_for(LISTENING) + "/v1/versions/1/digits"
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda n: httpx.post(url, json=picture(n), timeout=LIMIT), range(4)))
    assert [reply.json()["digit"] for reply in replies] == [0, 1, 2, 3]


@WORKERS
def test_no_request_is_lost_while_workers_are_replaced(digits, start_gunicorn, worker_class):
    """After a number of requests, and by SIGHUP."""
    arguments = ["--max-requests=15", "--max-requests-jitter=5"]
    gunicorn = start_gunicorn(digits.target, *arguments, WORKER_CLASS=worker_class)
    url = gunicorn.wait_for(LISTENING)
    with ThreadPoolExecutor(1) as threads:
        answers = threads.submit(posts, url, 80)
        gunicorn.wait_for("(Autorestarting worker)")
        gunicorn.reload()
        assert answers.result(2 * LIMIT) == [(200, number % 8) for number in range(80)]
