"""tfs-serve: what prevents its start, with the model server's texts and exit codes; it runs in this process."""

from __future__ import annotations

import logging
import math
import signal
import socket
import sys
from operator import attrgetter
from pathlib import Path

import pytest
import tcp
from certificates import certificates

from tfs_client import PredictClient
from tfs_client.cli.serve import command
from tfs_client.cli.serve.flags import FLAGS, Use, read
from tfs_client.cli.serve.log import Formatter
from tfs_client.cli.serve.server_options import BATCHING_THREADS, setup
from tfs_client.options import TLS
from tfs_client.server import Server
from tfs_client.server.embedded import MODELS

FAILED = "Failed to start server. Error: "


@pytest.fixture
def failure(capsys, tmp_path):
    """Run the command, which must not start; return the status that it prints. ``{}`` in arguments is ``tmp_path``."""

    def run(*arguments):
        assert command.main([argument.replace("{}", str(tmp_path)) for argument in arguments]) == 255
        out = capsys.readouterr().out
        assert out.startswith(FAILED)
        return out.removeprefix(FAILED).strip().replace(str(tmp_path), "{}")

    return run


@pytest.fixture
def free_port():
    return tcp.free_port()


@pytest.fixture
def taken_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (
            ["--port=0"],
            "INVALID_ARGUMENT: At least one of server_options.grpc_port or server_options.grpc_socket_path "
            "must be set.",
        ),
        (
            ["--use_alts_credentials", "--ssl_config_file=x"],
            "INVALID_ARGUMENT: Either use_alts_credentials must be false or ssl_config_file must be empty.",
        ),
        (
            ["--use_alts_credentials"],
            "UNIMPLEMENTED: use_alts_credentials is not supported; secure the port with ssl_config_file",
        ),
        (
            [],
            "INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!",
        ),
        (
            ["--model_base_path=/m", "--batching_parameters_file=x"],
            "INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true.",
        ),
        (
            [
                "--model_base_path=/m",
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "INVALID_ARGUMENT: Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all.",
        ),
        (
            ["--model_base_path=models/m"],
            "INVALID_ARGUMENT: Expected model default to have an absolute path or URI; got base_path()=models/m",
        ),
        (
            ["--embedded", "--grpc_channel_arguments=a"],
            "INVALID_ARGUMENT: grpc_channel_arguments: expected name=value, ",
        ),
        (
            ["--embedded", "--rest_api_port=70000"],
            "INVALID_ARGUMENT: expected rest_api_port as a port, or 0 for none, ",
        ),
        (["--embedded", "--port=70000"], "INVALID_ARGUMENT: expected a port from 0 to 65535, got 70000"),
        (["--embedded", "--shutdown_grace_seconds=-1"], "INVALID_ARGUMENT: expected shutdown_grace in seconds"),
        (
            ["--embedded", "--rest_api_num_threads=0"],
            "INVALID_ARGUMENT: expected rest_threads (--rest_api_num_threads) ",
        ),
        (
            ["--embedded", "--grpc_max_threads=0"],
            "INVALID_ARGUMENT: expected threads (--grpc_max_threads) from 1 to 4096, got 0",
        ),
        (
            ["--embedded", "--thread_pool_exhausted=drop"],
            "INVALID_ARGUMENT: expected thread_pool_exhausted (--thread_pool_exhausted) of 'queue' or 'refuse', "
            "got 'drop'",
        ),
        (
            ["--embedded", "--grpc_max_threads=1000000000"],
            "INVALID_ARGUMENT: expected threads (--grpc_max_threads) from 1 to 4096, got 10000",
        ),
        (
            ["--embedded", "--num_load_threads=99999"],
            "INVALID_ARGUMENT: expected num_load_threads from 0 to 4096, 0 for one of each model",
        ),
        (
            ["--embedded", "--num_unload_threads=99999"],
            "INVALID_ARGUMENT: expected num_unload_threads from 0 to 4096, 0 for one of each model",
        ),
        (
            ["--embedded", "--tensorflow_intra_op_parallelism=99999999999"],
            "INVALID_ARGUMENT: expected intra_op (--tensorflow_intra_op_parallelism) from 0 to",
        ),
        (
            ["--embedded", "--num_tflite_pools=5000"],
            "INVALID_ARGUMENT: expected num_tflite_pools from 1 to 4096, got 5000",
        ),
        (["--embedded", "--tensorflow_session_parallelism=99999"], "INVALID_ARGUMENT: expected intra_op (--tensorflow"),
    ],
)
def test_contradictory_flags_are_refused(failure, arguments, status):
    assert failure(*arguments).startswith(status)


