"""tfs-admin: status, signatures, wait, health, and reaching a server; run in this process on real servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tfs_client import TensorSpec
from tfs_client.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tfs_client.testing import FakeServer

SCRIPT = Path(sys.executable).with_name("tfs-admin")


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A port without a listener; it is bound, so that no other process gets it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(params=["grpc", "rest"])
def target(request: pytest.FixtureRequest, double: FakeServer) -> str:
    """The doubling model's server, by both its ports."""
    return double.target if request.param == "grpc" else double.rest_url


# Status.


def test_status_is_a_line_for_each_version(run: Any, double: FakeServer, target: str) -> None:
    vector = TensorSpec("float32", (None,))
    double.add_model("double", lambda x: x, inputs={"x": vector}, outputs={"y": vector}, version=12)
    double.remove_model("double", 1)
    ran = run("status", "--server", target, "--model", "double")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "double  12  AVAILABLE\ndouble  1   END\n"


def test_status_as_json(run: Any, target: str) -> None:
    ran = run("status", "--server", target, "--model", "double", "--json")
    version = {"version": 1, "state": "AVAILABLE", "code": "OK", "message": ""}
    assert json.loads(ran.out) == {"model": "double", "available": [1], "ready": True, "versions": [version]}


def test_status_ends_with_6_when_no_version_is_available(run: Any, double: FakeServer, target: str) -> None:
    double.remove_model("double", 1)
    ran = run("status", "--server", target, "--model", "double")
    assert (ran.code, ran.out) == (6, "double  1  END\n")


def test_only_the_requested_version_decides_the_exit_code(run: Any, double: FakeServer, target: str) -> None:
    vector = TensorSpec("float32", (None,))
    double.add_model("double", lambda x: x, inputs={"x": vector}, outputs={"y": vector}, version=2)
    double.remove_model("double", 1)
    assert run("status", "--server", target, "--model", "double", "--version", 2).code == 0
    ran = run("status", "--server", target, "--model", "double", "--version", 1)
    assert (ran.code, ran.out) == (6, "double  1  END\n")


def test_an_unknown_model_or_version_is_not_ready(run: Any, target: str) -> None:
    ran = run("status", "--server", target, "--model", "nope")
    assert (ran.code, ran.out) == (6, "")
    assert "NOT_FOUND: Could not find any versions of model nope" in ran.line
    assert "tfs-admin status without --model lists the models" in ran.line
    ran = run("status", "--server", target, "--model", "double", "--version", 9, "--json")
    assert ran.code == 6
    assert json.loads(ran.out) == {"model": "double", "available": [], "ready": False, "versions": []}
    assert "version 9" in ran.line


def test_the_error_of_a_failed_version_fits_its_line(run: Any, raw_server: Any) -> None:
    failed = {"version": 3, "state": 50, "status": {"error_code": 5, "error_message": "no\nsaved_model.pb"}}
    reply = GetModelStatusResponse(model_version_status=[failed, {"version": 2, "state": 20}]).SerializeToString()
    ran = run("status", "--server", raw_server(GetModelStatus=lambda request, context: reply), "--model", "m")
    assert ran.code == 6
    assert ran.out == "m  3  END      NOT_FOUND: no saved_model.pb\nm  2  LOADING\n"


# Status of all models.


@pytest.fixture
def three(double: FakeServer) -> FakeServer:
    """Models with one version, with two, and with none that serves."""
    vector = TensorSpec("float32", (None,))
    for name, version in (("bert", 3), ("bert", 4)):
        double.add_model(name, lambda x: x, inputs={"x": vector}, outputs={"y": vector}, version=version)
    double.remove_model("bert", 3)
    return double


def test_status_without_a_model_lists_all_models_of_the_server(run: Any, three: FakeServer, target: str) -> None:
    ran = run("status", "--server", target)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "bert    4  AVAILABLE\nbert    3  END\ndouble  1  AVAILABLE\n"
    listed = json.loads(run("status", "--server", target, "--json").out)
    assert [(model["model"], model["available"], model["ready"]) for model in listed] == [
        ("bert", [4], True),
        ("double", [1], True),
    ]


