"""A worker in this process, in front of a fake model server: answers, poison, outages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import LIMIT
from digit_models import add_digits, brightest_row, picture
from digit_worker.settings import Settings
from digit_worker.worker import Worker

from tfs_client import InternalError
from tfs_client.testing import FakeServer, faults

FAST = {"poll": 0.02, "backoff": 0.02, "timeout": float(LIMIT), "batch_size": 4, "receive": 8}


@pytest.fixture
def working(open_queue) -> Callable[..., object]:
    """Let a worker work in a thread: ``with working(target, max_tries=2): ...``. It stops at the end of the block."""

    @contextmanager
    def work(target: str, **settings: object) -> Iterator[None]:
        with Worker(open_queue(), Settings(target=target, **{**FAST, **settings})) as worker:
            thread = threading.Thread(target=worker.run, daemon=True)
            thread.start()
            try:
                yield
            finally:
                worker.stop()
                thread.join(LIMIT)
                assert not thread.is_alive()

    return work


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a condition; fail if it takes too long."""
    ends = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def add_pictures(queue, count: int) -> dict[str, int]:
    """Add jobs; returns the digits that their answers must have, by id."""
    expected = {f"job-{number}": number % 8 for number in range(count)}
    for name, digit in expected.items():
        queue.add(name, picture(digit))
    return expected


def answers(queue) -> dict[str, object]:
    """The digits of the results, by id."""
    return {name: result["digit"] for name, result in queue.results().items()}


def test_jobs_are_answered_in_shared_requests(digits, fake_target, queue, working):
    expected = add_pictures(queue, 20)
    with working(fake_target):
        wait_until(lambda: not queue.waiting())
    assert answers(queue) == expected
    assert queue.dead_letters() == {}
    assert len(digits.calls) < 20


def test_a_job_that_comes_later_is_answered_too(digits, queue, working):
    with working(digits.target):
        wait_until(lambda: digits.lookups)
        queue.add("late", picture(5))
        wait_until(lambda: not queue.waiting())
    assert answers(queue) == {"late": 5}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "expected JSON"),
        (b"[" * 60_000, "expected JSON"),
        (b"[]", "expected a list of rows"),
        (b'{"pixels": [[1, 0], [1]]}', "expected JSON with rows"),
        (b'{"pixels": [[7]]}', "expected numbers from 0 to 1"),
        (b'{"pixels": [[NaN]]}', "expected numbers from 0 to 1"),
        (b" " * (65 << 10), "expected at most 65536 bytes"),
        (b'{"pixels": [[1, 0], [0, 1]]}', "'image' expects float32 (?, 8, 8, 1), got float32 (1, 2, 2, 1)"),
    ],
    ids=["bytes", "nested", "list", "ragged", "bright", "NaN", "large", "another size"],
)
def test_a_job_that_nothing_can_answer_is_a_dead_letter(digits, queue, working, body, reason):
    queue.add("bad", body)
    expected = add_pictures(queue, 3)
    with working(digits.target):
        wait_until(lambda: not queue.waiting())
    assert answers(queue) == expected
    assert reason in queue.dead_letters()["bad"]


def test_a_job_that_breaks_the_model_is_tried_again_and_harms_no_other(fake_server, queue, working):
    def breaks_on_seven(signature, inputs):
        outputs = brightest_row(signature, inputs)
        if 7 in outputs["digit"]:
            raise InternalError("out of memory")
        return outputs

    add_digits(fake_server, breaks_on_seven)
    expected = add_pictures(queue, 8)
    with working(fake_server.target, max_tries=3):
        wait_until(lambda: not queue.waiting())
    assert answers(queue) == {name: digit for name, digit in expected.items() if digit != 7}
    assert list(queue.dead_letters()) == ["job-7"]
    assert "out of memory" in queue.dead_letters()["job-7"]


def test_a_job_that_took_down_its_workers_is_not_tried_for_ever(digits, queue, working):
    queue.add("poison", picture(1))
    for _ in range(2):
        queue.receive(1, lease=-1)  # by workers that died
    with working(digits.target, max_tries=2):
        wait_until(lambda: not queue.waiting())
    assert queue.dead_letters() == {"poison": "given up after 2 tries"}
    assert digits.calls == []


def test_jobs_wait_for_a_server_that_is_down(queue, working):
    with FakeServer() as server:
        port = int(server.target.rpartition(":")[2])
    expected = add_pictures(queue, 8)
    with working(f"127.0.0.1:{port}"):
        time.sleep(0.1)
        assert queue.waiting() == dict.fromkeys(expected, 0)
        with FakeServer(port=port) as server:
            wait_until(lambda: not queue.waiting() or server.lookups)
            assert queue.waiting() == dict.fromkeys(expected, 0), "the model is not served yet"
            add_digits(server)
            wait_until(lambda: not queue.waiting())
    assert answers(queue) == expected
    assert queue.dead_letters() == {}


def test_a_server_that_restarts_costs_no_job(digits, queue, working):
    expected = add_pictures(queue, 40)
    with working(digits.target, receive=4):
        wait_until(queue.results)
        digits.restart()
        wait_until(lambda: not queue.waiting())
    assert answers(queue) == expected
    assert queue.dead_letters() == {}


@pytest.mark.parametrize("fault", [faults.Busy("threads"), faults.Status("UNAVAILABLE", "restarting")])
def test_a_busy_server_gets_pauses(digits, queue, working, fault):
    expected = add_pictures(queue, 4)
    digits.faults.add(fault, times=3)
    with working(digits.target):
        wait_until(lambda: not queue.waiting())
    assert answers(queue) == expected


def test_ids_and_server_texts_cannot_forge_lines_of_the_log(digits, queue, working, caplog):
    queue.add("job-1\nERROR job-2 is a dead letter", picture(1))
    digits.faults.add(faults.Status("INTERNAL", "broken\nERROR job-3 is a dead letter"))
    with working(digits.target, max_tries=2):
        wait_until(queue.dead_letters)
    lines = [record.getMessage() for record in caplog.records if record.name == "digit_worker.worker"]
    assert [line.partition(" is ")[0] for line in lines[-1:]] == [r"job job-1\nERROR job-2"]
    assert any(r"broken\nERROR job-3" in line for line in lines)
    assert not any("\n" in line for line in lines)


def test_settings_come_from_the_environment():
    settings = Settings.from_environment({"DIGITS_QUEUE": "/jobs", "DIGITS_LEASE": "5", "DIGITS_MAX_TRIES": "2"})
    assert (settings.queue, settings.lease, settings.max_tries) == ("/jobs", 5.0, 2)
    with pytest.raises(ValueError, match="could not convert string to float: 'soon'"):
        Settings.from_environment({"DIGITS_LEASE": "soon"})
