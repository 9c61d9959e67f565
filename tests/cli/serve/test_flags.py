"""The flags of tfs-serve: names, types and defaults of the model server, and its way of reading them."""

from __future__ import annotations

import os
from dataclasses import asdict

import pytest

from tfs_client.cli.serve.flags import FLAGS, Use, read, unknown_argument, usage

CPUS = os.cpu_count()

# model_servers/main.cc
OF_THE_MODEL_SERVER = {
    "port": ("int32", 8500),
    "grpc_socket_path": ("string", ""),
    "rest_api_port": ("int32", 0),
    "rest_api_num_threads": ("int32", 4 * CPUS),
    "rest_api_timeout_in_ms": ("int32", 30000),
    "rest_api_enable_cors_support": ("bool", False),
    "enable_batching": ("bool", False),
    "allow_version_labels_for_unavailable_models": ("bool", False),
    "batching_parameters_file": ("string", ""),
    "enable_per_model_batching_parameters": ("bool", False),
    "model_config_file": ("string", ""),
    "model_config_file_poll_wait_seconds": ("int32", 0),
    "model_name": ("string", "default"),
    "model_base_path": ("string", ""),
    "num_load_threads": ("int32", 0),
    "num_unload_threads": ("int32", 0),
    "max_num_load_retries": ("int32", 5),
    "load_retry_interval_micros": ("int64", 60000000),
    "file_system_poll_wait_seconds": ("int32", 1),
    "flush_filesystem_caches": ("bool", True),
    "tensorflow_session_parallelism": ("int64", 0),
    "tensorflow_session_config_file": ("string", ""),
    "tensorflow_intra_op_parallelism": ("int64", 0),
    "tensorflow_inter_op_parallelism": ("int64", 0),
    "use_alts_credentials": ("bool", False),
    "ssl_config_file": ("string", ""),
    "platform_config_file": ("string", ""),
    "per_process_gpu_memory_fraction": ("float", 0),
    "saved_model_tags": ("string", "serve"),
    "grpc_channel_arguments": ("string", ""),
    "grpc_max_threads": ("int32", 4 * CPUS),
    "enable_model_warmup": ("bool", True),
    "num_request_iterations_for_warmup": ("int32", 0),
    "version": ("bool", False),
    "monitoring_config_file": ("string", ""),
    "remove_unused_fields_from_bundle_metagraph": ("bool", True),
    "prefer_tflite_model": ("bool", False),
    "num_tflite_pools": ("int32", CPUS),
    "num_tflite_interpreters_per_pool": ("int32", 1),
    "enable_signature_method_name_check": ("bool", False),
    "xla_cpu_compilation_enabled": ("bool", False),
    "xla_gpu_compilation_enabled": ("bool", False),
    "enable_profiler": ("bool", True),
    "thread_pool_factory_config_file": ("string", ""),
    "mixed_precision": ("string", ""),
    "skip_initialize_tpu": ("bool", False),
    "enable_grpc_healthcheck_service": ("bool", False),
    "enable_serialization_as_tensor_content": ("bool", False),
}
OURS = {
    "host": ("string", "127.0.0.1"),
    "access_log": ("string", ""),
    "model_platform": ("string", "tensorflow"),
    "op_library": ("strings", ()),
    "token_file": ("string", ""),
    "rest_api_max_body_bytes": ("int64", 1 << 30),
    "max_connections": ("int32", 10_000),
    "max_waiting_calls": ("int32", 10_000),
    "thread_pool_exhausted": ("string", "queue"),
    "enable_grpc_reflection": ("bool", True),
    "idle_timeout_seconds": ("float", 300),
    "grpc_body_timeout_seconds": ("float", 120),
    "rest_api_header_timeout_seconds": ("float", 20),
    "rest_api_body_timeout_seconds": ("float", 30),
    "rest_api_write_timeout_seconds": ("float", 60),
    "embedded": ("bool", False),
    "fake": ("strings", ()),
    "allow_python_reload": ("bool", False),
    "model_roots": ("string", ""),
    "reload_wait_seconds": ("float", 60),
    "drain_seconds": ("float", 0),
    "shutdown_grace_seconds": ("float", 10),
}


def test_the_model_servers_flags_are_all_there_with_their_defaults():
    theirs = {flag.name: (flag.kind, flag.default) for flag in FLAGS if flag.use is not Use.OWN}
    assert theirs == OF_THE_MODEL_SERVER


def test_our_own_flags_are_few():
    assert {flag.name: (flag.kind, flag.default) for flag in FLAGS if flag.use is Use.OWN} == OURS


