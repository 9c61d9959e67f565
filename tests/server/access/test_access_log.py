"""The access log: a line for each call, and calls continue if the file cannot be written."""

from __future__ import annotations

import gzip
import json
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import httpx
import numpy as np
import pytest
from gated_models import GatedModel
from served_models import until

from tfs_client import CallError, ModelConfig, ModelServerConfig, PredictClient, TensorSpec
from tfs_client.errors import ConfigError
from tfs_client.server import FunctionSignature, ServedCall, Server, ServerConfig
from tfs_client.server.access import access_log
from tfs_client.server.access.access_log import AccessLog
from tfs_client.server.embedded import MODELS

VECTOR = TensorSpec("float32", (None,))
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs named pipes and /dev/full")


class Logged:
    """A server with an access log, and what that says."""

    def __init__(self, server, path):
        self.server = server
        self._path = path

    def lines(self, count):
        """Its lines, once there are so many."""
        until(lambda: self._path.exists() and self._path.read_bytes().count(b"\n") >= count)
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        assert len(lines) == count
        return lines

    def text(self):
        return self._path.read_text()


@contextmanager
def serving(path, **options):
    """A server of a model "double", version 7, and of "half_plus_two"."""
    with Server(ServerConfig(rest_port=0, access_log=path, **options)) as server:
        double = FunctionSignature(lambda x: {"y": 2 * x}, {"x": VECTOR}, {"y": VECTOR})
        server.add_model("double", {"serving_default": double}, version=7)
        server.add_model("half_plus_two", MODELS["half_plus_two"]())
        yield Logged(server, path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access.log"


@pytest.fixture
def logged(path):
    with serving(path) as logged:
        yield logged


@pytest.fixture
def http(logged):
    with httpx.Client(base_url=logged.server.rest_url, timeout=20) as http:
        yield http


@pytest.fixture
def client(logged):
    with PredictClient(logged.server.target, model="double", timeout=20) as client:
        yield client


# --- what a line says ------------------------------------------------------------------------------------------------


def call_over_grpc(logged, request_id):
    with PredictClient(logged.server.target, model="double", metadata={"x-request-id": request_id}) as client:
        client.predict({"x": np.float32([1, 2, 3])}, signature="serving_default")


def call_over_rest(logged, request_id):
    body = {"signature_name": "serving_default", "instances": [1, 2, 3]}
    url = f"{logged.server.rest_url}/v1/models/double:predict"
    httpx.post(url, json=body, headers={"x-request-id": request_id}).raise_for_status()


@pytest.mark.parametrize("call", [call_over_grpc, call_over_rest])
def test_a_line_says_who_called_what_and_how_it_ended(logged, call):
    before = time.time()
    call(logged, "id-1")
    (line,) = logged.lines(1)
    came = datetime.strptime(line.pop("time"), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()
    assert before - 1 < came < time.time()
    host, _, port = line.pop("peer").rpartition(":")
    assert (host, port.isdigit()) == ("127.0.0.1", True)
    assert 0 < line.pop("seconds") < 20
    assert line.pop("bytes_in") > 3 * 4
    assert line.pop("bytes_out") > 3 * 4
    assert line == {
        "transport": "grpc" if call is call_over_grpc else "rest",
        "method": "Predict",
        "model": "double",
        "version": 7,
        "signature": "serving_default",
        "rows": 3,
        "code": "OK",
        "request_id": "id-1",
    }


def test_bytes_are_those_of_the_bodies(logged, http):
    body = b'{"instances": [1, 2]}'
    answer = http.post("/v1/models/double:predict", content=body)
    packed = gzip.compress(body)
    http.post("/v1/models/double:predict", content=packed, headers={"content-encoding": "gzip"})
    refusal = http.get("/v1/models/nope")
    sizes = [(line["bytes_in"], line["bytes_out"]) for line in logged.lines(3)]
    assert sizes == [
        (len(body), len(answer.content)),
        (len(packed), len(answer.content)),
        (0, len(refusal.content)),
    ]


def test_rows_are_examples_or_the_first_size_that_all_inputs_share(logged, client):
    vectors = dict.fromkeys("ab", VECTOR)
    two = FunctionSignature(lambda a, b, c: {"y": a}, vectors | {"c": TensorSpec("float32", ())}, {"y": VECTOR})
    logged.server.add_model("two", {"serving_default": two})
    examples = [{"x": 1.0}, {"x": 2.0}]
    scalar, vector = np.float32(1), np.ones(5, "float32")
    client.predict({"a": vector, "b": vector, "c": scalar}, model="two")
    client.predict({"a": vector, "b": vector[:3], "c": scalar}, model="two")
    client.regress(examples, model="half_plus_two", signature="regress_x_to_y")
    client.classify(examples, model="half_plus_two", signature="classify_x_to_y")
    client.multi_inference(examples, model="half_plus_two", tasks={"regress_x_to_y": "regress"})
    client.status()
    assert [(line["method"], line["rows"]) for line in logged.lines(6)] == [
        ("Predict", 5),
        ("Predict", None),
        ("Regress", 2),
        ("Classify", 2),
        ("MultiInference", 2),
        ("GetModelStatus", None),
    ]


def test_failed_calls_are_logged_whatever_the_cause(path):
    with serving(path, token="secret", rest_max_body=100) as logged:
        known = {"authorization": "Bearer secret"}
        with PredictClient(logged.server.target, timeout=20) as stranger, pytest.raises(CallError):
            stranger.status(model="double")
        with PredictClient(logged.server.target, model="nope", token="secret", timeout=20) as client:
            with pytest.raises(CallError):
                client.predict({"x": np.float32([1])})
            with pytest.raises(CallError):
                client.reload_config(ModelServerConfig([ModelConfig("m", "/m", platform="none")]))
        with httpx.Client(base_url=logged.server.rest_url, timeout=20) as http:
            http.get("/v1/models/double")
            http.get("/v1/models/nope", headers=known)
            http.post("/v1/models/double:predict", content=bytes(101), headers=known)
            http.get("/v1/nothing", headers=known)
        assert [(line["method"], line["model"], line["code"]) for line in logged.lines(7)] == [
            ("GetModelStatus", "", "UNAUTHENTICATED"),
            ("Predict", "nope", "NOT_FOUND"),
            ("HandleReloadConfigRequest", "", "INVALID_ARGUMENT"),
            ("GetModelStatus", "", "UNAUTHENTICATED"),
            ("GetModelStatus", "nope", "NOT_FOUND"),
            ("", "double", "RESOURCE_EXHAUSTED"),
            ("", "", "INVALID_ARGUMENT"),
        ]
        assert "secret" not in logged.text()


@pytest.fixture
def gated(logged):
    gate = GatedModel()
    logged.server.add_model("gated", {"serving_default": FunctionSignature(gate, {"x": VECTOR}, {"y": VECTOR})})
    yield gate
    gate.open.set()


def test_calls_whose_clients_disconnect_are_logged_once(logged, gated, client):
    with pytest.raises(CallError):
        client.predict({"x": np.float32([1])}, model="gated", timeout=0.3)
    future = client.predict_future({"x": np.float32([1])}, model="gated", timeout=20)
    until(lambda: gated.runs == 2)
    future.cancel()
    logged.lines(2)
    gated.open.set()
    client.predict({"x": np.float32([1])}, model="gated")
    found = [(line["code"], line["version"], line["bytes_out"]) for line in logged.lines(3)]
    assert found[:2] == [("DEADLINE_EXCEEDED", 1, 0), ("CANCELLED", 1, 0)]
    assert found[2][0] == "OK"


def test_calls_refused_as_busy_are_logged_although_their_requests_are_not_read(path):
    gate = GatedModel()
    with (
        serving(path, threads=1, max_waiting_calls=1, shutdown_grace=0) as logged,
        PredictClient(logged.server.target, model="gated", timeout=20) as client,
    ):
        logged.server.add_model("gated", {"serving_default": FunctionSignature(gate, {"x": VECTOR}, {"y": VECTOR})})
        calls = [client.predict_future({"x": np.float32([1])})]
        assert gate.entered.wait(20)
        calls += [client.predict_future({"x": np.float32([1])}) for _ in range(4)]
        lines = logged.lines(3)  # one call runs, one waits
        gate.open.set()
        assert sum(call.exception(20) is None for call in calls) == 2
    for line in lines:
        assert (line["method"], line["model"], line["code"]) == ("Predict", "", "RESOURCE_EXHAUSTED")
        assert line["bytes_in"] == 0
        assert line["peer"].startswith("127.0.0.1:")


def test_calls_that_wait_for_a_thread_are_logged_with_that_time_however_they_end(path):
    gate = GatedModel()
    with (
        serving(path, threads=1, shutdown_grace=0) as logged,
        PredictClient(logged.server.target, model="gated", timeout=20) as client,
    ):
        logged.server.add_model("gated", {"serving_default": FunctionSignature(gate, {"x": VECTOR}, {"y": VECTOR})})
        running = client.predict_future({"x": np.float32([1])})
        assert gate.entered.wait(20)
        cancelled = client.predict_future({"x": np.float32([1])})
        with pytest.raises(CallError):
            client.predict({"x": np.float32([1])}, timeout=0.3)
        cancelled.cancel()
        waiting = client.predict_future({"x": np.float32([1])})
        time.sleep(0.3)
        gate.open.set()
        assert running.exception(20) is waiting.exception(20) is None
        lines = logged.lines(4)
    found = {line["code"]: line for line in lines}
    assert sorted(line["code"] for line in lines) == ["CANCELLED", "DEADLINE_EXCEEDED", "OK", "OK"]
    for code in ("CANCELLED", "DEADLINE_EXCEEDED"):
        assert (found[code]["method"], found[code]["model"], found[code]["bytes_in"]) == ("Predict", "", 0)
    assert all(line["seconds"] >= 0.29 for line in lines)
    assert [line["time"] for line in lines if line["code"] == "OK"] == sorted(
        line["time"] for line in lines if line["code"] == "OK"
    )


def test_health_checks_and_pages_are_not_logged(path):
    with serving(path, enable_grpc_healthcheck_service=True, metrics_path="/metrics") as logged:
        with PredictClient(logged.server.target, model="double") as client:
            client.health()
            httpx.get(f"{logged.server.rest_url}/metrics").raise_for_status()
            httpx.get(f"{logged.server.rest_url}/nothing")
            client.status()
        assert [line["method"] for line in logged.lines(1)] == ["GetModelStatus"]


def test_hostile_requests_are_logged_on_one_short_line(logged, client):
    with pytest.raises(CallError):
        client.status(model="a\nb\u2028\x1b" + "x" * 5000)
    (line,) = logged.lines(1)
    assert line["model"] == "a\nb\u2028\x1b" + "x" * 192 + "..."
    assert logged.text().isascii()
    assert logged.text().isprintable() is False  # for its line feed alone
    assert logged.text().rstrip("\n").isprintable()


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1:5000"),
        ("ipv6:%5B::1%5D:5000", "[::1]:5000"),
        ("unix:", "unix"),
        ("[::ffff:127.0.0.1]:5000", "127.0.0.1:5000"),
        ("[::1]:5000", "[::1]:5000"),
        ("", ""),
    ],
)
def test_client_addresses_have_one_format_for_both_transports(path, peer, shown):
    lines = written(path, ServedCall("Predict", peer=peer))
    assert [line["peer"] for line in lines] == [shown]


