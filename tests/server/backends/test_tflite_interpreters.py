"""The interpreters of a TensorFlow Lite model: which call gets one, and which waits."""

from __future__ import annotations

import threading

import pytest

from tfs_client import CancelledError, DeadlineExceededError
from tfs_client.server.backends.tflite_interpreters import InterpreterPool
from tfs_client.server.call_deadlines import time_limit


def test_the_last_interpreter_returned_is_lent_first():
    pool = InterpreterPool("ab")
    with pool.interpreter() as first, pool.interpreter() as second:
        assert {first, second} == {"a", "b"}
    with pool.interpreter() as again:
        assert again == first


def test_a_call_waits_until_an_interpreter_is_idle():
    pool, waiting, lent = InterpreterPool("a"), threading.Event(), []

    def call():
        waiting.set()
        with pool.interpreter() as interpreter:
            lent.append(interpreter)

    thread = threading.Thread(target=call)
    with pool.interpreter():
        thread.start()
        assert waiting.wait(10)
        assert lent == []
    thread.join(10)
    assert lent == ["a"]


def test_a_call_waits_no_longer_than_its_deadline():
    pool = InterpreterPool("a")
    with pool.interpreter(), time_limit(0.05), pytest.raises(DeadlineExceededError), pool.interpreter():
        pass


def test_a_call_whose_client_leaves_stops_waiting():
    pool, asked = InterpreterPool("a"), []

    def waits():
        asked.append(None)
        return len(asked) < 2

    with pool.interpreter(), time_limit(None, waits), pytest.raises(CancelledError), pool.interpreter():
        pass


def test_an_interpreter_is_returned_after_a_call_that_failed():
    pool = InterpreterPool("a")
    with pytest.raises(ValueError, match="failed"), pool.interpreter():
        raise ValueError("failed")
    with pool.interpreter() as interpreter:
        assert interpreter == "a"
