"""SIGHUP: the model config file is read again; without one, or without its terminal, the program shuts down."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import termios

import pytest
from served_program import Program, put_scale, until, write_config

from tfs_client import PredictClient
from tfs_client.cli.signals import Signals


@contextlib.contextmanager
def serving(*arguments, **options):
    program = Program(*arguments, **options)
    try:
        yield program
    finally:
        program.close()


@pytest.fixture
def terminal():
    """The two ends of a terminal."""
    ends = os.openpty()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def times(program, text):
    return program.log.count(text)


def test_the_config_file_is_read_again_until_the_terminal_is_closed(tmp_path, terminal):
    ours, theirs = terminal
    file, first, second = tmp_path / "models.config", tmp_path / "first", tmp_path / "second"
    write_config(file, first)
    with serving(
        tmp_path,
        "--model_config_file=models.config",
        "--file_system_poll_wait_seconds=1",
        ready="The ports open once every model of the configuration is served",
        stdin=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
    ) as program:
        os.close(theirs)
        program.send(signal.SIGHUP)
        program.until_logged("SIGHUP: models.config will be read again after startup")
        put_scale(first, 1, 3.0)
        program.until_logged("SIGHUP: reading models.config again")
        until(lambda: times(program, "Finished adding/updating models") == 2)

        put_scale(second, 1, 5.0)
        write_config(file, first, second)
        for _ in range(3):
            program.send(signal.SIGHUP)
        with PredictClient(program.target, timeout=20) as client:
            until(lambda: times(program, "Successfully loaded servable version {name: second version: 1}") == 1)
            until(lambda: client.status(model="second").available)
            assert client.predict({"x": [1.0]}, model="second")["y"].tolist() == [5.0]
            file.write_text("nonsense")
            program.send(signal.SIGHUP)
            program.until_logged("Failed to read ModelServerConfig file: ")
            assert client.predict({"x": [1.0]}, model="first")["y"].tolist() == [3.0]

        os.close(ours)
        assert program.ended() == 0
        assert "SIGHUP: stopping" in program.log
        assert "Stopped" in program.log


def test_without_a_config_file_the_program_shuts_down(tmp_path):
    with serving(tmp_path, "--embedded") as program:
        program.send(signal.SIGHUP)
        assert program.ended() == 0
        assert "SIGHUP: stopping" in program.log


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_an_ignored_signal_stays_ignored(before):
    """As under nohup."""
    kept = signal.signal(signal.SIGHUP, before)
    try:
        with Signals():
            assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) == (before is signal.SIG_IGN)
        assert signal.getsignal(signal.SIGHUP) is before
    finally:
        signal.signal(signal.SIGHUP, kept)
