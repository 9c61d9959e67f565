"""Logging that fails or interferes: calls have the same outcome, and what was lost is said."""

from __future__ import annotations

import io
import logging
from contextlib import contextmanager

import numpy as np
import pytest
from calling import STYLES, calling
from retrying import QUICK, failing
from scripted import MODEL, serving, target_of

from tfs_client._transports.log_records import write

X = {"x": np.ones((2, 3), np.float32)}


class Failing(logging.Filter):
    """As one that needs the request of a web server."""

    def filter(self, record):
        raise LookupError("no request is handled")


class Keeping(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@contextmanager
def factory(make):
    """Another factory of log records, as programs set one that adds the id of their request."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(lambda *args, **more: make(before(*args, **more)))
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


def with_ids(record):
    record.request_id, record.target = "of the program", "of the program"
    return record


@pytest.fixture
def handler():
    """Receives all records of the package."""
    package, handler = logging.getLogger("tfs_client"), Keeping()
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.DEBUG)
    yield handler
    package.removeHandler(handler)
    package.setLevel(level)


def retried(style):
    """Make a call that is retried, and close the client. Returns the number of attempts."""
    with serving(style, failing(1)) as server:
        options = {"model": MODEL, "timeout": 20, "retry": QUICK, "request_id": lambda: "id-7"}
        with calling(style, target_of(style, server.port), **options) as client:
            return client.predict(X).attempts


@pytest.mark.parametrize("style", [*STYLES, "grpc-futures"])
def test_attributes_that_the_program_sets_stay_and_those_of_the_client_get_a_prefix(style, handler):
    with factory(with_ids):
        assert retried(style) == 2
    found = handler.records
    topics = {record.name.rpartition(".")[2] for record in found}
    assert topics >= {"calls", "retries", "connections"}
    assert {record.request_id for record in found} == {record.target for record in found} == {"of the program"}
    retry, call = (next(one for one in found if one.name == f"tfs_client.{topic}") for topic in ("retries", "calls"))
    assert retry.tfs_request_id == call.tfs_request_id == "id-7"
    assert call.tfs_target.endswith(target_of(style, int(call.tfs_target.rpartition(":")[2])))
    assert call.filename == "logs.py"


@pytest.mark.parametrize("style", [*STYLES, "grpc-futures"])
@pytest.mark.parametrize("fails", ["filter", "factory"])
def test_a_failing_filter_or_factory_harms_no_call(style, fails, handler, capsys):
    handler.addFilter(Failing())
    # Other loggers than ours raise, too, if the factory does.
    with factory(lambda record: 1 / 0 if fails == "factory" and record.name.startswith("tfs_client") else record):
        assert retried(style) == 2
    assert handler.records == []
    printed = capsys.readouterr().err
    assert "tfs_client.connections: a log record was lost, because logging failed:" in printed
    assert ("no request is handled" if fails == "filter" else "ZeroDivisionError") in printed
    assert "direct cause" not in printed
    assert "During handling" not in printed


@pytest.mark.parametrize("style", ["rest", "rest-aio"])
def test_a_failing_filter_of_httpx_is_not_taken_for_a_damaged_reply(style):
    failing, httpx = Failing(), logging.getLogger("httpx")
    level = httpx.level
    httpx.addFilter(failing)
    httpx.setLevel(logging.INFO)
    try:
        with pytest.raises(LookupError, match="no request is handled"):
            retried(style)
    finally:
        httpx.removeFilter(failing)
        httpx.setLevel(level)


def test_a_closed_standard_error_is_no_error(handler, monkeypatch):
    handler.addFilter(Failing())
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr("sys.stderr", stream)
        write(logging.getLogger("tfs_client.calls"), logging.ERROR, "text")
    assert handler.records == []


def test_what_fails_is_printed_without_the_error_of_the_call(handler, capsys):
    handler.addFilter(Failing())
    try:
        raise ValueError("the token quoted")
    except ValueError:
        write(logging.getLogger("tfs_client.retries"), logging.WARNING, "text")
    assert "LookupError" in (printed := capsys.readouterr().err)
    assert "quoted" not in printed