def test_status_of_all_models_of_a_file_ends_with_6_when_one_is_not_served(
    run: Any, three: FakeServer, target: str, tmp_path: Path
) -> None:
    file = tmp_path / "models.config"
    models = "".join(f'config {{ name: "{name}" base_path: "/m/{name}" }}' for name in ("double", "late"))
    file.write_text(f"model_config_list {{ {models} }}".replace("base_path", 'model_platform: "tensorflow" base_path'))
    ran = run("status", "--server", target, "--config", file)
    assert (ran.code, ran.err) == (6, "")
    assert ran.out == "double  1  AVAILABLE\nlate    -  -          no version known\n"
    listed = json.loads(run("status", "--server", target, "--config", file, "--json").out)
    assert listed[1] == {"model": "late", "available": [], "ready": False, "versions": []}


def test_tfs_model_applies_to_status_unless_all_are_requested(run: Any, three: FakeServer, monkeypatch: Any) -> None:
    monkeypatch.setenv("TFS_MODEL", "double")
    assert run("status", "--server", three.target).out == "double  1  AVAILABLE\n"
    assert run("status", "--server", three.target, "--all").out.count("\n") == 3


def test_status_of_a_server_without_models_says_so(run: Any, fake_server: FakeServer) -> None:
    ran = run("status", "--server", fake_server.target)
    assert (ran.code, ran.out) == (0, "")
    assert ran.line == f"tfs-admin: {fake_server.target} has no models\n"
    assert run("status", "--server", fake_server.target, "--json").out == "[]\n"


def test_a_server_that_does_not_list_its_models_requires_a_model(run: Any, raw_server: Any) -> None:
    ran = run("status", "--server", raw_server())
    assert (ran.code, ran.out) == (2, "")
    assert "no model given: " in ran.line
    assert "does not list its models: tfs-serve does, TensorFlow Serving does not. Use --model NAME" in ran.line
    assert "or --config FILE for all models of a model config file" in ran.line