def written(path, *calls):
    """What a log that is opened and closed writes about calls."""
    log = AccessLog(str(path))
    log.open()
    for call in calls:
        log.ended(call)
    log.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- how it is written -----------------------------------------------------------------------------------------------


@pytest.fixture
def said(caplog):
    """Whether a text has been logged; what an earlier test has logged counts for nothing, also for the rate limit."""
    (limit,) = access_log.log.filters
    limit._last.clear()
    return lambda text: text in caplog.messages


def test_calls_that_end_together_log_whole_lines_and_lose_none(path):
    log = AccessLog(str(path))
    log.open()
    with ThreadPoolExecutor(8) as pool:
        for number in range(8):
            pool.submit(lambda number: [log.ended(ServedCall("Predict", f"m{number}")) for _ in range(100)], number)
    log.close()
    models = [json.loads(line)["model"] for line in path.read_text().splitlines()]
    assert sorted(models) == sorted(f"m{number}" for number in range(8) for _ in range(100))


def test_an_existing_file_is_appended_to_and_only_its_owner_can_read_it(path):
    written(path, ServedCall("Predict", "first"))
    assert [line["model"] for line in written(path, ServedCall("Predict", "second"))] == ["first", "second"]
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.skipif(os.name != "posix", reason="open files cannot be renamed")
def test_a_rotated_file_is_reopened(logged, client, path, monkeypatch):
    monkeypatch.setattr(access_log, "LOOK", 0.0)
    client.status()
    logged.lines(1)
    moved = path.rename(path.with_suffix(".1"))
    client.status()
    logged.lines(1)
    assert moved.read_text().count("\n") == 1


