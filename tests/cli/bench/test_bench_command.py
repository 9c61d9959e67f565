"""The command tfs-bench as a whole, against a real server."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tfs_client import PredictClient, TensorSpec
from tfs_client.cli.bench import arguments
from tfs_client.cli.bench.command import main
from tfs_client.cli.bench.contradictions import check
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report.run_results import KneeResult, Results, Run, StageResult
from tfs_client.cli.bench.reporting import code_of
from tfs_client.cli.bench.stages import OpenLoop, Stage
from tfs_client.testing import FakeServer

TABLE = TensorSpec("float32", (None, 2))
DOCS = Path(__file__).parents[3] / "docs"
SHORT = ("--duration", "80ms", "--warmup", "0")


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def served(fake_server: FakeServer) -> FakeServer:
    fake_server.add_model("m", lambda x: 2 * x, inputs={"x": TABLE}, outputs={"y": TABLE})
    return fake_server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    for name in ("TFS_SERVER", "TFS_MODEL", "TFS_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: object) -> Ran:
        code = main(list(map(str, words)))
        return Ran(code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("transport", ["gRPC", "REST"])
def test_the_first_line_says_what_is_sent_and_a_table_what_came_back(
    served: FakeServer, run: Callable[..., Ran], transport: str
) -> None:
    target = served.target if transport == "gRPC" else served.rest_url
    ran = run(target, "--model", "m", "--rows", 3, "--concurrency", 2, *SHORT)
    first, _, header, row, *_ = ran.out.splitlines()
    version = " version 1" if transport == "gRPC" else ""  # replies over REST do not say
    assert first == f"{target} ({transport}), model m{version}: 8 different requests, random values: x float32 (3, 2)"
    assert header.startswith("LOAD ")
    assert row.startswith("2 in flight ")
    assert ran.code == 0


def test_json_has_every_stage(served: FakeServer, run: Callable[..., Ran], tmp_path: Path) -> None:
    options = ("--rate", "200", "--arrivals", "fixed", "--seed", "3")
    ran = run(served.target, "--model", "m", *options, *SHORT, "--json")
    assert [stage["load"]["rate"] for stage in ran.json["stages"]] == [200]
    assert all(stage["answered"] == stage["sent"] > 3 for stage in ran.json["stages"])
    assert ran.json["run"]["version"] == 1
    assert ran.json["run"]["parameters"]["arrivals"] == "fixed"
    path = tmp_path / "out.json"
    assert run(served.target, "--model", "m", *SHORT, "--json", path, "--quiet").out.startswith("LOAD")
    assert json.loads(path.read_text())["stages"][0]["answered"] > 0


def test_secrets_are_in_no_report(served: FakeServer, run: Callable[..., Ran]) -> None:
    ran = run(served.target, "--model", "m", "--metadata", "x-key=hidden1", "--token", "hidden2", *SHORT, "--json")
    assert ran.json["stages"]
    assert "hidden" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--model", "nope"), 4, "NOT_FOUND"),
        (("--model", "m", "--signature", "nope"), 2, "has no signature 'nope'; its signatures: serving_default"),
        (("--model", "m", "--shape", "x=?,3"), 2, "input 'x' expects float32 (?, 2), got (1, 3)"),
        (("--model", "m", "--input", "x=[[1]]"), 4, "size 2 on axis 1, got 1"),
        ((), 2, "no model given: use --model NAME"),
        (("--model", "m", "--json", "/nowhere/out.json"), 2, "--json: cannot write '/nowhere/out.json'"),
        (("--model", "m", "--check", "last"), 2, "expected --check first, recorded or FILE.npz, got 'last'"),
        (("--model", "m", "--compare", "a:1", "--pairs", "2"), 2, "--pairs: expected at least 8, got 2"),
        (("--model", "m", "--json", ""), 2, "--json: expected the name of a file, got ''"),
        (("--model", "m", "--find-knee", "concurrency", "--bound", "1s", "--highest", "2.5"), 2, "--highest: expected"),
        (("--model", "m", "--json", "x", "--html", "x"), 2, "expected different files, got 'x' for both"),
        (("--model", "m", "--metrics", "localhost"), 2, "--metrics: expected host:port or http://host:port"),
    ],
)
def test_errors_come_before_the_load(
    served: FakeServer, run: Callable[..., Ran], words: tuple[str, ...], code: int, text: str
) -> None:
    ran = run(served.target, *words, "--duration", "1h")
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert text in ran.err
    assert "LOAD" not in ran.out
    assert code == 4 or "Predict" not in {call.method for call in served.calls}


def test_a_closed_standard_output_is_an_error_before_the_load(
    served: FakeServer, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)  # what Python does if it is closed
        ran = run(served.target, "--model", "m", "--duration", "1h")
    assert (ran.code, ran.err) == (1, "tfs-bench: standard output, where the results go, is closed\n")


def test_a_server_that_is_not_there_is_unreachable(run: Callable[..., Ran]) -> None:
    ran = run("localhost:1", "--model", "m", "--timeout", "5")
    assert ran.code == 3
    assert "is the server running" in ran.err


def test_random_values_that_a_model_refuses_are_named(served: FakeServer, run: Callable[..., Ran]) -> None:
    def refuse(x: Any) -> Any:
        raise ValueError("expected dates")

    served.add_model("picky", refuse, inputs={"x": TABLE}, outputs={"y": TABLE})
    ran = run(served.target, "--model", "picky")
    assert ran.code == 4
    assert "note: the refused values were random; use --input" in ran.err
    assert "expected dates" in ran.err
    served.add_model("broken", lambda x: {}, inputs={"x": TABLE}, outputs={"y": TABLE})
    ran = run(served.target, "--model", "broken")
    assert (ran.code, "INTERNAL" in ran.err, "made up" in ran.err) == (4, True, False)


def test_answers_are_compared_with_the_first_ones(served: FakeServer, run: Callable[..., Ran]) -> None:
    ran = run(served.target, "--model", "m", "--check", "first", *SHORT, "--json")
    (stage,) = ran.json["stages"]
    assert (ran.code, stage["wrong"]) == (0, 0)
    count = iter(range(10**9))
    # The first calls, those of the trial, get equal answers.
    served.add_model("drifts", lambda x: x + (next(count) >= 2), inputs={"x": TABLE}, outputs={"y": TABLE})
    ran = run(served.target, "--model", "drifts", "--distinct", 1, "--check", "first", *SHORT, "--json")
    (stage,) = ran.json["stages"]
    assert ran.code == 8
    assert stage["wrong"] == stage["answered"] > 0
    assert stage["good"] == 0
    assert "'y': 2 of 2 values differ, by at most 1" in stage["wrong_sample"]


def test_answers_are_compared_with_a_file(served: FakeServer, run: Callable[..., Ran], tmp_path: Path) -> None:
    for name, value in (("right", 2.0), ("wrong", 3.0)):
        np.savez(tmp_path / f"{name}.npz", y=np.full((1, 2), value, np.float32))
    sent = (served.target, "--model", "m", "--input", "x=[[1, 1]]", *SHORT, "--json", "--check")
    right, wrong = (run(*sent, tmp_path / f"{name}.npz") for name in ("right", "wrong"))
    assert (right.code, right.json["stages"][0]["wrong"]) == (0, 0)
    assert wrong.code == 8
    assert "expected 3.0, got 2.0" in wrong.json["stages"][0]["wrong_sample"]
    assert run(*sent, tmp_path / "wrong.npz", "--atol", 1).code == 0


def test_a_recording_is_sent_at_its_pace(served: FakeServer, run: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "calls.tfrecord"
    with PredictClient(served.target, model="m", record=path) as client:
        for number in range(3):
            client.predict({"x": np.full((number + 1, 2), number, np.float32)})
    ran = run(served.target, "--recording", path, "--pace", 2, "--check", "recorded", "--json")
    (stage,) = ran.json["stages"]
    assert stage["load"]["kind"] == "recorded"
    assert (stage["answered"], stage["rows"], stage["wrong"]) == (3, 6, 0)
    assert ran.json["run"]["requests"] == "3 recorded calls (3 Predict)"
    assert ran.json["run"]["model"] == "m"
    assert ran.json["notes"] == []
    assert ran.code == 0
    ran = run(served.target, "--recording", path, "--pace", "0.000001", "--duration", "80ms", "--json")
    assert ran.json["notes"] == ["--duration ends before the recording: the last 2 of its 3 calls are not sent"]


def test_a_recording_is_sent_to_the_version_of_each_target(
    fake_server: FakeServer, run: Callable[..., Ran], tmp_path: Path
) -> None:
    vector = TensorSpec("float32", (None,))
    for version in (1, 2, 3):
        fake_server.add_model("m", lambda x: x, inputs={"x": vector}, outputs={"y": vector}, version=version)
    path = tmp_path / "calls.tfrecord"
    with PredictClient(fake_server.target, model="m", record=path) as client:
        client.predict({"x": np.float32([1])}, version=3)
    words = (fake_server.target, "--recording", path, "--compare", fake_server.target, "--pairs", 8)
    for versions, called in (
        (("--version", 2, "--compare-version", 1), {1, 2}),
        (("--compare-version", 1), {1, 3}),
        (("--version", 2), {2}),
    ):
        fake_server.clear_calls()
        ran = run(*words, *versions, "--duration", "100ms", "--warmup", "5ms", "--json")
        assert ran.code in (0, 9), ran.err
        assert {call.version for call in fake_server.calls} == called


def test_a_recording_that_is_damaged_or_empty_ends_the_command(run: Callable[..., Ran], tmp_path: Path) -> None:
    damaged, empty = tmp_path / "damaged", tmp_path / "empty"
    damaged.write_bytes(b"no record" * 9)
    empty.touch()
    ran = run("127.0.0.1:9", "--recording", damaged)
    assert ran.code == 1
    assert "is damaged at offset 0" in ran.err
    assert ". In Python, RecordingFile.write" in ran.err
    ran = run("127.0.0.1:9", "--recording", empty)
    assert ran.code == 2
    assert "expected calls to send, got no calls at all" in ran.err


def test_failed_requests_have_their_own_exit_code(served: FakeServer, run: Callable[..., Ran]) -> None:
    count = iter(range(10**9))

    def fail(x: Any) -> Any:
        if next(count) >= 1:
            raise ValueError("out of coffee")
        return x

    served.add_model("tired", fail, inputs={"x": TABLE}, outputs={"y": TABLE})
    ran = run(served.target, "--model", "tired", "--distinct", 1, *SHORT)
    assert ran.code == 8
    assert re.search(r"\d+ x INVALID_ARGUMENT, such as: .*out of coffee", ran.out)


def test_samples_of_failed_requests_name_the_commands_options(served: FakeServer, run: Callable[..., Ran]) -> None:
    count = iter(range(10**9))

    def hang(x: Any) -> Any:
        if next(count) >= 1:
            time.sleep(0.5)
        return x

    served.add_model("stuck", hang, inputs={"x": TABLE}, outputs={"y": TABLE})
    ran = run(served.target, "--model", "stuck", "--distinct", 1, "--timeout", 0.2, "--duration", "50ms", "--warmup", 0)
    assert ran.code == 8
    assert "1 x DEADLINE_EXCEEDED, such as: " in ran.out
    assert "--timeout S sets another limit" in ran.out
    assert "timeout= sets" not in ran.out


def test_a_stage_that_is_too_short_for_a_request_is_no_success(served: FakeServer, run: Callable[..., Ran]) -> None:
    def slow(x: Any) -> Any:
        time.sleep(0.3)
        return x

    served.add_model("slow", slow, inputs={"x": TABLE}, outputs={"y": TABLE})
    ran = run(served.target, "--model", "slow", "--distinct", 1, "--warmup", "50ms", "--duration", "50ms")
    assert ran.code == 8
    assert "note: no request of the stage 1 in flight was meant to start within the measured 50.0 ms" in ran.out


@pytest.mark.parametrize(("held", "code"), [(None, 9), (100.0, 0)])
def test_a_bound_that_no_load_keeps_has_its_own_exit_code(held: float | None, code: int) -> None:
    about = Run("tfs:8500", "grpc", "m", 1, "", "1 request", {}, datetime.now(timezone.utc))
    failing = Measured(unsent=1)  # searches reach overload, and the command has not failed then
    stages = [StageResult(Stage(OpenLoop(200.0), 1.0), failing)]
    knee = KneeResult("rate", 0.05, 0.99, held, 200.0)
    assert code_of(Results(about, stages, knee)) == code
    assert code_of(Results(about, stages)) == 8


def test_ctrl_c_prints_what_was_measured(served: FakeServer, run: Callable[..., Ran]) -> None:
    began = time.monotonic()
    main_thread = threading.get_ident()
    interrupted = threading.Event()

    def model(x: Any) -> Any:
        if time.monotonic() > began + 0.5 and not interrupted.is_set():
            interrupted.set()
            signal.pthread_kill(main_thread, signal.SIGINT)
        return x

    served.add_model("m2", model, inputs={"x": TABLE}, outputs={"y": TABLE})
    began = time.monotonic()
    ran = run(served.target, "--model", "m2", "--duration", "1h", "--warmup", "0")
    assert ran.code == 130
    assert re.search("^1 in flight +[1-9]", ran.out, re.MULTILINE)
    assert "note: the run was interrupted; its last stage is incomplete" in ran.out


def test_a_report_shows_the_run(served: FakeServer, run: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert run(served.target, "--model", "m", "--html", path, *SHORT).code == 0
    page = path.read_text()
    assert "Load test of m version 1" in page
    assert "8 different requests, random values: x float32 (1, 2)" in page


def test_help_imports_neither_numpy_nor_grpc() -> None:
    code = "import sys\nfrom tfs_client.cli.bench.arguments import parser\nparser().format_help()\n"
    code += "print(sorted({'numpy', 'grpc', 'httpx', 'PIL', 'rich'} & sys.modules.keys()))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"


def commands(text: str) -> list[str]:
    return re.findall(r"^ *(?:\$ )?tfs-bench ([^|\n`]+)$", text, re.MULTILINE)


@pytest.mark.parametrize("place", ["--help", "tfs-bench.md"])
def test_documented_commands_are_understood(place: str) -> None:
    found = commands(arguments.EXAMPLES if place == "--help" else (DOCS / place).read_text())
    assert len(found) > 5
    for line in found:
        check(arguments.parse(shlex.split(line)))
