"""Timers: called in time, in order, by one thread that does not delay exit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

from tfs_client._flows import timers


def named() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tfs-client-timers"]


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def test_a_function_is_called_once_and_not_before_its_time():
    called = []
    started = time.monotonic()
    timers.after(0.1, lambda: called.append(time.monotonic()))
    assert eventually(lambda: called)
    assert called[0] - started >= 0.1
    time.sleep(0.15)
    assert len(called) == 1


def test_functions_are_called_in_the_order_of_their_due_times():
    order, over = [], threading.Event()
    timers.after(0.3, over.set)
    for seconds in (0.2, 0.05, 0.15, 0.1):
        timers.after(seconds, lambda seconds=seconds: order.append(seconds))
    assert over.wait(20)
    assert order == [0.05, 0.1, 0.15, 0.2]


def test_all_are_called_by_one_daemon_thread():
    threads, over = set(), threading.Event()
    for _ in range(50):
        timers.after(0.02, lambda: threads.add(threading.current_thread()))
    timers.after(0.1, over.set)
    assert over.wait(20)
    assert len(threads) == 1
    assert threads.pop().daemon


def test_a_cancelled_function_is_not_called_and_is_freed_at_once():
    class Function:
        called = False

        def __call__(self):
            Function.called = True

    function = Function()
    there = weakref.ref(function)
    timer = timers.after(0.1, function)
    del function
    assert timer.cancel()
    assert there() is None
    assert not timer.cancel()
    assert not timer.pending
    time.sleep(0.2)
    assert not Function.called


def test_a_function_that_was_called_cannot_be_cancelled():
    over = threading.Event()
    timer = timers.after(0.01, over.set)
    assert over.wait(20)
    assert not timer.cancel()


def test_cancelled_timers_do_not_fill_the_queue():
    kept = [timers.after(3600, int) for _ in range(10)]
    for _ in range(5000):
        timers.after(3600, int).cancel()
    assert len(timers._timers._queue) < 200
    assert all(timer.cancel() for timer in kept)


@pytest.mark.filterwarnings("ignore")
def test_a_function_that_fails_does_not_stop_the_others(caplog):
    over = threading.Event()

    def fail():
        raise ValueError("on purpose")

    timers.after(0.01, fail)
    timers.after(0.05, over.set)
    assert over.wait(20)
    assert "on purpose" in caplog.text


def test_a_function_that_steps_aside_does_not_delay_the_others():
    going_on, over, ended = threading.Event(), threading.Event(), threading.Event()

    def busy():
        timers.step_aside()
        assert going_on.wait(20)
        ended.set()

    timers.after(0.01, busy)
    timers.after(0.05, lambda: timers.after(0.01, over.set))
    assert over.wait(20)
    assert not ended.is_set()
    going_on.set()
    assert ended.wait(20)
    assert eventually(lambda: len(named()) <= 1)


def test_timers_may_be_set_from_many_threads():
    called, lock = [], threading.Lock()

    def note(number):
        with lock:
            called.append(number)

    def set_some(start):
        for number in range(start, start + 100):
            timers.after((number % 7) / 200, lambda number=number: note(number))

    threads = [threading.Thread(target=set_some, args=(1000 * index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert eventually(lambda: len(called) == 800)
    assert len(set(called)) == 800


def test_the_thread_ends_without_timers_and_is_started_again(monkeypatch):
    monkeypatch.setattr(timers, "IDLE", 0.05)
    for _ in range(2):
        over = threading.Event()
        timers.after(0.01, over.set)
        assert over.wait(20)
        assert eventually(lambda: not named())


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "raise SystemExit"])
def test_a_program_ends_despite_pending_timers(end):
    started = time.monotonic()
    done = run(
        f"import sys\nfrom tfs_client._flows import timers\ntimers.after(3600, print)\ntimers.after(0, print)\n{end}"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - started < 30


FORK = """
import os, sys, threading, time, warnings
from tfs_client._flows import timers

warnings.simplefilter("ignore")  # of Python 3.12 and later, at forks of processes with threads
before = timers.after(3600, print)
called_in_child = []
timers.after(0.3, lambda: called_in_child.append(os.getpid()))
holding = threading.Event()

def hold():
    with timers._timers._changed:
        holding.set()
        time.sleep(1)

threading.Thread(target=hold).start()
holding.wait()
child = os.fork()
if child == 0:
    assert not before.cancel()
    over = threading.Event()
    timer = timers.after(0.05, over.set)
    assert over.wait(20)
    time.sleep(0.5)
    assert called_in_child == []
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert before.cancel()
assert called_in_child == [os.getpid()]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_starts_afresh():
    done = run(FORK)
    assert (done.returncode, done.stderr) == (0, "")
