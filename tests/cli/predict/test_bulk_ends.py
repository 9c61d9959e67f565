"""Bulk runs that end early: killed, interrupted, or without their server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulk_runs import PATIENCE, add_look, draw, expected, greys, start, until, with_files_of
from PIL import Image
from tcp import free_port

from tfs_client import TensorSpec
from tfs_client.cli.exits import Interrupts
from tfs_client.cli.predict import command
from tfs_client.cli.predict.bulk.outputs import files_of
from tfs_client.testing import FakeServer

COUNT = 60
BATCH = 4
KINDS = ["jsonl", "csv", "npz", pytest.param("parquet", marks=pytest.mark.peer)]


class Stuck:
    """A model that blocks after the first batches until the test releases it."""

    def __init__(self, batches: int) -> None:
        self.go_on = threading.Event()
        self.seen: list[int] = []
        self._first = batches * BATCH

    def __call__(self, image: np.ndarray) -> None:
        if image[:, 0, 0, 0].max() >= self._first:  # whichever request comes first
            # Longer than a test waits for anything in between, so that it is the test that says what did not come.
            assert self.go_on.wait(3 * PATIENCE), "nobody let it go on"
        self.seen += image[:, 0, 0, 0].tolist()


@pytest.fixture
def stuck(fake_server: FakeServer) -> Iterator[Stuck]:
    stuck = Stuck(5)
    add_look(fake_server, stuck)
    yield stuck
    stuck.go_on.set()


@pytest.fixture
def arguments(fake_server: FakeServer, tmp_path: Path) -> list[str]:
    base = ["--server", fake_server.target, "--model", "look", "--image", str(tmp_path / "in")]
    return [*base, "--batch-size", str(BATCH), "--in-flight", "2"]


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_kill_and_a_resume_every_row_is_there_once(
    stuck: Stuck, arguments: list[str], tmp_path: Path, kind: str
) -> None:
    names = draw(tmp_path / "in", COUNT)
    output = tmp_path / f"r.{kind}"
    growing = Path(files_of(str(output))[-1])
    arguments += ["--output", str(output)]
    with start(*arguments) as process:
        # In their order four batches come back, or five, and then nothing more.
        until(lambda: growing.exists() and growing.read_bytes().count(names[4 * BATCH - 1].encode()) == 1)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert growing.read_bytes().count(names[5 * BATCH].encode()) == 0
    with growing.open("ab") as file:  # and the power went off with it
        file.write(b'{"image": "half a r')
    stuck.go_on.set()
    before = len(stuck.seen)
    assert command.main([*arguments, "--resume"]) == 0
    assert greys(output) == expected(names)
    assert list(greys(output)) == names
    assert sorted(stuck.seen[before:])[-1] == COUNT - 1
    assert not set(stuck.seen[before:]) & set(range(4 * BATCH))  # what was there was not asked for again


@pytest.mark.parametrize("kind", ["jsonl", "npz"])
def test_an_interrupt_keeps_finished_rows_and_prints_the_summary(
    stuck: Stuck, arguments: list[str], tmp_path: Path, kind: str
) -> None:
    names = draw(tmp_path / "in", COUNT)
    output = tmp_path / f"r.{kind}"
    growing = Path(files_of(str(output))[-1])
    arguments += ["--output", str(output)]
    with start(*arguments) as process:
        until(lambda: growing.exists() and growing.read_bytes().count(names[5 * BATCH - 1].encode()) == 1)
        process.send_signal(signal.SIGINT)
        interrupted = time.monotonic()
        out, err = process.communicate(timeout=PATIENCE)
    cut_off = time.monotonic() - interrupted >= Interrupts.CLEAN_UP
    assert (process.returncode, out) == (130, "")
    # The interrupt may come between a row's writing and its counting; and where it strikes grpc, closing its channel
    # never returns: then the clean-up is cut off, without a summary.
    summaries = [f"{COUNT} pictures: {done} done, {COUNT - done} not reached; " for done in (5 * BATCH, 5 * BATCH - 1)]
    if err or not cut_off:
        assert err.partition("\n")[2].startswith(tuple(summaries))  # below the line about the preparation
        assert err.endswith(f"; rows in {growing}; --resume continues the run\n")
    stuck.go_on.set()
    assert command.main([*arguments, "--resume"]) == 0
    assert greys(output) == expected(names)


@pytest.mark.parametrize("pause", [0.0, 0.02])
def test_interrupts_that_come_together_are_one(
    stuck: Stuck, arguments: list[str], tmp_path: Path, pause: float
) -> None:
    draw(tmp_path / "in", COUNT)
    output = tmp_path / "r.jsonl"
    with start(*arguments, "--output", output) as process:
        until(lambda: output.exists() and output.read_bytes().count(b"\n") == 5 * BATCH)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert output.read_bytes().count(b"\n") == 5 * BATCH


ENDLESS = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from tfs_client.cli import exits
with exits.Interrupts():
    try:
        print("ready", flush=True)
        threading.Event().wait()
    finally:
        print("cleaning", flush=True)
        threading.Event().wait()
"""


