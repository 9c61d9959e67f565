"""tfs-bench with client processes, and a comparison: too slow for the base suite."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfs_client import PredictClient, TensorSpec
from tfs_client.cli.bench.command import main
from tfs_client.testing import FakeServer

pytestmark = pytest.mark.peer

PIXELS = TensorSpec("uint8", (None, 4, 4, 3))


@pytest.fixture
def served(fake_server: FakeServer) -> FakeServer:
    def mean(image: Any) -> Any:
        return image.mean(axis=(1, 2, 3), dtype=np.float32)

    fake_server.add_model("m", mean, inputs={"image": PIXELS}, outputs={"y": TensorSpec("float32", (None,))})
    return fake_server


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_every_process_sends_the_same_pictures_and_checks_the_answers(
    served: FakeServer, transport: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        Image.new("RGB", (8, 8), (number, 50, 200)).save(tmp_path / f"{number}.png")
    target = served.target if transport == "grpc" else served.rest_url
    words = [target, "--model", "m", "--image", str(tmp_path), "--rows", "2", "--concurrency", "4"]
    code = main([*words, "--processes", "2", "--check", "first", "--duration", "1s", "--json"])
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert code == 0
    assert stage["answered"] == stage["good"] > 10
    assert stage["rows"] == 2 * stage["answered"]


def test_a_recording_is_dealt_out(served: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "calls.tfrecord"
    with PredictClient(served.target, model="m", record=path) as client:
        for number in range(9):
            client.predict({"image": np.full((number + 1, 4, 4, 3), number, np.uint8)})
    words = [served.target, "--recording", str(path), "--pace", "0.5", "--check", "recorded", "--processes", "2"]
    code = main([*words, "--json"])
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert (code, stage["answered"], stage["rows"], stage["wrong"]) == (0, 9, 45, 0)


def test_two_servers_are_compared(served: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    words = [served.target, "--model", "m", "--input", "image=" + json.dumps(np.ones((1, 4, 4, 3), int).tolist())]
    options = ["--pairs", "8", "--duration", "500ms", "--warmup", "0", "--tolerance", "1000", "--json"]
    code = main([*words, "--compare", served.rest_url, *options])
    found = json.loads(capsys.readouterr().out)["comparison"]
    assert code == 0
    assert (found["base"], found["target"], found["worse"]) == (served.rest_url, served.target, False)
    assert [change["decides"] for change in found["changes"]] == [True, False, False]


def test_a_killed_client_process_is_an_error_with_what_was_measured(
    served: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill_one() -> None:
        while len(served.calls) < 1000:
            time.sleep(0.05)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    code = main([served.target, "--model", "m", "--processes", "2", "--duration", "1h", "--warmup", "0", "--json"])
    killer.join()
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert code == 1
    assert "was killed by signal 9 before its part of the load was done, which ended the stage" in err
    assert any("was killed by signal 9" in note for note in found["notes"])
    assert found["interrupted"]
    assert [stage["verdict"] for stage in found["stages"]] == ["interrupted"]


def running(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        if int(of) == group and state != "Z":  # in a container, nothing may collect zombies
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="lists processes as Linux does")
@pytest.mark.parametrize("later", [0.0, 0.1])
def test_ctrl_c_while_processes_start_prints_no_traceback(served: FakeServer, later: float) -> None:
    words = [served.target, "--model", "m", "--processes", "8", "--duration", "1h"]
    with subprocess.Popen(
        [sys.executable, "-m", "tfs_client.cli.bench", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout is not None
        assert "8 different requests" in program.stdout.readline()
        time.sleep(later)
        os.killpg(program.pid, signal.SIGINT)
        out, err = program.communicate(timeout=30)
    assert (program.returncode, out.strip()) == (130, "")
    assert err in ("", "tfs-bench: interrupted before anything was measured\n")  # a slow end is cut short
    deadline = time.monotonic() + 10
    while running(program.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(program.pid) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="lists processes as Linux does")
def test_ctrl_c_ends_all_processes_and_prints_what_was_measured(served: FakeServer) -> None:
    words = [served.target, "--model", "m", "--processes", "2", "--duration", "1h", "--warmup", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "tfs_client.cli.bench", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        deadline = time.monotonic() + 60
        while len(served.calls) < 1000 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does
        out, err = program.communicate(timeout=30)
    assert program.returncode == 130, err
    assert re.search("^1 in flight +[1-9]", out, re.MULTILINE)
    deadline = time.monotonic() + 10
    while running(program.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(program.pid) == []