def test_without_arguments_flags_have_their_defaults():
    arguments = read([])
    assert asdict(arguments.values) == {name: default for name, (_, default) in (OF_THE_MODEL_SERVER | OURS).items()}
    assert arguments.usable
    assert not arguments.given


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("--port=9000", "port", 9000),
        ("--port=-1", "port", -1),
        ("--port= 7", "port", 7),
        ("--port=+7", "port", 7),
        ("--port=2147483647", "port", 2**31 - 1),
        ("--load_retry_interval_micros=-9223372036854775808", "load_retry_interval_micros", -(2**63)),
        ("--model_name=", "model_name", ""),
        ("--op_library=tensorflow_text", "op_library", ("tensorflow_text",)),
        ("--op_library=", "op_library", ()),
        ("--host=", "host", "127.0.0.1"),
        ("--model_platform=", "model_platform", "tensorflow"),
        ("--model_name=a=b --c", "model_name", "a=b --c"),
        ("--model_base_path=/models/m", "model_base_path", "/models/m"),
        ("--enable_batching", "enable_batching", True),
        ("--enable_batching=TRUE", "enable_batching", True),
        ("--enable_batching=1", "enable_batching", True),
        ("--enable_profiler=False", "enable_profiler", False),
        ("--enable_profiler=0", "enable_profiler", False),
        ("--per_process_gpu_memory_fraction=0.5", "per_process_gpu_memory_fraction", 0.5),
        ("--reload_wait_seconds=inf", "reload_wait_seconds", float("inf")),
    ],
)
def test_values(argument, name, value):
    arguments = read([argument])
    assert getattr(arguments.values, name) == value
    assert [flag.name for flag in arguments.given] == [name]
    assert arguments.usable
    assert not arguments.unknown


def test_a_flag_of_several_values_is_given_several_times():
    arguments = read(["--op_library=a,b", "--port=1", "--op_library=/c.so", "--port=2"])
    assert arguments.values.op_library == ("a,b", "/c.so")
    assert arguments.values.port == 2


@pytest.mark.parametrize(
    "argument",
    [
        "--port=",
        "--port=x",
        "--port=1.5",
        "--port=8500x",
        "--port=2147483648",
        "--port=1_000",
        "--load_retry_interval_micros=9223372036854775808",
        "--enable_batching=",
        "--enable_batching=yes",
        "--per_process_gpu_memory_fraction=much",
        "--reload_wait_seconds=1_0",
        "--reload_wait_seconds=\u0663",
    ],
)
def test_values_that_cannot_be_read(argument):
    name, _, value = argument.removeprefix("--").partition("=")
    arguments = read([argument])
    assert arguments.wrong == [f"Couldn't interpret value {value} for flag {name}."]
    assert not arguments.usable


@pytest.mark.parametrize(
    "unknown", ["--port", "--model_name", "--no_such=1", "--ports=1", "-port=1", "port=1", "7", ""]
)
def test_arguments_that_are_not_flags_are_collected(unknown):
    arguments = read([unknown, "--port=1"])
    assert arguments.unknown == [unknown]
    assert arguments.values.port == 1
    assert arguments.usable


def test_the_last_of_repeated_flags_wins():
    assert read(["--port=1", "--port=2"]).values.port == 2


def test_two_dashes_end_the_flags():
    arguments = read(["--port=1", "--", "--port=2", "--port=x"])
    assert arguments.values.port == 1
    assert arguments.unknown == ["--", "--port=2", "--port=x"]
    assert arguments.usable


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--port=1", "rest", "--help"]])
def test_help(arguments):
    assert not read(arguments).usable


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--token-file=tok", " (did you mean --token_file=tok?)"),
        ("--ssl_config_fil=", " (did you mean --ssl_config_file=?)"),
        ("--port", " (did you mean --port=VALUE?)"),
        ("-enable-batching", " (did you mean --enable_batching?)"),
        ("8522", " (a flag and its value are one argument: --name=value)"),
        ("--xyz", ""),
    ],
)
def test_unknown_flags_get_suggestions(argument, said):
    assert unknown_argument(argument) == f"unknown argument: {argument}{said}"


def test_the_usage_lists_every_flag_as_the_model_server_does():
    lines = usage("tfs-serve").splitlines()
    assert lines[:2] == ["usage: tfs-serve", "Flags:"]
    assert [line.split("=")[0].strip() for line in lines[2:]] == [f"--{flag.name}" for flag in FLAGS]
    assert lines[2].startswith("\t--port=8500                      \tint32\t")
    assert any(line.startswith('\t--model_name="default"           \tstring\t') for line in lines)
    assert any(line.startswith("\t--enable_model_warmup=true       \tbool\t") for line in lines)
    assert "supported" in next(line for line in lines if "platform_config_file" in line)
