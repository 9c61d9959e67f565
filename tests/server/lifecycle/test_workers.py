"""Threads for loads and unloads, and for what is done again and again."""

from __future__ import annotations

import threading

import pytest

from tfs_client.server.lifecycle.periodic import PeriodicFunction, pause_after
from tfs_client.server.lifecycle.workers import Workers


class Busy:
    """Jobs that wait, and how many of them run at once."""

    def __init__(self):
        self.lock = threading.Condition()
        self.running = []
        self.order = []
        self.leave = threading.Event()

    def job(self, name):
        def run():
            with self.lock:
                self.running.append(name)
                self.order.append(name)
                self.lock.notify_all()
            assert self.leave.wait(10)
            with self.lock:
                self.running.remove(name)

        return run

    def until(self, *names):
        with self.lock:
            assert self.lock.wait_for(lambda: sorted(self.running) == sorted(names), 10)


@pytest.fixture
def busy():
    busy = Busy()
    yield busy
    busy.leave.set()


def test_without_a_limit_one_job_of_each_model_runs(busy):
    workers = Workers(0, "test")
    for model, name in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1")]:
        workers.submit(model, busy.job(name))
    busy.until("a1", "b1", "c1")
    busy.leave.set()
    assert workers.join(10)
    assert busy.order.index("a1") < busy.order.index("a2")


def test_a_limit_applies_to_the_jobs_of_all_models(busy):
    workers = Workers(2, "test")
    for model, name in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1")]:
        workers.submit(model, busy.job(name))
    busy.until("a1", "a2")
    assert not workers.join(0.01)
    busy.leave.set()
    assert workers.join(10)
    assert sorted(busy.order) == ["a1", "a2", "b1", "c1"]


def test_idle_threads_end(busy):
    busy.leave.set()
    workers = Workers(0, "test-ending")
    for _ in range(3):
        workers.submit("a", busy.job("a"))
        assert workers.join(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "test-ending"]


@pytest.mark.parametrize(
    ("began", "ended", "period", "pause"),
    [(100, 100, 5, 5), (100, 102, 5, 3), (100, 105, 5, 0), (100, 200, 5, 0)],
)
def test_periods_are_measured_from_start_to_start(began, ended, period, pause):
    assert pause_after(began, ended, period) == pause


def test_a_failing_job_does_not_stop_later_ones(busy, caplog):
    def fail():
        raise SystemExit("no")

    busy.leave.set()
    workers = Workers(0, "test")
    for job in (fail, busy.job("after")):
        workers.submit("a", job)
    assert workers.join(10)
    assert busy.order == ["after"]
    assert "test failed" in caplog.text


def test_jobs_wait_while_the_system_cannot_start_a_thread(busy, monkeypatch, caplog):
    def fail(thread):
        raise RuntimeError("can't start new thread")

    busy.leave.set()
    workers, start = Workers(0, "test"), threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", fail)
    workers.submit("a", busy.job("first"))
    assert not workers.join(10)
    monkeypatch.setattr(threading.Thread, "start", start)
    workers.submit("a", busy.job("second"))
    assert workers.join(10)
    assert busy.order == ["first", "second"]
    assert "test: can't start new thread; 1 job(s) wait for a thread" in caplog.messages


@pytest.mark.parametrize("period", [3600, 1e10, float("inf")])
def test_a_period_may_be_of_any_length(period):
    worked = threading.Event()
    periodic = PeriodicFunction(worked.set, period, "test-long")
    periodic.start()
    for _ in range(2):
        assert worked.wait(10)
        worked.clear()
        periodic.run_soon()
    assert worked.wait(10)
    periodic.stop()


def test_failing_periodic_work_is_repeated(caplog):
    turns, twice = [], threading.Event()

    def work():
        turns.append(None)
        if len(turns) > 1:
            twice.set()
        raise ValueError("no")

    periodic = PeriodicFunction(work, 0.001, "test-failing")
    periodic.start()
    assert twice.wait(10)
    periodic.stop()
    assert "test-failing failed" in caplog.text


def test_periodic_work_begins_at_once_and_can_be_hurried_and_stopped():
    times, changed = [], threading.Condition()

    def work():
        with changed:
            times.append(threading.current_thread().name)
            changed.notify_all()

    def until(count):
        with changed:
            assert changed.wait_for(lambda: len(times) >= count, 10)

    periodic = PeriodicFunction(work, 3600, "test-periodic")
    periodic.start()
    until(1)
    periodic.run_soon()
    until(2)
    periodic.stop()
    periodic.run_soon()
    assert times == ["test-periodic"] * 2
    assert not [thread for thread in threading.enumerate() if thread.name == "test-periodic"]
