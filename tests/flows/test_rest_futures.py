"""RestFutures: calls in a few daemon threads."""

from __future__ import annotations

import sys
import threading
import time
import weakref

import pytest

from tfs_client._flows.rest_futures import RestFutures

PATIENCE = 20


class Held:
    """A call that waits; ``started`` is set when it runs."""

    def __init__(self):
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self):
        self.started.set()
        assert self.go.wait(PATIENCE)
        return threading.current_thread()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "tfs-client-rest"]


def gone(thread):
    thread.join(PATIENCE)
    return not thread.is_alive()


@pytest.fixture
def futures():
    made = []

    def make(**options):
        made.append(RestFutures(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert all(map(gone, threads()))


def test_a_future_has_what_the_call_returns_or_raises(futures):
    two = futures(most=2)
    assert two.begin(lambda: 3).result(PATIENCE) == 3
    with pytest.raises(SystemExit):
        two.begin(lambda: exit(3)).result(PATIENCE)
    assert two.begin(lambda: 4).result(PATIENCE) == 4


def test_threads_are_daemons_started_when_needed_and_used_again(futures):
    three = futures(most=3)
    assert threads() == []
    used = set()
    for _ in range(20):
        used.add(three.begin(threading.current_thread).result(PATIENCE))
        time.sleep(0.002)
    assert len(used) <= 3
    assert all(thread.daemon for thread in used)


def test_at_most_one_call_runs_per_thread(futures):
    two, calls = futures(most=2), [Held() for _ in range(5)]
    begun = [two.begin(call) for call in calls]
    for call in calls[:2]:
        assert call.started.wait(PATIENCE)
    assert len(threads()) == 2
    assert not any(call.started.is_set() for call in calls[2:])
    for call in calls:
        call.go.set()
    assert len({future.result(PATIENCE) for future in begun}) <= 2


def test_a_waiting_call_can_be_cancelled_and_a_running_one_cannot(futures):
    one, first, second = futures(most=1), Held(), Held()
    running, waiting = one.begin(first), one.begin(second)
    assert first.started.wait(PATIENCE)
    assert waiting.cancel()
    assert not running.cancel()
    first.go.set()
    assert running.result(PATIENCE)
    assert one.begin(lambda: 5).result(PATIENCE) == 5
    assert not second.started.is_set()


def test_an_idle_thread_ends_and_another_is_started(futures):
    one = futures(most=1, idle=0.05)
    thread = one.begin(threading.current_thread).result(PATIENCE)
    assert gone(thread)
    assert one.begin(threading.current_thread).result(PATIENCE) is not thread


def test_an_idle_thread_keeps_nothing_alive(futures):
    one, call = futures(most=1), Held()
    call.go.set()
    done = weakref.ref(call)
    one.begin(call).result(PATIENCE)
    del call
    end = time.monotonic() + PATIENCE
    while done() is not None:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_closing_performs_waiting_calls_before_the_threads_end(futures):
    one, first = futures(most=1), Held()
    running, waiting = one.begin(first), one.begin(threading.current_thread)
    one.close()
    first.go.set()
    assert running.result(PATIENCE) is waiting.result(PATIENCE)
    assert gone(waiting.result())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_exits_ends_no_thread(futures):
    one, call = futures(most=1), Held()
    begun, waiting = one.begin(call), one.begin(threading.current_thread)
    begun.add_done_callback(lambda _: sys.exit())
    call.go.set()
    assert begun.result(PATIENCE) is waiting.result(PATIENCE)