@POSIX
def test_a_file_that_cannot_be_reopened_is_still_written(client, path, monkeypatch, said):
    monkeypatch.setattr(access_log, "LOOK", 0.0)
    moved = path.rename(path.with_suffix(".1"))
    path.mkdir()
    client.status()
    until(lambda: moved.read_text().count("\n") == 1)
    assert said("The access log cannot be reopened: Is a directory. Lines go to the old file")


@POSIX
def test_a_full_disk_loses_lines_but_fails_no_call(said):
    with serving(Path("/dev/full")) as logged, PredictClient(logged.server.target, model="double") as client:
        assert client.predict({"x": np.float32([1])}).array.tolist() == [2]
        until(lambda: said("The access log cannot be written: No space left on device. Lines are lost"))
        assert client.predict({"x": np.float32([1])}).array.tolist() == [2]


@POSIX
def test_a_truncated_line_does_not_corrupt_the_next(path):
    log = AccessLog(str(path))
    log.open()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        log.ended(ServedCall("Predict", "first"))
        until(lambda: path.stat().st_size == 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.ended(ServedCall("Predict", "second"))
    log.close()
    cut, whole = path.read_text().splitlines()
    assert cut.startswith('{"time": ')
    assert len(cut) == 20
    assert json.loads(whole)["model"] == "second"


@POSIX
def test_a_pipe_that_loses_its_reader_loses_lines_but_fails_no_call(tmp_path, said):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with serving(pipe) as logged, PredictClient(logged.server.target, model="double") as client:
        os.close(reader)
        assert client.predict({"x": np.float32([1])}).array.tolist() == [2]
        until(lambda: said("The access log cannot be written: Broken pipe. Lines are lost"))
        assert client.predict({"x": np.float32([1])}).array.tolist() == [2]


@POSIX
def test_lines_queued_during_a_write_are_written_before_exit(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    log, written = AccessLog(str(pipe)), []
    with ThreadPoolExecutor() as pool, open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        log.open()
        for number in range(2000):  # more than a pipe holds
            log.ended(ServedCall("Predict", str(number)))
        until(lambda: len(log._entries) < 2000)  # the writer has begun, and cannot end before somebody reads
        log.ended(ServedCall("Predict", "late"))
        os.set_blocking(reader.fileno(), True)
        closing = pool.submit(log.close)
        until(log._closing.is_set)
        written = [json.loads(line)["model"] for line in reader]
        closing.result(20)
    assert written == [*map(str, range(2000)), "late"]


@pytest.mark.skipif(os.name != "posix", reason="descriptors are closed by the shell")
def test_a_closed_standard_output_is_a_start_failure(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it when descriptor 1 is closed
    with pytest.raises(CallError, match="access_log: expected standard output to be open"):
        AccessLog("-").open()


def test_a_file_uri_names_the_file(path):
    log = AccessLog(f"file://{path}")
    log.open()
    log.close()
    assert path.exists()


@POSIX
def test_a_stalled_reader_delays_neither_calls_nor_shutdown(tmp_path, said, monkeypatch):
    monkeypatch.setattr(access_log, "MOST_WAITING", 500)
    monkeypatch.setattr(access_log, "LAST_LINES", 0.1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(str(pipe))
    log.open()
    lost = "The access log cannot be written fast enough. Lines are lost"
    end = time.monotonic() + 20
    while not said(lost) and time.monotonic() < end:  # until the pipe and the queue are full
        log.ended(ServedCall("Predict"))
    assert said(lost)
    log.close()
    assert said("The last lines of the access log were not written: the file is too slow")
    os.close(reader)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("missing/log", "NOT_FOUND: access_log: {}/missing/log; No such file or directory"),
        ("", "FAILED_PRECONDITION: access_log: {}; Is a directory"),
    ],
)
def test_a_file_that_cannot_be_opened_is_a_start_failure(tmp_path, name, error):
    server = Server(ServerConfig(access_log=tmp_path / name))
    with pytest.raises(CallError) as caught:
        server.start()
    assert f"{caught.value.code.name}: {caught.value.details}" == error.format(tmp_path)


@POSIX
def test_a_pipe_without_a_reader_is_a_start_failure(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CallError, match=r"access_log: .*/pipe; No such device or address"):
        Server(ServerConfig(access_log=tmp_path / "pipe")).start()


@pytest.mark.parametrize("path", ["", 5, "a\0b"])
def test_values_that_are_not_paths_are_refused(path):
    with pytest.raises(ConfigError, match="expected access_log as a path"):
        ServerConfig(access_log=path)


def test_a_server_that_starts_again_continues_its_log(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = Server(ServerConfig(access_log=path.name))
    monkeypatch.chdir("/")
    for _ in range(2):
        with server, PredictClient(server.target, model="nope") as client, pytest.raises(CallError):
            client.status()
    assert path.read_text().count("\n") == 2