BLOCKED = """
import ctypes, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tfs_client.cli import exits
with exits.Interrupts():
    try:
        print("ready", flush=True)
        ctypes.CDLL(None).pause()
    finally:
        lock = ctypes.create_string_buffer(64)
        mutex = ctypes.CDLL(None)
        mutex.pthread_mutex_lock(lock)
        print("cleaning", flush=True)
        mutex.pthread_mutex_lock(lock)  # as some locks of grpc: no signal wakes it
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="locks of the C library")
def test_a_clean_up_stuck_outside_python_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            until(lambda: "S" in Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2][:3])
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "cleaning\n"
            assert process.wait(PATIENCE) == 130
        finally:
            process.kill()


@pytest.mark.parametrize("again", [True, False])
def test_a_clean_up_that_does_not_end_is_ended(again: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "cleaning\n"
            began = time.monotonic()
            while again and process.poll() is None and time.monotonic() < began + PATIENCE:
                process.send_signal(signal.SIGINT)
                time.sleep(0.05)
            assert process.wait(PATIENCE) == 130
        finally:
            process.kill()


MISSED = """
import signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
from tfs_client.cli import exits
def signalled():
    released.wait(0.2)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # where it does not end the main thread's wait
with exits.Interrupts():
    released = threading.Event()
    threading.Thread(target=signalled, daemon=True).start()
    try:
        released.wait()
    finally:
        print("cleaning", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of threads")
def test_an_interrupt_ends_a_wait_that_had_just_begun() -> None:
    ran = subprocess.run([sys.executable, "-c", MISSED], capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "cleaning\n", "")


STALLED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tfs_client import images
from tfs_client.cli.predict.command import script
read = images.read_file
images.read_file = lambda path: read(os.environ["STALLED"] if path.endswith("01.png") else path)
script()
"""


def test_an_interrupt_does_not_wait_for_a_picture_that_stalls(fake_server: FakeServer, tmp_path: Path) -> None:
    """One picture is read from a pipe without a writer, which is like a disk that does not respond."""
    add_look(fake_server)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = None

    def is_read() -> bool:
        nonlocal reader
        with suppress(OSError):
            reader = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        return reader is not None

    arguments = ["--server", fake_server.target, "--model", "look", "--image", *draw(tmp_path, 3), "--quiet"]
    environment = {**os.environ, "STALLED": str(pipe)}
    with subprocess.Popen([sys.executable, "-c", STALLED, *arguments], env=environment) as process:
        try:
            until(is_read)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
        finally:
            process.kill()
            if reader is not None:
                os.close(reader)


def test_a_run_refuses_a_pipe_as_a_picture(fake_server: FakeServer, tmp_path: Path) -> None:
    add_look(fake_server)
    draw(tmp_path / "in", 2)
    os.mkfifo(tmp_path / "in" / "pipe")
    arguments = [
        "--server",
        fake_server.target,
        "--model",
        "look",
        "--image",
        f"{tmp_path}/in/0*",
        f"{tmp_path}/in/pipe",
    ]
    output = tmp_path / "r.jsonl"
    with start(*arguments, "--output", output) as process:
        try:
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 8
    (failure,) = map(json.loads, Path(f"{output}.failed.jsonl").read_text().splitlines())
    assert "it is a pipe or a device" in failure["text"]


@pytest.mark.parametrize(("most", "code", "done"), [(2, 8, False), (3, 8, True)])
def test_too_many_failures_end_the_run(
    fake_server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], most: int, code: int, done: bool
) -> None:
    add_look(fake_server)
    names = draw(tmp_path / "in", 9)
    for name in names[2:5]:
        Path(name).write_text("no picture")
    output = tmp_path / "r.npz"
    arguments = ["--server", fake_server.target, "--model", "look", "--image", str(tmp_path / "in")]
    arguments += ["--output", str(output), "--max-failures", str(most)]
    assert command.main(arguments) == code
    err = capsys.readouterr().err
    assert output.exists() is done
    assert ("more than --max-failures 2 pictures failed" in err) is not done
    assert ("--resume continues the run" in err) is not done
    draw(tmp_path / "in", 9)
    assert command.main([*arguments, "--resume"]) == 0
    assert greys(output) == expected(names)


def test_options_that_fit_no_picture_fail_before_any_is_sent(
    fake_server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_look(fake_server)
    add_sized(fake_server)
    names = draw(tmp_path / "in", 3)
    Path(names[0]).write_text("no picture")
    base = ["--server", fake_server.target, "--image", str(tmp_path / "in"), "--output", str(tmp_path / "r.csv")]
    for given, message in [
        (("--model", "look", "--dtype", "float32"), "expected dtype uint8, as the input is uint8 (?, ?, ?, 3)"),
        (("--model", "look", "--encoded"), "expects an input of strings"),
        (("--model", "sized", "--size", "5x5"), "expected size 4x4"),
        (("--model", "sized", "--image-input", "image"), "'factor' is missing"),
    ]:
        factor = () if "--image-input" in given else ("--input", "factor=1") if "sized" in given else ()
        assert command.main([*base, *given, *factor]) == 2, given
        assert message in capsys.readouterr().err
    assert not [call for call in fake_server.calls if call.method == "Predict"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def add_sized(server: FakeServer) -> None:
    server.add_model(
        "sized",
        lambda image, factor: {"y": image[:, 0, 0, 0] * factor},
        inputs={"image": TensorSpec("uint8", (None, 4, 4, 3)), "factor": TensorSpec("uint8", ())},
        outputs={"y": TensorSpec("uint8", (None,))},
    )


def test_warnings_are_lines_of_the_command(fake_server: FakeServer, tmp_path: Path) -> None:
    add_look(fake_server)
    picture = tmp_path / "x.jpg"
    Image.new("L", (9, 9)).save(picture, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0")  # it ends before its entries
    arguments = ["--server", fake_server.target, "--model", "look", "--size", "4x4", "--image", picture]
    with start(*arguments, "--output", tmp_path / "r.jsonl", "--quiet") as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert err.splitlines()
    assert all(line.startswith("tfs-predict: warning: Corrupt EXIF data") for line in err.splitlines())


class Leaving:
    """A model that has something done when it is called for the third time, by another thread."""

    def __init__(self, leave: Any) -> None:
        self.thread = threading.Thread(target=leave)
        self._calls = 0

    def __call__(self, image: np.ndarray) -> None:
        self._calls += 1
        if self._calls == 3:
            self.thread.start()


def test_losing_the_server_ends_the_run_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = draw(tmp_path / "in", COUNT)
    output = tmp_path / "r.jsonl"
    with FakeServer() as server:
        leaving = Leaving(server.stop)
        add_look(server, leaving)
        arguments = ["--model", "look", "--image", str(tmp_path / "in"), "--output", str(output), "--timeout", "1"]
        code = command.main(["--server", server.target, *arguments, "--batch-size", "2", "--in-flight", "1"])
        leaving.thread.join()
    assert code == 3
    done = greys(output)
    assert 0 < len(done) < COUNT
    assert done == expected(names[: len(done)])
    assert not Path(f"{output}.failed.jsonl").exists()
    err = capsys.readouterr().err
    assert f"{len(done)} done, {COUNT - len(done)} not reached; " in err
    assert "UNAVAILABLE" in err.splitlines()[-1]
    with FakeServer() as server:
        add_look(server)
        assert command.main(["--server", server.target, *arguments, "--resume"]) == 0
    assert greys(output) == expected(names)


def test_a_run_waits_for_a_restarted_server(tmp_path: Path) -> None:
    names = draw(tmp_path / "in", COUNT)
    output = tmp_path / "r.jsonl"
    port = free_port()
    with FakeServer(port=port) as first:
        second = FakeServer(port=port)
        add_look(second)

        def replace() -> None:
            first.stop()
            second.start()

        leaving = Leaving(replace)
        add_look(first, leaving)
        arguments = ["--server", first.target, "--model", "look", "--image", str(tmp_path / "in")]
        code = command.main([*arguments, "--output", str(output), "--batch-size", "2"])
        leaving.thread.join()
        second.stop()
    assert code == 0
    assert greys(output) == expected(names)


def test_losing_the_model_ends_the_run_with_4(
    fake_server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "in", COUNT)
    add_look(fake_server, Leaving(lambda: fake_server.remove_model("look")))
    add_look(fake_server, model="other")
    arguments = ["--server", fake_server.target, "--model", "look", "--image", str(tmp_path / "in")]
    assert command.main([*arguments, "--batch-size", "1", "--in-flight", "1", "--failures", str(tmp_path / "f")]) == 4
    out, err = capsys.readouterr()
    assert 0 < len(out.splitlines()) < COUNT
    assert "NOT_FOUND" in err.splitlines()[-1]
    assert not (tmp_path / "f").exists()


def test_a_disk_that_is_full_ends_the_run_with_1_and_without_half_a_row(
    fake_server: FakeServer, tmp_path: Path
) -> None:
    pytest.importorskip("resource")
    names = draw(tmp_path / "in", COUNT)
    add_look(fake_server)
    output = tmp_path / "r.jsonl"
    limit = 4000  # bytes that a file of the process may have; a write beyond is cut off there

    arguments = ["--server", fake_server.target, "--model", "look", "--image", tmp_path / "in", "--output", output]
    with start(*arguments, first=with_files_of(limit)) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert "File too large" in err.splitlines()[-1]
    done = greys(output)
    assert done == expected(names[: len(done)])
    assert limit - 500 < output.stat().st_size <= limit
    assert command.main([*map(str, arguments), "--resume"]) == 0
    assert greys(output) == expected(names)


def test_a_closed_pipe_ends_it_quietly(fake_server: FakeServer, tmp_path: Path) -> None:
    draw(tmp_path / "in", COUNT)
    add_look(fake_server)
    with start("--server", fake_server.target, "--model", "look", "--image", tmp_path / "in", "--quiet") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["outputs"]["grey"]["values"] == 0
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 0


def test_a_run_in_progress_elsewhere_is_left_alone(stuck: Stuck, arguments: list[str], tmp_path: Path) -> None:
    names = draw(tmp_path / "in", COUNT)
    output = tmp_path / "r.jsonl"
    arguments += ["--output", str(output)]
    with start(*arguments) as process:
        until(lambda: output.exists() and output.read_bytes().count(b"\n") >= BATCH)
        for wish in ("--resume", "--overwrite"):
            assert command.main([*arguments, wish]) == 2
        stuck.go_on.set()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert greys(output) == expected(names)
