"""What the flags of tfs-serve make of the server: its checks at the start, in the model server's order, and options.

Source: model_servers/server.cc (BuildAndStart).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from tfs_client.cli import serve_files as files
from tfs_client.cli.serve_flags import Arguments
from tfs_client.errors import InvalidArgumentError, UnimplementedError
from tfs_client.model_config import ModelConfig, ModelServerConfig
from tfs_client.server import ServerConfig
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.model_list import ListedModel, check_names_and_paths
from tfs_client.server.platforms import PlatformOptions
from tfs_client.server.proto_files import check_syntax

log = logging.getLogger("tfs_client.server")

MAX_WAITING = 256  # calls that may wait for their batches unless said otherwise: each of them holds a thread


@dataclass(frozen=True)
class Setup:
    """What to start.

    Attributes:
        config: the server's options, without REST.
        platforms: how its models are loaded.
        rest_port: the port of REST; None: none.
        embedded: whether to serve the models that come with the package.
    """

    config: ServerConfig
    platforms: PlatformOptions
    rest_port: int | None
    embedded: bool


def setup(arguments: Arguments) -> Setup:
    """Check the flags and read the files. Raises CallError, or ConfigError for values that make no sense."""
    flags = arguments.values
    _check(flags)
    models = _models(flags)
    batching = _batching(flags)
    _check_unused_files(flags)
    platforms = _platforms(flags, batching)
    rest_port = _rest_port(flags)
    config = ServerConfig(
        **models,
        **_listening(flags, rest_port),
        **_loading(flags),
        threads=_threads(arguments, batching),
        tensor_content=flags.enable_serialization_as_tensor_content,
        method_name_check=flags.enable_signature_method_name_check,
        shutdown_grace=flags.shutdown_grace_seconds,
        drain_seconds=flags.drain_seconds,
    )
    return Setup(config, platforms, rest_port, flags.embedded)


def _check(flags: Any) -> None:
    if not flags.port and not flags.grpc_socket_path:
        raise InvalidArgumentError(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
        )
    if flags.use_alts_credentials and flags.ssl_config_file:
        raise InvalidArgumentError("Either use_alts_credentials must be false or ssl_config_file must be empty.")
    if flags.use_alts_credentials:
        raise UnimplementedError("use_alts_credentials is not supported; secure the port with ssl_config_file")
    if not flags.model_base_path and not flags.model_config_file and not flags.embedded:
        raise InvalidArgumentError(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )


def _models(flags: Any) -> dict[str, Any]:
    """The models of a file, or else the only one."""
    if flags.model_config_file:
        if flags.model_base_path:
            log.warning("--model_name and --model_base_path count for nothing beside --model_config_file")
        polls = flags.model_config_file_poll_wait_seconds
        return {"model_config_file": flags.model_config_file, "model_config_file_poll_wait_seconds": polls}
    if not flags.model_base_path:
        return {}
    name, path, platform = flags.model_name, flags.model_base_path, flags.model_platform
    log.info("Building single TensorFlow model file config:  model_name: %s model_base_path: %s", name, path)
    check_names_and_paths((ListedModel(name, path),))
    return {"model_config": ModelServerConfig([ModelConfig(name, path, platform=platform)])}


def _batching(flags: Any) -> BatchingParameters | None:
    if flags.enable_batching:
        file = flags.batching_parameters_file
        return BatchingParameters.from_file(file) if file else BatchingParameters()
    if flags.batching_parameters_file:
        raise InvalidArgumentError(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
        )
    return None


def _check_unused_files(flags: Any) -> None:
    """A file that is no protobuf text is told, also where what it says would change nothing."""
    if flags.tensorflow_session_config_file:
        check_syntax(flags.tensorflow_session_config_file, "tensorflow.ConfigProto")
    if flags.thread_pool_factory_config_file:
        check_syntax(flags.thread_pool_factory_config_file, "tensorflow.serving.ThreadPoolConfig")
    if flags.platform_config_file:
        check_syntax(flags.platform_config_file, "tensorflow.serving.PlatformConfigMap")
        raise UnimplementedError("platform_config_file is not supported; other flags say how models are loaded")


def _platforms(flags: Any, batching: BatchingParameters | None) -> PlatformOptions:
    intra, inter = flags.tensorflow_intra_op_parallelism, flags.tensorflow_inter_op_parallelism
    both = flags.tensorflow_session_parallelism
    if both > 0 and intra > 0 and inter > 0:
        raise InvalidArgumentError(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all."
        )
    if both > 0 and intra <= 0 and inter <= 0:
        intra = inter = both
    return PlatformOptions(
        saved_model_tags=frozenset(filter(None, flags.saved_model_tags.split(","))),
        prefer_tflite_model=flags.prefer_tflite_model,
        intra_op=max(intra, 0),
        inter_op=max(inter, 0),
        batching=batching,
        per_model_batching=flags.enable_per_model_batching_parameters,
        warmup=flags.enable_model_warmup,
        warmup_iterations=flags.num_request_iterations_for_warmup,
        method_name_check=flags.enable_signature_method_name_check,
    )


def _rest_port(flags: Any) -> int | None:
    if not flags.rest_api_port:
        if flags.monitoring_config_file:
            log.warning("--monitoring_config_file has no effect: metrics are at the port that --rest_api_port opens")
        return None
    if flags.rest_api_port == flags.port:
        raise InvalidArgumentError(
            "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API."
        )
    if not 0 < flags.rest_api_port < 65536:
        raise InvalidArgumentError(f"rest_api_port must be a port, or 0 for none; was {flags.rest_api_port}")
    if flags.ssl_config_file:
        log.warning("--ssl_config_file secures gRPC alone: at --rest_api_port all goes in the clear, tokens too")
    port: int = flags.rest_api_port
    return port


def _listening(flags: Any, rest_port: int | None) -> dict[str, Any]:
    monitoring = flags.monitoring_config_file if rest_port is not None else ""
    return {
        "host": flags.host,
        "port": flags.port or None,
        "grpc_socket_path": flags.grpc_socket_path or None,
        "tls": files.tls(flags.ssl_config_file) if flags.ssl_config_file else None,
        "token": files.token(flags.token_file) if flags.token_file else None,
        "enable_grpc_healthcheck_service": flags.enable_grpc_healthcheck_service,
        "channel_arguments": files.channel_arguments(flags.grpc_channel_arguments),
        "rest_timeout": flags.rest_api_timeout_in_ms / 1e3,
        "rest_max_body": flags.rest_api_max_body_bytes,
        "max_connections": flags.max_connections,
        "max_waiting_calls": flags.max_waiting_calls,
        "idle_timeout": flags.idle_timeout_seconds,
        "grpc_body_timeout": flags.grpc_body_timeout_seconds,
        "rest_header_timeout": flags.rest_api_header_timeout_seconds,
        "rest_body_timeout": flags.rest_api_body_timeout_seconds,
        "rest_write_timeout": flags.rest_api_write_timeout_seconds,
        "rest_cors": flags.rest_api_enable_cors_support,
        "metrics_path": files.metrics_path(monitoring) if monitoring else None,
    }


def _loading(flags: Any) -> dict[str, Any]:
    return {
        "file_system_poll_wait_seconds": flags.file_system_poll_wait_seconds,
        "num_load_threads": flags.num_load_threads,
        "num_unload_threads": flags.num_unload_threads,
        "max_num_load_retries": flags.max_num_load_retries,
        "load_retry_interval": flags.load_retry_interval_micros / 1e6,
        "allow_version_labels_for_unavailable_models": flags.allow_version_labels_for_unavailable_models,
        "reload_wait": flags.reload_wait_seconds,
        "allow_python_reload": flags.allow_python_reload,
        "model_roots": files.names(flags.model_roots) or None,
    }


def _threads(arguments: Arguments, batching: BatchingParameters | None) -> int:
    """How many calls may be inside at the same time. With batching they wait there for each other."""
    threads: int = arguments.values.grpc_max_threads
    given = any(flag.name == "grpc_max_threads" for flag in arguments.given)
    return threads if given or batching is None else max(threads, MAX_WAITING)