FILES = [
    ["--model_config_file"],
    ["--embedded", "--enable_batching", "--batching_parameters_file"],
    ["--embedded", "--tensorflow_session_config_file"],
    ["--embedded", "--platform_config_file"],
    ["--embedded", "--thread_pool_factory_config_file"],
    ["--embedded", "--ssl_config_file"],
    ["--embedded", "--token_file"],
    ["--embedded", "--rest_api_port=1", "--monitoring_config_file"],
]


@pytest.mark.parametrize("flags", FILES, ids=lambda flags: flags[-1])
def test_missing_files_fail_the_start(failure, flags):
    *others, file = flags
    assert failure(*others, f"{file}={{}}/none") == "NOT_FOUND: {}/none; No such file or directory"


MESSAGES = [flags for flags in FILES if flags[-1].split("_")[0] in ("--model", "--batching", "--ssl", "--monitoring")]
SYNTAX = [flags for flags in FILES if flags[-1].split("_")[0] in ("--tensorflow", "--platform", "--thread")]


@pytest.mark.parametrize("flags", SYNTAX, ids=lambda flags: flags[-1])
@pytest.mark.parametrize("content", [b"zzz {{{", b"intra: zzz {", b"\xff"])
def test_files_that_are_not_protobuf_text_fail_the_start(failure, tmp_path, flags, content):
    (tmp_path / "file").write_bytes(content)
    *others, file = flags
    assert failure(*others, f"{file}={{}}/file") == "INVALID_ARGUMENT: Invalid protobuf file: '{}/file'"


def test_only_the_syntax_of_files_without_effect_is_checked(tmp_path):
    (tmp_path / "session").write_text("gpu_options { allow_growth: true } inter_op_parallelism_threads: 3")
    (tmp_path / "threads").write_text("thread_pool_factory_config { [type.googleapis.com/a.b.C] { x: [1, 2] } }")
    found = made(
        "--embedded",
        f"--tensorflow_session_config_file={tmp_path}/session",
        f"--thread_pool_factory_config_file={tmp_path}/threads",
    )
    assert found.config == made("--embedded").config


@pytest.mark.parametrize("flags", MESSAGES, ids=lambda flags: flags[-1])
@pytest.mark.parametrize("content", [b"no_such_field: 1", b"\xff"], ids=["a field", "no text"])
def test_files_of_another_message_fail_the_start(failure, tmp_path, flags, content):
    (tmp_path / "file").write_bytes(content)
    *others, file = flags
    assert failure(*others, f"{file}={{}}/file") == "INVALID_ARGUMENT: Invalid protobuf file: '{}/file'"


