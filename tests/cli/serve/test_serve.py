"""tfs-serve as a process: what it serves, how its files are followed, and how it ends."""

from __future__ import annotations

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from served_program import Program, put, put_scale, until, write_config

from tfs_client import CallError, Health, PredictClient, UnavailableError
from tfs_client.server.embedded import MODELS

SLOW = """
    import time
    from pathlib import Path

    from tfs_client import TensorSpec
    from tfs_client.server import FunctionSignature

    VECTOR = TensorSpec("float32", (None,))
    RAN = Path(__file__).parent.parent.parent / "ran"


    def slow(x):
        with open(RAN, "a") as file:
            file.write("begun\\n")
        time.sleep(float(x[0]))
        return {"y": x}


    def signatures(path):
        return {"serving_default": FunctionSignature(slow, {"x": VECTOR}, {"y": VECTOR})}
"""


@pytest.fixture
def serve(tmp_path):
    """Start processes in a temporary directory; they are stopped after the test."""
    programs = []

    def start(*arguments, **options):
        programs.append(Program(tmp_path, *arguments, **options))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def program(folder):
    """One with everything on, for the tests that only ask it something."""
    put_scale(folder / "scale", 1, 3.0)
    write_config(folder / "models.config", folder / "scale")
    (folder / "monitoring").write_text('prometheus_config { enable: true path: "/metrics" }')
    (folder / "batching").write_text("max_batch_size { value: 8 } batch_timeout_micros { value: 200000 }")
    program = Program(
        folder,
        "--embedded",
        "--model_config_file=models.config",
        "--model_config_file_poll_wait_seconds=1",
        "--monitoring_config_file=monitoring",
        "--enable_batching",
        "--batching_parameters_file=batching",
        "--enable_grpc_healthcheck_service",
        "--enable_profiler",
        rest=True,
    )
    yield program
    program.close()


@pytest.fixture(params=["grpc", "rest"])
def client(program, request):
    target = program.target if request.param == "grpc" else program.rest_url
    with PredictClient(target, timeout=20) as client:
        yield client


def metrics(program):
    lines = httpx.get(f"{program.rest_url}/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_a_python_model(client):
    answer = client.predict({"x": np.float32([1, 2])}, model="scale")
    assert answer["y"].tolist() == [3, 6]
    assert client.status(model="scale").available


def test_the_embedded_models(client):
    assert client.predict([3.0], model="half_plus_two").array == 3.5
    for name in MODELS:
        assert client.is_ready(model=name)


def test_health(program):
    with PredictClient(program.target) as client:
        assert client.health("PredictionService") is Health.SERVING


def test_concurrent_calls_run_as_one(program):
    with PredictClient(program.target, model="scale", timeout=20) as client:
        before = metrics(program).get(":tensorflow:serving:batching_session:wrapped_run_count{}", 0)
        futures = [client.predict_future({"x": np.float32([n])}) for n in range(8)]
        assert [future.result()["y"].tolist() for future in futures] == [[3.0 * n] for n in range(8)]
    found = metrics(program)
    assert found[":tensorflow:serving:batching_session:wrapped_run_count{}"] - before < 8
    assert found[":tensorflow:serving:batching_session:input_batch_size_count{}"] >= 8


def test_the_embedded_models_are_not_batched(program):
    before = metrics(program).get(":tensorflow:serving:batching_session:wrapped_run_count{}", 0)
    with PredictClient(program.target, model="half_plus_two", timeout=20) as client:
        assert client.predict([3.0]).array == 3.5
    assert metrics(program).get(":tensorflow:serving:batching_session:wrapped_run_count{}", 0) == before


def test_the_page_of_metrics(program, folder):
    with PredictClient(program.target, model="nobody") as client, pytest.raises(CallError):
        client.predict({"x": np.float32([1])})
    httpx.post(f"{program.rest_url}/v1/models/scale:predict", content=json.dumps({"instances": [1]}))
    found = metrics(program)
    assert found[':tensorflow:serving:request_count{model_name="nobody",status="NOT_FOUND"}'] == 1
    assert found[':tensorflow:serving:request_latency_count{model_name="scale",API="predict",entrypoint="REST"}'] >= 1
    assert found[':tensorflow:serving:runtime_latency_count{model_name="scale",API="Predict",runtime="TF1"}'] >= 1
    loads = f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{folder}/scale/1",status="success"}}'
    assert found[loads] == 1


def test_the_model_config_file_is_followed_and_so_are_base_paths(program, folder):
    put_scale(folder / "more", 7, 5.0)
    write_config(folder / "models.config", folder / "scale", folder / "more")
    with PredictClient(program.target, timeout=20) as client:
        until(lambda: client.is_ready(model="more"))
        assert client.predict({"x": np.float32([1])}, model="more")["y"] == 5
        put_scale(folder / "more", 8, 6.0)
        until(lambda: client.predict({"x": np.float32([1])}, model="more")["y"] == 6)


def test_the_lines_that_it_prints(program):
    lines = program.log.splitlines()
    for text in (
        "Adding/updating models.",
        " (Re-)adding model: scale",
        "Successfully loaded servable version {name: scale version: 1}",
        "Wrapping session to perform batch processing",
        "Using InsecureServerCredentials",
        f"Running gRPC ModelServer at 127.0.0.1:{program.port} ...",
        f"Exporting HTTP/REST API at:localhost:{program.rest_port} ...",
        "--enable_profiler: accepted, but has no effect",
        f"Serving the embedded models: {', '.join(MODELS)}",
    ):
        assert any(line.endswith(f"] {text}") for line in lines), text
    assert "Profiler service is enabled" not in program.log
    assert program.out == ""


# --- other ways to listen --------------------------------------------------------------------------------------------


def test_a_socket_without_a_port_and_a_single_model(serve, tmp_path):
    (tmp_path / "token").write_text("secret")
    program = serve("--embedded", "--grpc_socket_path=./here.sock", "--token_file=token", port=0)
    program.until_logged("Running gRPC ModelServer at UNIX socket ./here.sock ...")
    assert "Running gRPC ModelServer at 127" not in program.log
    with PredictClient(f"unix:{tmp_path}/here.sock", model="half_plus_two", token="secret", timeout=20) as client:
        assert client.predict([1.0]).array == 2.5
    program.send(signal.SIGINT)
    assert program.ended() == 0


# --- the end ---------------------------------------------------------------------------------------------------------


def ask(target, answers, others):
    """Call until the server does not take calls any more; count the answers, and other ends than that."""
    with PredictClient(target, model="slow", timeout=20, retry=None) as client:
        while True:
            try:
                client.predict({"x": np.float32([0.01])})
                answers.append(1)
            except UnavailableError:
                return
            except CallError as error:
                others.append(error)
                return


@pytest.mark.parametrize("batching", [[], ["--enable_batching"]], ids=["plain", "batching"])
def test_a_signal_under_load_costs_no_accepted_call(serve, tmp_path, batching):
    put(tmp_path / "slow", 1, SLOW)
    write_config(tmp_path / "models.config", tmp_path / "slow")
    program = serve("--model_config_file=models.config", *batching, rest=True)
    answers, others = [], []
    targets = [program.target] * 4 + [program.rest_url] * 2
    threads = [threading.Thread(target=ask, args=(target, answers, others)) for target in targets]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) > 20)
    program.send(signal.SIGTERM)
    assert program.ended() == 0
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not others
    if not batching:  # every call that has reached the model was answered
        assert len((tmp_path / "ran").read_text().splitlines()) == len(answers)
    for text in ("SIGTERM: stopping", "Done unloading servable version {name: slow version: 1}", "Stopped"):
        assert text in program.log


