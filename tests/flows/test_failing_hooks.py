"""Hooks that fail: what the log says about them, and what it never says."""

from __future__ import annotations

import builtins
import logging
import pickle
import sys

import pytest
from calling import STYLES, calling
from driving import GRPC, settings_of
from retrying import QUICK, X
from scripted import MODEL, Refusal, serving, target_of

from tfs_client import CallError, ConfigError, StatusCode
from tfs_client._flows.telemetry import hooks
from tfs_client._flows.telemetry.hooks import ClientHook, Reports, checked_hooks
from tfs_client.options import UNSET, checked_metadata
from tfs_client.telemetry import AttemptEnded, CallEnded, CallStarted

TOKEN = "tok-7d1e55c0a9"
FACTS = {"call": 1, "method": "Predict", "model": "m", "version": None, "label": None, "signature": ""}
MORE = {"transport": "grpc", "target": "t", "rows": None, "request_id": "", "batch": None, "timeout": None}
STARTED = CallStarted(**FACTS, **MORE)


def given(*functions):
    return Reports(checked_hooks(functions), {})


@pytest.mark.parametrize("style", [*STYLES, "grpc-futures"])
@pytest.mark.parametrize("kind", [AttemptEnded, CallEnded])
def test_the_log_of_a_failing_hook_has_no_error_of_the_call(style, kind, caplog):
    def failing(record):
        if isinstance(record, kind) and record.details:
            try:
                raise OSError("metrics are down")
            except OSError as error:
                raise RuntimeError("hook broken") from error

    def script(call):
        code = StatusCode.UNAVAILABLE if call.number == 1 else StatusCode.INVALID_ARGUMENT
        raise Refusal(code, f"got {call.metadata['authorization']}")

    with serving(style, script) as server:
        options = {"model": MODEL, "timeout": 20, "token": lambda: TOKEN, "hooks": failing, "retry": QUICK}
        with calling(style, target_of(style, server.port), **options) as client, pytest.raises(CallError, match=TOKEN):
            client.predict(X)
    assert TOKEN not in caplog.text
    assert "hook broken" in caplog.text
    assert "metrics are down" in caplog.text  # what arose in the hook stays


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 has exception groups")
def test_errors_in_a_group_lose_the_error_of_the_call_too(caplog):
    def failing(record):
        try:
            raise OSError("inner")
        except OSError as error:
            raise builtins.ExceptionGroup("several", [error]) from None

    try:
        raise ValueError(TOKEN)
    except ValueError:
        given(failing).give(STARTED)
    assert "several" in caplog.text
    assert TOKEN not in caplog.text


def test_all_hooks_receive_a_record_that_interrupts_one_of_them():
    received = []

    def interrupted(record):
        raise KeyboardInterrupt

    reports = given(received.append, interrupted, received.append, interrupted)
    with pytest.raises(KeyboardInterrupt):
        reports.give(STARTED)
    assert received == [STARTED, STARTED]


def test_a_hook_that_always_fails_writes_one_traceback_and_then_a_line_per_period(caplog, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(hooks.time, "monotonic", lambda: now[0])

    def failing(record):
        raise ValueError("broken\nhook")

    def other(record):
        raise TypeError("another one")

    settings = settings_of(GRPC, hooks=[failing, other])
    derived = settings.derived(UNSET, timeout=3.0)
    for turn in range(200):  # calls of several clients, for 25 seconds
        Reports((settings if turn % 2 else derived).hooks, {}).give(STARTED)
        now[0] += 0.125
    lines = [record for record in caplog.records if "failing" in record.getMessage()]
    assert [bool(line.exc_info) for line in lines] == [True, False, False]
    assert lines[0].getMessage().endswith("failed on CallStarted; the call continues")
    assert lines[1].getMessage().endswith("failed again (80 times), last on CallStarted: ValueError: broken\\nhook")
    assert sum("other" in record.getMessage() for record in caplog.records) == 3


class Unprintable(Exception):
    @property
    def exceptions(self):
        raise OSError("no exceptions")

    def __str__(self):
        raise OSError("no text")


def test_an_error_without_a_text_harms_no_call_either(caplog, monkeypatch):
    monkeypatch.setattr(hooks, "PERIOD", 0)

    def failing(record):
        raise Unprintable

    received = []
    reports = given(failing, received.append)
    for _ in range(2):
        try:
            raise ValueError("of the call")
        except ValueError:
            reports.give(STARTED)
    assert received == [STARTED] * 2


def test_a_pickled_hook_starts_afresh(caplog):
    hook = ClientHook(len)
    hook.failed(ValueError(), STARTED)
    copy = pickle.loads(pickle.dumps(hook))
    assert copy.function is len
    copy.failed(ValueError(), STARTED)
    assert len([record for record in caplog.records if record.exc_info]) == 2


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"x-token": f"{TOKEN}\nx"}, r"metadata 'x-token': expected printable ASCII text, got '\n' at position 14"),
        ({"x-token": f"{TOKEN}é"}, r"got '\xe9' at position 14"),
        ({"x-bin": TOKEN}, "expected bytes"),
        ({"x-token": TOKEN.encode()}, "expected text"),
        ({"authorization": TOKEN}, "pass token= to the client"),
        ({"x-request-id": "of-a-hook"}, "pass request_id= to the client or the call"),
    ],
)
def test_metadata_of_hooks_that_is_refused_is_named_without_its_value(answer, text, caplog):
    with caplog.at_level(logging.ERROR):
        assert given(lambda _: answer).give(STARTED) == ()
    assert text in caplog.text
    assert TOKEN not in caplog.text


def test_no_error_about_metadata_quotes_its_values():
    for metadata in ({"x-token": f"{TOKEN}\n"}, [(TOKEN,)], [("x-token", TOKEN, TOKEN)]):
        with pytest.raises(ConfigError) as caught:
            checked_metadata(metadata)
        assert TOKEN not in str(caught.value)
