"""Loader: estimates, attempts, and giving up."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time

import pytest
from model_dirs import TextPlatform, put

from tfs_client import ConfigError, InvalidArgumentError, StatusCode
from tfs_client.errors import CallError, CancelledError, FailedPreconditionError, NotFoundError, UnavailableError
from tfs_client.server.config import Retries
from tfs_client.server.files.file_errors import MissingPackageError, file_error, load_error, status_text
from tfs_client.server.lifecycle.loader import Loader, reserve, retry

WHO = "{name: m version: 1}"


# --- estimates -------------------------------------------------------------------------------------------------------


def test_the_estimate_is_a_fifth_more_than_all_files(tmp_path):
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "a").write_bytes(bytes(100))
    (tmp_path / "deep/b").write_bytes(bytes(20))
    (tmp_path / "deep/er/c").write_bytes(bytes(4))
    assert Loader(str(tmp_path), TextPlatform()).estimate() == 148  # 124 * 1.2 is 148.8


def test_a_circular_link_is_not_followed(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a").write_bytes(bytes(100))
    assert 120 <= Loader(str(tmp_path), TextPlatform()).estimate() < 1000


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("missing", StatusCode.NOT_FOUND, "{path}; No such file or directory"),
        ("file", StatusCode.FAILED_PRECONDITION, "{path}; Not a directory"),
    ],
)
def test_an_unreadable_directory_cannot_be_reserved(tmp_path, name, code, text):
    (tmp_path / "file").touch()
    path = str(tmp_path / name)
    with pytest.raises(CallError) as caught:
        reserve(WHO, Loader(path, TextPlatform()), Retries(0), threading.Event())
    assert caught.value.code is code
    assert caught.value.details == (
        f"Error while attempting to reserve resources to load servable {WHO}: {text.format(path=path)}"
    )


def test_a_reservation_is_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        reserve(WHO, Loader(str(tmp_path), TextPlatform()), Retries(1), threading.Event())
    assert caplog.messages == [f"Successfully reserved resources to load servable {WHO}"]


# --- one attempt -----------------------------------------------------------------------------------------------------


def test_a_load_is_warmed_up_before_it_counts(tmp_path):
    warmed = []
    path = str(put(tmp_path, 1))
    loader = Loader(path, TextPlatform(), lambda servable, where: warmed.append((servable, where)))
    servable = loader.load()
    assert warmed == [(servable, path)]
    assert not servable.closed.is_set()
    loader.unload(servable)
    assert servable.closed.is_set()


def test_a_warmup_that_fails_fails_the_attempt_and_the_servable_is_closed(tmp_path):
    platform, seen = TextPlatform(), []

    def warmup(servable, path):
        seen.append(servable)
        raise InvalidArgumentError("a record is wrong")

    with pytest.raises(InvalidArgumentError, match="a record is wrong"):
        Loader(str(put(tmp_path, 1)), platform, warmup).load()
    assert seen[0].closed.is_set()


def test_a_servable_that_fails_to_close_is_removed_anyway(tmp_path, caplog):
    class Stubborn:
        def close(self):
            raise RuntimeError("no")

    Loader(str(tmp_path), TextPlatform()).unload(Stubborn())
    assert "Closing the servable" in caplog.text


def test_a_servable_needs_no_close(tmp_path):
    Loader(str(tmp_path), TextPlatform()).unload(object())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("no such thing"), "NOT_FOUND: no such thing"),
        (FileNotFoundError(errno.ENOENT, "gone", "/a"), "NOT_FOUND: /a; No such file or directory"),
        (PermissionError(errno.EACCES, "no", "/a"), "PERMISSION_DENIED: /a; Permission denied"),
        (OSError("odd"), "UNKNOWN: /v; odd"),
        (MemoryError(), "RESOURCE_EXHAUSTED: /v: not enough memory"),
        (ConfigError("nonsense in the file"), "INVALID_ARGUMENT: ConfigError: nonsense in the file"),
        (ZeroDivisionError("a bug"), "UNKNOWN: ZeroDivisionError: a bug"),
        (CallError(StatusCode.OK, "what?"), "UNKNOWN: what?"),
    ],
)
def test_every_failure_has_a_code_and_a_text(error, status):
    assert status_text(load_error(error, "/v")) == status

    def load(path):
        raise error

    with pytest.raises(CallError) as caught:
        Loader("/v", load).load()
    assert status_text(caught.value) == status


def test_file_errors_use_the_systems_own_words():
    assert file_error(OSError(errno.ENOSPC, "x"), "/p").details == f"/p; {os.strerror(errno.ENOSPC)}"


# --- attempts --------------------------------------------------------------------------------------------------------


class Failing:
    """Fails so many times, and then returns how often it was called."""

    def __init__(self, failures):
        self.failures = failures
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise UnavailableError(f"failure {self.calls}")
        return self.calls


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_a_failed_attempt_is_retried(failures):
    assert retry("It", Failing(failures), Retries(3, 0), threading.Event()) == failures + 1


def test_after_the_last_attempt_its_error_is_raised_and_everything_logged(caplog):
    with caplog.at_level(logging.INFO), pytest.raises(UnavailableError, match="failure 3"):
        retry(f"Loading servable: {WHO}", Failing(9), Retries(2, -1), threading.Event())
    assert caplog.messages == [
        f"Loading servable: {WHO} failed: UNAVAILABLE: failure 1",
        f"Retrying of Loading servable: {WHO} retry: 1",
        f"Loading servable: {WHO} failed: UNAVAILABLE: failure 2",
        f"Retrying of Loading servable: {WHO} retry: 2",
        f"Loading servable: {WHO} failed: UNAVAILABLE: failure 3",
        f"Retrying of Loading servable: {WHO} exhausted max_num_retries: 2",
    ]


@pytest.mark.parametrize(("failures", "logged"), [(0, False), (1, False), (2, True)])
def test_the_last_attempt_is_logged_as_such_even_if_it_succeeds(caplog, failures, logged):
    with caplog.at_level(logging.INFO):
        assert retry("It", Failing(failures), Retries(2, 0), threading.Event()) == failures + 1
    assert ("Retrying of It exhausted max_num_retries: 2" in caplog.messages) is logged


def test_a_pause_is_logged(caplog):
    retry("It", Failing(1), Retries(5, 0.02), threading.Event())
    assert "It: retry 1 of 5 in 0.02 s" in caplog.messages


def test_a_missing_package_fails_without_retries(caplog):
    def attempt():
        raise MissingPackageError("install it")

    with pytest.raises(FailedPreconditionError, match="install it"):
        retry("It", attempt, Retries(5, 3600), threading.Event())
    assert caplog.messages == ["It failed: FAILED_PRECONDITION: install it"]


def test_attempts_are_separated_by_a_pause():
    started = time.monotonic()
    assert retry("It", Failing(2), Retries(5, 0.02), threading.Event()) == 3
    assert time.monotonic() - started >= 0.04


@pytest.mark.parametrize("pause", [3600, (2**63 - 1) / 1e6, float("inf")])
def test_a_pause_ends_at_once_when_the_version_is_no_longer_wanted(caplog, pause):
    cancelled, started = threading.Event(), time.monotonic()

    def attempt():
        threading.Timer(0.01, cancelled.set).start()
        raise UnavailableError("not yet")

    with caplog.at_level(logging.INFO), pytest.raises(UnavailableError, match="not yet"):
        retry("It", attempt, Retries(5, pause), cancelled)
    assert time.monotonic() - started < 5
    assert caplog.messages[-1] == "Retrying of It was cancelled."


def test_an_unwanted_version_is_never_loaded():
    cancelled, failing = threading.Event(), Failing(0)
    cancelled.set()
    with pytest.raises(CancelledError, match="Loading of servable cancelled"):
        retry("It", failing, Retries(5, 0), cancelled)
    assert failing.calls == 0


@pytest.mark.parametrize(
    "options", [{"count": -1}, {"count": True}, {"count": 1.5}, {"pause": "x"}, {"pause": float("nan")}]
)
def test_invalid_retries_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        Retries(**options)