@pytest.fixture
def busy(serve, tmp_path):
    """Start a server and a slow call; return both."""
    put(tmp_path / "slow", 1, SLOW)
    write_config(tmp_path / "models.config", tmp_path / "slow")
    with ThreadPoolExecutor(1) as pool:

        def start(seconds, *arguments):
            program = serve("--model_config_file=models.config", *arguments)
            client = PredictClient(program.target, model="slow", timeout=20, retry=None)
            clients.append(client)
            call = pool.submit(client.predict, {"x": np.float32([seconds])})
            until((tmp_path / "ran").exists)
            return program, call

        clients = []
        yield start
        for client in clients:
            client.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(busy, number, code):
    program, call = busy(15, "--shutdown_grace_seconds=15")
    program.send(number)
    program.until_logged("stopping; a second signal ends the process at once")
    program.send(number)
    began = time.monotonic()
    assert program.ended() == code
    assert time.monotonic() - began < 5
    assert isinstance(call.exception(20), UnavailableError)


def test_the_grace_is_limited(busy):
    program, call = busy(2, "--shutdown_grace_seconds=0.1")
    program.send(signal.SIGTERM)
    assert isinstance(call.exception(20), CallError)
    assert program.ended() == 0  # once the model has come back: nobody can interrupt it


def test_a_draining_server_serves_and_reports_itself_unhealthy(serve):
    program = serve("--embedded", "--drain_seconds=1", "--enable_grpc_healthcheck_service")
    with PredictClient(program.target, model="half_plus_two", timeout=20) as client:
        assert client.health() is Health.SERVING
        program.send(signal.SIGTERM)
        until(lambda: client.health() is Health.NOT_SERVING)
        assert client.predict([1.0]).array == 2.5
        assert program.ended() == 0


def test_a_start_that_waits_for_models_can_be_interrupted(serve, tmp_path):
    write_config(tmp_path / "models.config", tmp_path / "none")
    program = serve("--model_config_file=models.config", ready="encountered a filesystem access error")
    program.send(signal.SIGTERM)
    assert program.ended() == 0
    assert "Running gRPC" not in program.log
    assert program.out == ""


STUCK = """
    import time

    def signatures(path):
        time.sleep(60)
"""


def test_a_start_that_a_model_blocks_can_be_interrupted(serve, tmp_path):
    put(tmp_path / "stuck", 1, STUCK)
    write_config(tmp_path / "models.config", tmp_path / "stuck")
    program = serve("--model_config_file=models.config", ready="Loading servable version {name: stuck")
    began = time.monotonic()
    program.send(signal.SIGINT)
    assert program.ended() == 0
    assert time.monotonic() - began < 5  # about one second, were the machine ours
    assert "Stopped" in program.log
