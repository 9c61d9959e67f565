"""tfs-admin record: run in this process, in front of real servers, until a signal."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from certificates import certificates

from tfs_client import PredictClient
from tfs_client.cli.admin import command
from tfs_client.recordings import RecordingFile
from tfs_client.testing import FakeServer

TOKEN = "sesame-07ac"
PATIENCE = 30


class Printed:
    """Standard output, line by line, for another thread."""

    def __init__(self) -> None:
        self.lines: SimpleQueue[str] = SimpleQueue()
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self.lines.put(line)
        return len(text)

    def flush(self) -> None:
        pass

    def next(self) -> str:
        return self.lines.get(timeout=PATIENCE)

    def left(self) -> list[str]:
        found = []
        while not self.lines.empty():
            found.append(self.lines.get())
        return found


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Run the command; ``calls`` gets the addresses, and then a signal ends it. Returns exit code and last lines."""
    monkeypatch.delenv("TFS_TOKEN", raising=False)
    monkeypatch.delenv("TFS_SERVER", raising=False)

    def run(
        arguments: list[object],
        calls: Callable[[list[str]], None],
        ports: int,
        ending: signal.Signals = signal.SIGTERM,
    ) -> tuple[int, list[str]]:
        printed = Printed()
        monkeypatch.setattr(sys, "stdout", printed)
        done: Future[None] = Future()

        def caller() -> None:
            try:
                addresses = [printed.next().split(": ", 1)[1].split(" ")[0] for _ in range(ports)]
                calls(addresses)
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)
            finally:
                os.kill(os.getpid(), ending)

        threading.Thread(target=caller, daemon=True).start()
        code = command.main(["record", *map(str, arguments)])
        done.result(PATIENCE)
        return code, printed.left()

    return run


def test_calls_are_in_the_file_when_a_signal_ends_the_recording(
    record: Any, double: FakeServer, tmp_path: Path
) -> None:
    path = tmp_path / "calls"

    def calls(addresses: list[str]) -> None:
        for address in addresses:
            with PredictClient(address, model="double", token=TOKEN) as client:
                client.predict({"x": np.ones(2, np.float32)})
        with PredictClient(addresses[0], model="double") as client:
            client.models()

    arguments = ["--server", double.target, "--rest-server", double.rest_url, "-o", path]
    code, lines = record(arguments, calls, 2)
    assert code == 0
    # The client over REST has looked up the signature.
    assert lines == [f"{path}: 3 calls recorded; 1 not recorded:", "  1: calls of /tfs_client.ModelService/ListModels"]
    found = [each.method for each in RecordingFile.read(path).episodes]
    assert sorted(found) == ["GetModelMetadata", "Predict", "Predict"]
    assert json.loads(Path(f"{path}.json").read_text())["version"] == 1
    for file in tmp_path.iterdir():
        assert TOKEN.encode() not in file.read_bytes()
    code, lines = record([*arguments, "--append"], lambda addresses: None, 2)
    assert (code, lines) == (0, [f"{path}: 0 calls recorded"])


def test_a_rest_server_alone_is_recorded_until_an_interrupt(record: Any, double: FakeServer, tmp_path: Path) -> None:
    def calls(addresses: list[str]) -> None:
        with PredictClient(addresses[0], model="double") as client:
            client.predict({"x": np.ones(2, np.float32)})

    code, lines = record(["--server", double.rest_url, "-o", tmp_path / "calls"], calls, 1, signal.SIGINT)
    assert (code, lines) == (0, [f"{tmp_path / 'calls'}: 2 calls recorded"])


def test_a_file_that_cannot_be_written_is_an_error_at_the_end(
    record: Any, double: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()

    def calls(addresses: list[str]) -> None:
        folder.rmdir()
        with PredictClient(addresses[0], model="double") as client:
            assert client.predict({"x": np.ones(1, np.float32)})["y"] == 2

    code, lines = record(["--server", double.target, "-o", folder / "calls"], calls, 1)
    assert code == 1
    assert "0 calls recorded; 1 not recorded" in lines[0]
    assert "calls are forwarded all the same" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "EXISTS"], "exists: use another name for -o, or --append"),
        (["-o", "SIDECAR"], "sidecar.json exists: use another name for -o, or --append"),
        (["-o", "FOLDER/none/calls"], "none/calls': expected a folder"),
        (["-o", "FOLDER", "--append"], "it is a folder"),
        (["-o", "CLOSED/calls"], "closed/calls': no permission to write"),
        (["-o", "new", "--rest-port", "1"], "--rest-port needs the server's REST port"),
        (["-o", "new", "--server", "http://tfs:8501", "--port", "1"], "--port is for gRPC"),
        (["-o", "new", "--server", "http://tfs:8501", "--rest-server", "http://tfs:8501"], "expected the gRPC port"),
        (["-o", "new", "--rest-server", "tfs:8501"], "expected http://host:port"),
        (["-o", "new", "--host", "203.0.113.1"], "cannot listen at 203.0.113.1"),
    ],
)
def test_arguments_that_cannot_be_used(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("exists", "sidecar.json"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "closed").mkdir()
    closed = os.path.realpath(tmp_path / "closed")
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed)  # the superuser may write anywhere
    places = {"FOLDER": str(tmp_path)} | {
        name.upper(): str(tmp_path / name) for name in ("exists", "sidecar", "closed")
    }
    for name, place in places.items():
        arguments = [text.replace(name, place) for text in arguments]
    code = command.main(["record", *arguments])
    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert said in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("profile", "arguments", "said"),
    [
        ("server = 'a:1'\ntoken = 'abc'", ["--rest-server", "http://b:2"], "its server is a:1, and the REST server is"),
        ("server = 'grpcs://a:1'\ntoken = 'abc'", ["--rest-server", "http://a:2"], "its credentials (token) are for"),
        ("server = 'a:1'\nca = 'ca.pem'\ntoken = 'abc'", ["--rest-server", "http://a:2"], "its credentials (token)"),
        ("server = 'a:1'\ntoken = 'abc'", ["--rest-server", "http://a:2", "-o", "none/f"], "expected a folder"),
        ("token = 'abc'", ["--server", "a:1", "--rest-server", "http://b:2", "-o", "none/f"], "expected a folder"),
        ("token = 'abc'\nmetadata.authorization = 'x'", [], "token= and"),
    ],
)
def test_credentials_of_a_profile_go_to_its_own_server_only(
    profile: str, arguments: list[str], said: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.toml").write_text(profile)
    (tmp_path / "p.toml").chmod(0o600)
    (tmp_path / "ca.pem").write_bytes(certificates().ca)
    assert command.main(["record", "--profile", "p.toml", "-o", "calls", *arguments]) == 2
    assert said.replace("token=", "--token (TFS_TOKEN)") in capsys.readouterr().err
    assert not (tmp_path / "calls").exists()
