"""Bulk runs that do not come to their end by themselves: killed, interrupted, left by their server."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulk_runs import PATIENCE, add_look, draw, expected, greys, start, until

from tfs_client.cli import predict as command
from tfs_client.cli.bulk.outputs import files_of
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

COUNT = 60
BATCH = 4
KINDS = ["jsonl", "csv", "npz", pytest.param("parquet", marks=pytest.mark.peer)]


class Stuck:
    """A model that stops answering after some calls, until it is let go on."""

    def __init__(self, calls: int) -> None:
        self.go_on = threading.Event()
        self.seen: list[int] = []
        self._left = calls

    def __call__(self, image: np.ndarray) -> None:
        self._left -= 1
        if self._left < 0:
            assert self.go_on.wait(PATIENCE), "nobody let it go on"
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
def test_an_interrupt_keeps_what_is_done_and_sums_up(
    stuck: Stuck, arguments: list[str], tmp_path: Path, kind: str
) -> None:
    names = draw(tmp_path / "in", COUNT)
    output = tmp_path / f"r.{kind}"
    growing = Path(files_of(str(output))[-1])
    arguments += ["--output", str(output)]
    with start(*arguments) as process:
        until(lambda: growing.exists() and growing.read_bytes().count(names[5 * BATCH - 1].encode()) == 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert err.startswith(f"{COUNT} pictures: {5 * BATCH} done, {COUNT - 5 * BATCH} not reached; ")
    assert err.endswith(f"; rows in {growing}; --resume goes on\n")
    stuck.go_on.set()
    assert command.main([*arguments, "--resume"]) == 0
    assert greys(output) == expected(names)


class Leaving:
    """A model that has something done when it is called for the third time, by another thread."""

    def __init__(self, leave: Any) -> None:
        self.thread = threading.Thread(target=leave)
        self._calls = 0

    def __call__(self, image: np.ndarray) -> None:
        self._calls += 1
        if self._calls == 3:
            self.thread.start()


def test_a_server_that_goes_away_ends_the_run_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_server_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    names = draw(tmp_path / "in", COUNT)
    output = tmp_path / "r.jsonl"
    with FakeServer() as first:
        second = FakeServer(ServerConfig(port=int(first.target.rpartition(":")[2])))
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


def test_a_model_that_goes_away_ends_the_run_with_4(
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
    resource = pytest.importorskip("resource")
    names = draw(tmp_path / "in", COUNT)
    add_look(fake_server)
    output = tmp_path / "r.jsonl"
    limit = 4000  # bytes that a file of the process may have; a write beyond is cut off there

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    arguments = ["--server", fake_server.target, "--model", "look", "--image", tmp_path / "in", "--output", output]
    with start(*arguments, preexec_fn=limited) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "File too large" in err.splitlines()[-1]
    done = greys(output)
    assert done == expected(names[: len(done)])
    assert limit - 500 < output.stat().st_size <= limit
    assert command.main([*map(str, arguments), "--resume"]) == 0
    assert greys(output) == expected(names)


def test_a_reader_that_has_enough_ends_it_quietly(fake_server: FakeServer, tmp_path: Path) -> None:
    draw(tmp_path / "in", COUNT)
    add_look(fake_server)
    with start("--server", fake_server.target, "--model", "look", "--image", tmp_path / "in", "--quiet") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["outputs"]["grey"]["values"] == 0
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 0


def test_a_run_that_another_one_is_at_is_left_alone(stuck: Stuck, arguments: list[str], tmp_path: Path) -> None:
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