def test_custom_platforms_are_refused(failure, tmp_path):
    (tmp_path / "file").touch()
    assert failure("--embedded", "--platform_config_file={}/file").startswith("UNIMPLEMENTED: platform_config_file ")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("ssl_config_file", "tensorflow.serving.SSLConfig"),
        ("model_config_file", "tensorflow.serving.ModelServerConfig"),
        ("tensorflow_session_config_file", "tensorflow.ConfigProto"),
        ("thread_pool_factory_config_file", "tensorflow.serving.ThreadPoolConfig"),
    ],
)
def test_the_position_of_the_error_is_logged(failure, tmp_path, caplog, flag, message):
    (tmp_path / "file").write_text("\nzzz")
    failure("--embedded", f"--{flag}={{}}/file")
    assert f"Error parsing text-format {message}: 2:" in caplog.text


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (
            'model_config_list { config { name: "m" base_path: "/m" model_platform: "caffe" } }',
            "INVALID_ARGUMENT: Model m requests unsupported platform caffe",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" } }',
            "INVALID_ARGUMENT: Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            'model_config_list { config { name: "m" base_path: "m" model_platform: "tensorflow" } }',
            "INVALID_ARGUMENT: Expected model m to have an absolute path or URI; got base_path()=m",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" } config { name: "m" base_path: "/m" } }',
            "INVALID_ARGUMENT: Illegal to list model m multiple times in config list",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" '
            'version_labels { key: "stable" value: 1 } } }',
            "FAILED_PRECONDITION: Request to assign label to version 1 of model m, "
            "which is not currently available for inference",
        ),
        (
            'model_config_list { config { base_path: "/m" model_platform: "tensorflow" } }',
            "INVALID_ARGUMENT: Expected every model to have a name; that of base path '/m' has none",
        ),
        (
            'model_config_list { config { name: "m" base_path: "gs://b/m" model_platform: "tensorflow" } }',
            "UNIMPLEMENTED: File system scheme 'gs' not implemented (file: 'gs://b/m')",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/\\000" model_platform: "tensorflow" } }',
            "INVALID_ARGUMENT: Expected model m to have a base path without NUL characters",
        ),
        (
            'model_config_list { config { name: "digits" base_path: "/m" model_platform: "tensorflow" } }',
            "INVALID_ARGUMENT: Illegal to configure model digits: --embedded, --fake or Server.add_model has already ",
        ),
        ("custom_model_config {}", "INVALID_ARGUMENT: ServerModelConfig type not supported by "),
    ],
)
def test_invalid_model_configurations_fail_the_start(failure, tmp_path, text, status):
    (tmp_path / "models.config").write_text(text)
    assert failure("--embedded", "--model_config_file={}/models.config").startswith(status)


def test_a_base_path_of_another_file_system_fails_the_start(failure):
    status = "UNIMPLEMENTED: File system scheme 's3' not implemented (file: 's3://bucket/m')"
    assert failure("--model_base_path=s3://bucket/m") == status


def test_grpc_arguments_that_are_not_integers_fail_the_start(failure):
    status = failure("--embedded", "--grpc_channel_arguments=grpc.max_receive_message_length=abc")
    assert status == "INVALID_ARGUMENT: expected grpc.max_receive_message_length as an integer of 32 bits, got 'abc'"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("num_batch_threads { value: 100000000 }", "num_batch_threads must be at most 4096; was 100000000"),
        ("max_batch_size { value: 9000000000 }", "max_batch_size must be at most 2147483647; was 9000000000"),
    ],
)
def test_invalid_batching_parameters_fail_the_start(failure, tmp_path, text, fault):
    (tmp_path / "batching").write_text(text)
    status = failure("--embedded", "--enable_batching", "--batching_parameters_file={}/batching")
    assert status == f"INVALID_ARGUMENT: {fault}"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "server_key"),
        ("server_key: '-----BEGIN ' server_cert: '/etc/tls.crt'", "server_cert"),
        ("server_key: '-----BEGIN ' server_cert: '-----BEGIN ' custom_ca: 'ca.pem'", "custom_ca"),
        ("server_key: '-----BEGIN ' server_cert: '-----BEGIN ' client_verify: true", "custom_ca"),
    ],
)
def test_an_ssl_config_without_certificates(failure, tmp_path, text, field):
    (tmp_path / "ssl").write_text(text)
    status = failure("--embedded", "--ssl_config_file={}/ssl")
    assert status.startswith(f"INVALID_ARGUMENT: {{}}/ssl: expected {field}")