def test_status_refuses_several_choices_of_models(run: Any, double: FakeServer) -> None:
    base = ("status", "--server", double.target)
    for arguments, message in [
        (("--model", "double", "--all"), "--model and --all cannot be combined"),
        (("--config", "c", "--all"), "--config and --all cannot be combined"),
        (("--model", "double", "--config", "c"), "--model and --config cannot be combined"),
        (("--all", "--version", 1), "--version applies to a single model"),
        (("--config", "missing"), "cannot read 'missing'"),
    ]:
        ran = run(*base, *arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert message in ran.line


# Signatures.


@pytest.fixture
def scale(fake_server: FakeServer) -> FakeServer:
    """A model with two signatures, an optional input, and shapes of all kinds."""
    image = TensorSpec("float32", (None, 224, 224, 3))
    fake_server.add_model(
        "scale",
        lambda image, factor: {"scaled": image, "names": image},
        inputs={"image": image, "factor": TensorSpec("float64", ())},
        outputs={"scaled": image, "names": TensorSpec("string", None)},
        version=7,
        defaults={"factor": 2.0},
    )
    text = TensorSpec("string", (None,))
    fake_server.add_model(
        "scale",
        lambda inputs: inputs,
        inputs={"inputs": text},
        outputs={"classes": text},
        version=7,
        signature="classify",
        method_name="tensorflow/serving/classify",
    )
    fake_server.set_label("scale", "stable", 7)
    return fake_server


TABLE = """scale version 7
SIGNATURE        METHOD                       SIDE  ALIAS    DTYPE    SHAPE             OPTIONAL
classify         tensorflow/serving/classify  in    inputs   string   (?,)              -
classify         tensorflow/serving/classify  out   classes  string   (?,)              -
serving_default  tensorflow/serving/predict   in    factor   float64  scalar            optional
serving_default  tensorflow/serving/predict   in    image    float32  (?, 224, 224, 3)  -
serving_default  tensorflow/serving/predict   out   names    string   any shape         -
serving_default  tensorflow/serving/predict   out   scaled   float32  (?, 224, 224, 3)  -
"""


@pytest.mark.parametrize("which", [(), ("--version", 7), ("--label", "stable")])
def test_signatures_are_a_table(run: Any, scale: FakeServer, which: tuple[Any, ...]) -> None:
    ran = run("signatures", "--server", scale.target, "--model", "scale", *which)
    assert (ran.code, ran.err, ran.out) == (0, "", TABLE)


def test_signatures_as_json(run: Any, scale: FakeServer) -> None:
    values = json.loads(run("signatures", "--server", scale.rest_url, "--model", "scale", "--json").out)
    assert (values["model"], values["version"]) == ("scale", 7)
    assert sorted(values["signatures"]) == ["classify", "serving_default"]
    default = values["signatures"]["serving_default"]
    assert default["method"] == "tensorflow/serving/predict"
    assert {**default["inputs"]["factor"], "tensor": ""} == {
        "dtype": "float64",
        "shape": [],
        "tensor": "",
        "optional": True,
    }
    assert default["inputs"]["image"]["optional"] is False
    assert default["outputs"]["scaled"]["shape"] == [None, 224, 224, 3]
    assert default["outputs"]["names"]["shape"] is None


def test_signatures_of_an_unknown_label_end_with_4(run: Any, scale: FakeServer) -> None:
    ran = run("signatures", "--server", scale.target, "--model", "scale", "--label", "nope")
    assert (ran.code, ran.out) == (4, "")
    assert "Unrecognized servable version label: nope" in ran.line


# Waiting.


def test_wait_returns_when_all_models_are_ready(run: Any, double: FakeServer, target: str) -> None:
    vector = TensorSpec("float32", (None,))

    def later() -> None:
        end = time.monotonic() + 20
        while {look_up.model for look_up in double.lookups} != {"double", "late"} and time.monotonic() < end:
            time.sleep(0.01)
        double.add_model("late", lambda x: x, inputs={"x": vector}, outputs={"y": vector})

    adding = threading.Thread(target=later)
    adding.start()
    ran = run("wait", "--server", target, "--model", "double", "--model", "late", "--timeout", 20)
    adding.join()
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "double is ready\nlate is ready\n"


def test_wait_names_all_missing_models_at_its_timeout(run: Any, double: FakeServer) -> None:
    ran = run("wait", "--server", double.target, "--model", "a", "--model", "double", "--model", "b", "--timeout", 0.4)
    assert (ran.code, ran.out) == (5, "double is ready\n")
    for name in ("a", "b"):
        assert f"model '{name}' at {double.target} was not ready within 0.4 s: Could not find" in ran.line
    assert "'double'" not in ran.err
    assert ran.err.endswith("--timeout S sets another limit.\n")


def test_wait_ends_at_once_for_a_model_that_could_not_be_loaded(run: Any, raw_server: Any) -> None:
    failed = {"version": 2, "state": 50, "status": {"error_code": 3, "error_message": "no such op"}}
    versions = {
        b"broken": [failed],
        b"good": [{"version": 1, "state": 30}, failed],
        b"slow": [{"version": 1, "state": 20}],
    }

    asked = threading.Event()

    def serve(request: bytes, context: grpc.ServicerContext) -> bytes:
        (known,) = (versions[name] for name in versions if name in request)
        asked.set() if b"good" in request else asked.wait(20)
        return GetModelStatusResponse(model_version_status=known).SerializeToString()

    began = time.monotonic()
    models = ("--model", "slow", "--model", "broken", "--model", "good")
    ran = run("wait", "--server", raw_server(GetModelStatus=serve), *models, "--timeout", 60)
    assert time.monotonic() - began < 30
    assert (ran.code, ran.out) == (4, "good is ready\n")
    assert "model 'broken' at " in ran.line
    assert "could not be loaded: version 2: END (INVALID_ARGUMENT: no such op)" in ran.line
    assert "'slow'" not in ran.err


def test_wait_for_a_version_or_a_label(run: Any, scale: FakeServer) -> None:
    base = ("wait", "--server", scale.target, "--model", "scale")
    assert run(*base, "--label", "stable").code == 0
    assert run(*base, "--version", 7).code == 0
    assert run(*base, "--version", 8, "--timeout", 0.1).code == 5
    ran = run(*base, "--model", "double", "--version", 7)
    assert ran.code == 2
    assert "--version applies to a single model" in ran.line


def test_wait_retries_an_unreachable_server_until_its_timeout(run: Any, closed_port: str) -> None:
    ran = run("wait", "--server", closed_port, "--model", "m", "--timeout", 0.3)
    assert ran.code == 5
    assert "failed to connect" in ran.line


def test_wait_does_not_outlast_a_refusal(run: Any, raw_server: Any) -> None:
    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    began = time.monotonic()
    ran = run("wait", "--server", raw_server(GetModelStatus=refuse), "--model", "a", "--model", "b", "--timeout", 20)
    assert ran.code == 4
    assert ran.line.endswith("who are you? --token TOKEN or --token @FILE sends a bearer token.\n")
    assert "UNAUTHENTICATED: who are you?" in ran.line
    assert time.monotonic() - began < 10


# Health.


@pytest.fixture
def health_server() -> Iterator[str]:
    """gRPC's health service, in bytes: "" and ModelService serve, PredictionService does not."""
    statuses = {b"": b"\x08\x01", b"\x0a\x0cModelService": b"\x08\x01", b"\x0a\x11PredictionService": b"\x08\x02"}

    def check(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request not in statuses:
            context.abort(grpc.StatusCode.NOT_FOUND, "")
        return statuses[request]

    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def test_health_prints_the_status_of_a_service(run: Any, health_server: str) -> None:
    base = ("health", "--server", health_server)
    for arguments, out, code in [
        ((), "server  SERVING\n", 0),
        (("ModelService",), "ModelService  SERVING\n", 0),
        (("PredictionService",), "PredictionService  NOT_SERVING\n", 6),
        (("ModelService", "--json"), '{"service": "ModelService", "status": "SERVING"}\n', 0),
        (("PredictionService", "--json"), '{"service": "PredictionService", "status": "NOT_SERVING"}\n', 6),
    ]:
        ran = run(*base, *arguments)
        assert (ran.out, ran.code, ran.err) == (out, code, ""), arguments


def test_an_unknown_service_has_a_hint(run: Any, health_server: str) -> None:
    ran = run("health", "nope", "--server", health_server)
    assert ran.code == 4
    assert "The services are ModelService and PredictionService" in ran.line


def test_a_server_without_the_health_service_is_explained(run: Any, double: FakeServer) -> None:
    ran = run("health", "--server", double.target)
    assert ran.code == 4
    assert "UNIMPLEMENTED" in ran.line
    assert "--enable_grpc_healthcheck_service" in ran.line


# How the server is reached, and with what.


def test_common_options_precede_or_follow_the_command(run: Any, double: FakeServer) -> None:
    assert run("--server", double.target, "status", "--model", "double").code == 0
    assert run("status", "--server", double.target, "--model", "double").code == 0
    ran = run("--timeout", 0, "status", "--server", double.target, "--model", "double")
    assert "--timeout: expected seconds above 0, or inf for no limit, got '0'" in ran.line


def test_the_environment_supplies_missing_options(run: Any, double: FakeServer, monkeypatch: Any) -> None:
    monkeypatch.setenv("TFS_SERVER", double.target)
    monkeypatch.setenv("TFS_MODEL", "double")
    for name in ("status", "signatures", "wait"):
        assert run(name).code == 0, name
    assert run("status", "--model", "nope").code == 6
    monkeypatch.delenv("TFS_MODEL")
    for name in ("signatures", "wait"):
        ran = run(name)
        assert ran.code == 2
        assert "no model given: use --model NAME, set TFS_MODEL, or set model in the profile" in ran.line


@pytest.fixture
def listening(raw_server: Any) -> tuple[str, list[dict[str, Any]]]:
    """A server that records the metadata of its calls."""
    heard: list[dict[str, Any]] = []
    reply = GetModelStatusResponse(model_version_status=[{"version": 1, "state": 30}]).SerializeToString()

    def serve(request: bytes, context: grpc.ServicerContext) -> bytes:
        heard.append(dict(context.invocation_metadata()))
        return reply

    return raw_server(GetModelStatus=serve), heard


def test_token_and_metadata_are_sent(run: Any, listening: Any, monkeypatch: Any, tmp_path: Path) -> None:
    target, heard = listening
    (tmp_path / "token").write_text("from-file\n")
    base = ("status", "--server", target, "--model", "m")
    assert run(*base, "--token", "secret", "--metadata", "x-a=1=2", "--metadata", "x-b=").code == 0
    assert run(*base, "--token", f"@{tmp_path}/token").code == 0
    monkeypatch.setenv("TFS_TOKEN", "from-environment")
    assert run(*base).code == 0
    assert [metadata["authorization"] for metadata in heard] == [
        "Bearer secret",
        "Bearer from-file",
        "Bearer from-environment",
    ]
    assert (heard[0]["x-a"], heard[0]["x-b"]) == ("1=2", "")


def test_usage_errors_end_with_2_and_one_line(run: Any, double: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "two").write_text("one\ntwo\n")
    (tmp_path / "no.pem").write_text("no certificate")
    base = ("status", "--server", double.target, "--model", "double")
    for arguments, message in [
        ((*base, "--token", "@missing"), "the token: cannot read 'missing'"),
        ((*base, "--token", f"@{tmp_path}/two"), "the token: expected a line of printable ASCII text"),
        ((*base, "--token", "one\ntwo"), "the token: expected a line of printable ASCII text"),
        ((*base, "--metadata", "key"), "expected --metadata KEY=VALUE, got 'key'"),
        ((*base, "--metadata", "=value"), "expected --metadata KEY=VALUE"),
        ((*base, "--metadata", "KEY=value"), "expected a metadata key of lower-case letters"),
        ((*base, "--ca", "missing.pem"), "cannot read the PEM file 'missing.pem' (ca)"),
        ((*base, "--ca", tmp_path / "no.pem"), "expected ca in PEM form"),
        ((*base, "--cert", "client.pem"), "expected both --cert FILE and --key FILE, got only one of them"),
        ((*base, "--timeout", -1), "--timeout: expected seconds above 0, or inf for no limit"),
        (("status", "--model", "m", "--server", "localhost"), "expected host:port"),
        (("status", "--model", "m", "--server", "http://h:1", "--tls"), "write https://"),
        (("signatures", *base[1:], "--version", 1, "--label", "x"), "expected a version or a label"),
        (("health", "--server", "http://localhost:8501"), "health needs gRPC"),
        (("reload", "--config", "c", "--server", "https://h"), "reload needs gRPC, and https://h is a REST server"),
    ]:
        ran = run(*arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert message in ran.line, arguments


@pytest.mark.parametrize("bad", [(), ("stats",), ("status", "--mod", "m"), ("status", "--version", "x"), ("reload",)])
def test_bad_arguments_end_with_2_and_one_line(run: Any, bad: tuple[str, ...]) -> None:
    ran = run(*bad)
    assert (ran.code, ran.out) == (2, "")
    assert "--help shows the options)" in ran.line


def test_an_unknown_option_of_a_command_has_a_hint(run: Any) -> None:
    assert "unrecognized arguments: --modell=m: did you mean --model?" in run("status", "--modell=m").line


def test_a_closed_port_ends_with_3(run: Any, closed_port: str) -> None:
    for name in ("status", "signatures"):
        ran = run(name, "--server", closed_port, "--model", "m")
        assert ran.code == 3
        assert "does it require TLS (--tls)?" in ran.line
    assert run("status", "--server", f"http://{closed_port}", "--model", "m").code == 3
    assert run("health", "--server", closed_port).code == 3


def test_a_server_that_does_not_answer_in_time_ends_with_5(run: Any, raw_server: Any) -> None:
    release = threading.Event()

    def serve(request: bytes, context: grpc.ServicerContext) -> bytes:
        release.wait(20)
        return b""

    target = raw_server(GetModelStatus=serve)
    ran = run("status", "--server", target, "--model", "m", "--timeout", 0.2)
    release.set()
    assert ran.code == 5
    assert ran.line.endswith(". --timeout S sets another limit.\n")


def test_tls_to_a_server_without_tls_names_the_commands_option(run: Any, double: FakeServer) -> None:
    ran = run("status", "--server", double.target, "--model", "double", "--tls")
    assert ran.code == 3
    assert "does not speak TLS: leave --tls out" in ran.line


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for tfs.example, which is its own authority, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    name = ("-subj", "/CN=tfs.example", "-addext", "subjectAltName=DNS:tfs.example")
    command = ["openssl", "req", "-x509", *kind, *name, "-out", certificate, "-keyout", key]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_tls_with_an_authority_a_name_and_a_client_certificate(run: Any, pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    reply = GetModelStatusResponse(model_version_status=[{"version": 1, "state": 30}]).SerializeToString()
    handlers = {"GetModelStatus": grpc.unary_unary_rpc_method_handler(lambda request, context: reply)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", handlers),)
    )
    own = [(key.read_bytes(), certificate.read_bytes())]
    credentials = grpc.ssl_server_credentials(own, certificate.read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        base = ("status", "--model", "m", "--server", f"127.0.0.1:{port}")
        ours = ("--ca", certificate, "--cert", certificate, "--key", key)
        assert run(*base, *ours, "--authority", "tfs.example").code == 0
        ran = run(*base, *ours)
        assert ran.code == 3
        assert "set the expected name with --authority NAME" in ran.line
        ran = run(*base, "--tls")
        assert ran.code == 3
        assert "set the authority to trust with --ca FILE" in ran.line
    finally:
        server.stop(0).wait()


@pytest.mark.parametrize("name", ["status", "signatures", "wait", "health", "reload", None])
def test_help_lists_the_exit_codes(run: Any, name: str | None) -> None:
    ran = run(*([name] if name else []), "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "exit codes:" in ran.out
    if name in ("reload", None):
        assert "examples:\n  tfs-admin " in ran.out


# As a process of its own.


def process(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TFS_")}
    return subprocess.Popen(
        [SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def test_the_installed_script_and_a_closed_pipe(double: FakeServer) -> None:
    double.remove_model("double", 1)
    with process("status", "--server", double.target, "--model", "double") as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.close()  # before anything is written
        assert ran.stderr.read() == ""
    assert ran.returncode == 6  # what the code says does not depend on who reads the rest


def test_an_interrupt_ends_with_130(raw_server: Any) -> None:
    asked, release = threading.Event(), threading.Event()

    def serve(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked.set()
        release.wait(20)
        return b""

    target = raw_server(GetModelStatus=serve)
    with process("wait", "--server", target, "--model", "a", "--model", "b") as ran:
        assert asked.wait(20)
        ran.send_signal(signal.SIGINT)
        assert ran.communicate(timeout=20) == ("", "")
    release.set()
    assert ran.returncode == 130


def test_help_and_wrong_plans_import_nothing_slow(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("model_config_list {}")
    code = (
        "import sys; from tfs_client.cli.admin.command import main; main(['--help']); "
        "early = [m for m in ('numpy', 'google.protobuf') if m in sys.modules]; "
        f"code = main(['reload', '--config', {str(tmp_path / 'c')!r}, '--dry-run', '--remove', 'none']); "
        "print(code, early, [m for m in ('numpy', 'grpc', 'httpx') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "2 [] []"