@pytest.mark.parametrize("content", [b"two words", b"\xff\xfe", b"\n"])
def test_a_token_that_a_header_cannot_contain_fails_the_start(failure, tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    status = failure("--embedded", "--token_file={}/token")
    assert status == "INVALID_ARGUMENT: {}/token: expected a token of printable ASCII characters without spaces"


def test_a_model_that_cannot_be_loaded(failure, tmp_path):
    (tmp_path / "m" / "3").mkdir(parents=True)
    status = failure("--model_base_path={}/m", "--model_name=m", "--max_num_load_retries=0")
    assert status.startswith(
        "UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 3} due to error: NOT_FOUND: "
    )


@pytest.mark.skipif("tensorflow" in sys.modules, reason="TensorFlow is here")
def test_a_saved_model_names_the_extra_that_it_needs(failure, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    (tmp_path / "m" / "3").mkdir(parents=True)
    (tmp_path / "m" / "3" / "saved_model.pb").touch()
    status = failure("--model_base_path={}/m", "--max_num_load_retries=0")
    assert "FAILED_PRECONDITION: running this model needs TensorFlow: pip install 'tfs-client[tensorflow]'" in status


@pytest.mark.parametrize("health", [[], ["--enable_grpc_healthcheck_service"]])
def test_a_taken_port(failure, taken_port, caplog, health):
    status = failure("--embedded", f"--port={taken_port}", *health)
    assert status == "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"
    assert f"cannot listen at 127.0.0.1:{taken_port}: Address already in use" in caplog.text


def test_a_taken_rest_port(failure, taken_port, free_port, caplog):
    status = failure("--embedded", f"--port={free_port}", f"--rest_api_port={taken_port}")
    assert status == f"INVALID_ARGUMENT: Failed to start HTTP Server at localhost:{taken_port}"
    assert f"cannot listen at 127.0.0.1:{taken_port} for REST" in caplog.text


def test_a_taken_rest_port_elsewhere_than_at_the_default_host(failure, free_port):
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", 0))
        sock.listen()
        port = sock.getsockname()[1]
        status = failure("--embedded", "--host=127.0.0.2", f"--port={free_port}", f"--rest_api_port={port}")
    assert status == f"INVALID_ARGUMENT: Failed to start HTTP Server at 127.0.0.2:{port}"


def test_an_unknown_host_fails_the_start(failure, free_port, caplog):
    failure("--embedded", f"--port={free_port}", "--host=no-such-host.invalid")
    assert f"cannot listen at no-such-host.invalid:{free_port}: " in caplog.text
    assert "certificate" not in caplog.text


def test_a_certificate_with_another_key_fails_the_start(failure, tmp_path, free_port, caplog):
    known = certificates()
    write_ssl(tmp_path / "ssl", known.server.certificate, known.client.key)
    status = failure("--embedded", f"--port={free_port}", "--ssl_config_file={}/ssl")
    assert status == "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"
    assert f"cannot listen at 127.0.0.1:{free_port}: the certificate and the key do not match" in caplog.text


def test_rest_without_its_packages_fails_the_start(failure, monkeypatch, free_port, caplog):
    caplog.set_level(logging.INFO)
    for name in [name for name in sys.modules if name.startswith("tfs_client.server.rest.host")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    status = failure("--embedded", f"--port={free_port}", "--rest_api_port=1")
    assert status == "INVALID_ARGUMENT: REST needs the package uvicorn: pip install 'tfs-client[server]'"
    assert "Running gRPC ModelServer" not in caplog.text


def test_signal_handlers_are_restored(failure):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    failure("--embedded", "--port=70000")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_requests_cannot_write_control_characters_to_the_terminal():
    """Nor can they imitate a line of the log."""
    record = logging.LogRecord("x", logging.INFO, "/a/tfs_client/b.py", 7, "model %s", ("\x1b[2J\u202e",), None)
    assert Formatter().format(record).endswith(r": I tfs_client/b.py:7] model \x1b[2J\u202e")


# --- what is shown instead of serving --------------------------------------------------------------------------------


def test_the_version(capsys):
    assert command.main(["--version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("TensorFlow ModelServer: 0.")
    assert second.startswith("TensorFlow Library: ")


def test_help(capsys):
    assert command.main(["--help"]) == 255
    assert capsys.readouterr().out.startswith("usage: tfs-serve\nFlags:\n\t--port=8500 ")


def test_a_value_that_cannot_be_read_is_reported_after_the_usage(capsys):
    handler = logging.StreamHandler(sys.stdout)
    command.log.addHandler(handler)
    try:
        assert command.main(["--port=x", "--version"]) == 255
    finally:
        command.log.removeHandler(handler)
    out = capsys.readouterr().out
    assert out.startswith("usage: tfs-serve\n")
    assert out.endswith("\nCouldn't interpret value x for flag port.\n")


def test_without_a_model_the_ways_to_give_one_are_named(failure):
    assert failure().splitlines()[1:] == [
        "The server was not started. tfs-serve --help lists all flags; --embedded serves demo models"
    ]


def test_unknown_flags_prevent_the_start(capsys):
    assert command.main(["--embedded", "--token-file=tok", "more"]) == 255
    assert capsys.readouterr().out.splitlines() == [
        "unknown argument: --token-file=tok (did you mean --token_file=tok?)",
        "unknown argument: more (a flag and its value are one argument: --name=value)",
        "The server was not started. tfs-serve --help lists all flags",
    ]


def test_flags_without_effect_are_logged_once_each(failure, caplog):
    caplog.set_level(logging.INFO)
    failure("--enable_profiler", "--enable_profiler=false", "--skip_initialize_tpu", "--port=0")
    said = [(record.levelname, record.message) for record in caplog.records]
    assert said == [
        ("INFO", "--enable_profiler: accepted, but has no effect"),
        ("WARNING", "--skip_initialize_tpu: not supported, ignored"),
    ]


@pytest.mark.parametrize(
    "flag", [flag for flag in FLAGS if flag.use in (Use.ACCEPTED, Use.IGNORED)], ids=attrgetter("name")
)
def test_a_flag_without_effect_changes_nothing(tmp_path, flag):
    (tmp_path / "file").touch()
    value = {"bool": not flag.default, "string": str(tmp_path / "file")}.get(flag.kind, 3)
    assert made("--embedded", f"--{flag.name}={value}") == made("--embedded")


# --- what the flags and files become ---------------------------------------------------------------------------------


def made(*arguments):
    return setup(read(arguments))


def test_defaults():
    found = made("--embedded")
    assert (found.config.host, found.config.port, found.rest_port) == ("127.0.0.1", 8500, None)
    assert found.config.rest_timeout == 30
    assert found.config.load_retry_interval == 60
    assert found.config.max_num_load_retries == 5
    assert found.platforms.batching is None
    assert found.platforms.warmup


def test_the_only_model(caplog):
    caplog.set_level(logging.INFO)
    (model,) = made("--model_name=m", "--model_base_path=/models/m").config.model_config
    assert (model.name, model.base_path, model.platform) == ("m", "/models/m", "tensorflow")
    line = "Building single TensorFlow model file config:  model_name: m model_base_path: /models/m"
    assert line in caplog.messages


def test_the_only_model_may_be_of_another_platform():
    (model,) = made("--model_base_path=/models/m", "--model_platform=python").config.model_config
    assert (model.name, model.platform) == ("default", "python")


def test_an_unknown_platform_fails_the_start(failure):
    status = failure("--model_name=m", "--model_base_path=/m", "--model_platform=pyton")
    assert status == "INVALID_ARGUMENT: Model m requests unsupported platform pyton"


def test_a_config_file_comes_before_the_only_model(caplog):
    config = made("--model_base_path=/m", "--model_config_file=/c", "--model_config_file_poll_wait_seconds=7").config
    assert (config.model_config, config.model_config_file) == (None, "/c")
    assert config.model_config_file_poll_wait_seconds == 7
    assert "--model_name and --model_base_path have no effect, because --model_config_file is given" in caplog.messages


def test_flags_become_options_of_the_server():
    config = made(
        "--embedded",
        "--port=0",
        "--grpc_socket_path=rel.sock",
        "--host=::1",
        "--rest_api_timeout_in_ms=1500",
        "--rest_api_enable_cors_support",
        "--rest_api_max_body_bytes=5000000000",
        "--max_connections=7",
        "--max_waiting_calls=8",
        "--idle_timeout_seconds=inf",
        "--grpc_body_timeout_seconds=7.5",
        "--rest_api_header_timeout_seconds=0.5",
        "--rest_api_body_timeout_seconds=1.5",
        "--rest_api_write_timeout_seconds=2.5",
        "--num_load_threads=2",
        "--num_unload_threads=3",
        "--max_num_load_retries=0",
        "--load_retry_interval_micros=500",
        "--file_system_poll_wait_seconds=-1",
        "--allow_version_labels_for_unavailable_models",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=5,grpc.ssl_target=-,big=9999999999",
        "--grpc_max_threads=3",
        "--enable_signature_method_name_check",
        "--enable_serialization_as_tensor_content",
        "--enable_grpc_healthcheck_service",
        "--enable_grpc_reflection=false",
        "--thread_pool_exhausted=refuse",
        "--reload_wait_seconds=1",
        "--allow_python_reload",
        "--drain_seconds=2",
        "--shutdown_grace_seconds=3",
    ).config
    assert (config.port, config.grpc_socket_path, config.host) == (None, "rel.sock", "::1")
    assert (config.rest_timeout, config.rest_cors, config.rest_max_body) == (1.5, True, 5_000_000_000)
    assert (config.max_connections, config.max_waiting_calls, config.idle_timeout) == (7, 8, math.inf)
    assert config.grpc_body_timeout == 7.5
    assert (config.rest_header_timeout, config.rest_body_timeout, config.rest_write_timeout) == (0.5, 1.5, 2.5)
    assert (config.num_load_threads, config.num_unload_threads) == (2, 3)
    assert (config.max_num_load_retries, config.load_retry_interval) == (0, 0.0005)
    assert config.file_system_poll_wait_seconds == -1
    assert config.allow_version_labels_for_unavailable_models
    assert config.channel_arguments == {"grpc.max_connection_age_ms": 5, "grpc.ssl_target": "-", "big": "9999999999"}
    assert config.threads == 3
    assert config.method_name_check
    assert config.tensor_content
    assert config.enable_grpc_healthcheck_service
    assert not config.enable_grpc_reflection
    assert config.thread_pool_exhausted == "refuse"
    assert config.allow_python_reload
    assert (config.reload_wait, config.drain_seconds, config.shutdown_grace) == (1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (0, 0)),
        (["--tensorflow_session_parallelism=4"], (4, 4)),
        (["--tensorflow_session_parallelism=4", "--tensorflow_intra_op_parallelism=2"], (2, 0)),
        (["--tensorflow_intra_op_parallelism=2", "--tensorflow_inter_op_parallelism=3"], (2, 3)),
    ],
)
def test_threads_of_tensorflow(arguments, expected):
    platforms = made("--embedded", *arguments).platforms
    assert (platforms.intra_op, platforms.inter_op) == expected


def test_how_models_are_loaded(tmp_path):
    (tmp_path / "batching").write_text("max_batch_size { value: 7 }")
    found = made(
        "--embedded",
        "--saved_model_tags=serve,gpu",
        "--prefer_tflite_model",
        "--num_tflite_pools=0",
        "--num_tflite_interpreters_per_pool=3",
        "--enable_model_warmup=false",
        "--num_request_iterations_for_warmup=3",
        "--enable_batching",
        f"--batching_parameters_file={tmp_path}/batching",
        "--enable_per_model_batching_parameters",
    )
    platforms = found.platforms
    assert platforms.saved_model_tags == {"serve", "gpu"}
    assert platforms.prefer_tflite_model
    assert (platforms.num_tflite_pools, platforms.num_tflite_interpreters_per_pool) == (1, 3)
    assert not platforms.warmup
    assert platforms.warmup_iterations == 3
    assert platforms.batching.max_batch_size == 7
    assert platforms.per_model_batching
    assert found.config.threads == BATCHING_THREADS
    assert made("--embedded", "--enable_batching", "--grpc_max_threads=5").config.threads == 5


def test_grpc_and_rest_have_separate_threads():
    config = made("--embedded", "--enable_batching", "--rest_api_num_threads=5").config
    assert (config.threads, config.rest_threads) == (BATCHING_THREADS, 5)
    config = made("--embedded", "--grpc_max_threads=3", "--rest_api_num_threads=5").config
    assert (config.threads, config.rest_threads) == (3, 5)


def test_flags_for_tensorflow_reach_its_platforms(tmp_path):
    (tmp_path / "session").write_text("allow_soft_placement: true")
    platforms = made(
        "--embedded",
        f"--tensorflow_session_config_file={tmp_path}/session",
        "--per_process_gpu_memory_fraction=0.5",
        "--mixed_precision=bfloat16",
        "--op_library=a",
        "--op_library=/b.so",
    ).platforms
    assert platforms.session_config_file == f"{tmp_path}/session"
    assert platforms.gpu_memory_fraction == 0.5
    assert platforms.mixed_precision == "bfloat16"
    assert platforms.op_libraries == ("a", "/b.so")


@pytest.mark.parametrize(
    ("flags", "xla"),
    [
        ([], False),
        (["--xla_cpu_compilation_enabled"], True),
        (["--xla_gpu_compilation_enabled"], True),
        (["--xla_cpu_compilation_enabled=false"], False),
    ],
)
def test_xla_is_enabled_by_its_flags_alone(flags, xla):
    assert made("--embedded", *flags).platforms.xla is xla


@pytest.mark.parametrize(("text", "tags"), [("", set()), ("a,b", {"a", "b"}), ("a,", {"a", ""})])
def test_tags_are_split_at_commas(text, tags):
    assert made("--embedded", f"--saved_model_tags={text}").platforms.saved_model_tags == tags


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/m" }', "/m"),
        ('prometheus_config { path: "/m" }', None),
        ("", None),
    ],
)
def test_the_path_of_the_metrics(tmp_path, text, path):
    (tmp_path / "monitoring").write_text(text)
    arguments = "--embedded", f"--monitoring_config_file={tmp_path}/monitoring"
    assert made(*arguments, "--rest_api_port=1").config.metrics_path == path
    assert made(*arguments).config.metrics_path is None


def test_a_path_of_the_metrics_that_no_request_can_have_is_refused(tmp_path, failure):
    (tmp_path / "monitoring").write_text('prometheus_config { enable: true path: "metrics" }')
    text = failure("--embedded", "--rest_api_port=1", f"--monitoring_config_file={tmp_path}/monitoring")
    assert text == (
        "INVALID_ARGUMENT: {}/monitoring: expected the path in prometheus_config to start with /, got 'metrics'"
    )


def test_without_rest_the_monitoring_file_is_not_read(caplog):
    assert made("--embedded", "--monitoring_config_file=/none").config.metrics_path is None
    assert caplog.messages == ["--monitoring_config_file has no effect: the metrics page needs --rest_api_port"]


def test_rest_needs_its_own_port(failure):
    assert failure("--embedded", "--port=5000", "--rest_api_port=5000") == (
        "INVALID_ARGUMENT: server_options.http_port cannot be same as grpc_port. "
        "Please use a different port for HTTP/REST API."
    )


def write_ssl(path: Path, certificate: bytes, key: bytes, *, ca: bytes = b"", verify: bool = False) -> None:
    """An ssl_config_file: the texts of PEM files themselves."""

    def quoted(pem):
        return '"' + pem.decode().replace("\n", "\\n") + '"'

    path.write_text(
        f"server_key: {quoted(key)}\nserver_cert: {quoted(certificate)}\n"
        f"custom_ca: {quoted(ca)}\nclient_verify: {str(verify).lower()}\n"
    )


def test_rest_with_tls_logs_that_it_is_not_encrypted(tmp_path, caplog):
    write_ssl(tmp_path / "ssl", certificates().server.certificate, certificates().server.key)
    made("--embedded", "--rest_api_port=1", f"--ssl_config_file={tmp_path}/ssl")
    assert caplog.messages == [
        "--ssl_config_file only secures gRPC: traffic on --rest_api_port is not encrypted, including tokens"
    ]


@pytest.mark.parametrize("verify", [False, True])
def test_tls_comes_from_the_ssl_config_file(tmp_path, verify, free_port):
    known = certificates()
    write_ssl(tmp_path / "ssl", known.server.certificate, known.server.key, ca=known.ca, verify=verify)
    config = made("--embedded", f"--port={free_port}", f"--ssl_config_file={tmp_path}/ssl").config
    mine = {"certificate": known.client.certificate, "key": known.client.key} if verify else {}
    with Server(config) as server:
        server.add_model("half_plus_two", MODELS["half_plus_two"]())
        with PredictClient(server.target, model="half_plus_two", tls=TLS(ca=known.ca, **mine)) as client:
            assert client.predict([1.0]).array == 2.5


def test_the_token_comes_from_a_file(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    assert made("--embedded", f"--token_file={tmp_path}/token").config.token == "secret"


# --- how files are named ---------------------------------------------------------------------------------------------

FILES = {
    "model_config_file": "model_config_list {}",
    "batching_parameters_file": "max_batch_size { value: 7 }",
    "monitoring_config_file": "prometheus_config { enable: true path: '/m' }",
    "token_file": "secret",
    "tensorflow_session_config_file": "allow_soft_placement: true",
    "thread_pool_factory_config_file": "",
}


def test_every_file_flag_takes_a_file_uri(tmp_path):
    for flag, text in FILES.items():
        (tmp_path / flag).write_text(text)
    write_ssl(tmp_path / "ssl_config_file", certificates().server.certificate, certificates().server.key)
    given = [f"--{flag}=file://{tmp_path}/{flag}" for flag in (*FILES, "ssl_config_file")]
    found = made(*given, "--enable_batching", "--rest_api_port=1")
    assert found.config.model_config_file == f"file://{tmp_path}/model_config_file"
    assert found.config.token == "secret"
    assert found.config.metrics_path == "/m"
    assert found.config.tls is not None
    assert found.platforms.batching.max_batch_size == 7


@pytest.mark.parametrize("flag", [*FILES, "ssl_config_file", "platform_config_file"])
def test_errors_of_file_flags_quote_the_given_name(failure, flag):
    models = [] if flag == "model_config_file" else ["--embedded"]
    rest = [*models, "--enable_batching", "--rest_api_port=1"]
    missing = "NOT_FOUND: file://{}/none; No such file or directory"
    assert failure(f"--{flag}=file://{{}}/none", *rest) == missing
    elsewhere = "UNIMPLEMENTED: File system scheme 's3' not implemented (file: 's3://bucket/x')"
    assert failure(f"--{flag}=s3://bucket/x", *rest) == elsewhere


def test_empty_file_names_mean_no_file():
    empty = [f"--{flag}=" for flag in (*FILES, "ssl_config_file", "platform_config_file")]
    found, plain = made("--embedded", "--rest_api_port=1", *empty), made("--embedded", "--rest_api_port=1")
    assert (found.config, found.platforms) == (plain.config, plain.platforms)
