"""The server's options from the flags of tfs-serve, after checks in the model server's order.

Source: model_servers/server.cc (BuildAndStart).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tfs_client.cli.serve import fake_paths
from tfs_client.cli.serve import flag_files as files
from tfs_client.cli.serve.fake_paths import Fakes
from tfs_client.cli.serve.flags import Arguments, FlagValues
from tfs_client.errors import InvalidArgumentError, UnimplementedError
from tfs_client.model_config import ModelConfig, ModelServerConfig
from tfs_client.server import ServerConfig
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.files.proto_files import check_syntax
from tfs_client.server.lifecycle.model_list import ListedModel, check_names_and_paths
from tfs_client.server.lifecycle.platforms import PlatformOptions

log: logging.Logger = logging.getLogger("tfs_client.server")

BATCHING_THREADS = 256  # default threads with batching: each call that waits for its batch occupies one


@dataclass(frozen=True)
class Setup:
    """The server to start.

    Attributes:
        config: its options, except for the REST port.
        platforms: how it loads models.
        rest_port: the REST port; None for no REST.
        embedded: whether it serves the models that come with the package.
        fakes: the exported models of which it serves fakes.
    """

    config: ServerConfig
    platforms: PlatformOptions
    rest_port: int | None
    embedded: bool
    fakes: Fakes


# Flags for models that are loaded, or run by a runtime; a fake is neither.
NOT_FOR_FAKES = frozenset(
    [
        "enable_batching",
        "batching_parameters_file",
        "enable_per_model_batching_parameters",
        "num_load_threads",
        "num_unload_threads",
        "max_num_load_retries",
        "load_retry_interval_micros",
        "file_system_poll_wait_seconds",
        "flush_filesystem_caches",
        "model_config_file_poll_wait_seconds",
        "tensorflow_session_parallelism",
        "tensorflow_session_config_file",
        "tensorflow_intra_op_parallelism",
        "tensorflow_inter_op_parallelism",
        "per_process_gpu_memory_fraction",
        "mixed_precision",
        "op_library",
        "xla_cpu_compilation_enabled",
        "xla_gpu_compilation_enabled",
        "num_tflite_pools",
        "num_tflite_interpreters_per_pool",
        "enable_model_warmup",
        "num_request_iterations_for_warmup",
    ]
)


def setup(arguments: Arguments) -> Setup:
    """Check the flags and read the files. Raises CallError, or ConfigError for values out of range."""
    flags = arguments.values
    _check(arguments)
    model_config = _model_config(flags)
    batching = _batching(flags)
    _check_syntax(flags)
    platforms = _platforms(flags, batching)
    fakes = _fakes(flags, platforms)
    rest_port = _rest_port(flags)
    threads, rest_threads = _threads(arguments, batching)
    monitoring = flags.monitoring_config_file if rest_port is not None else ""
    config = ServerConfig(
        model_config=model_config,
        model_config_file=flags.model_config_file or None,
        model_config_file_poll_wait_seconds=flags.model_config_file_poll_wait_seconds,
        host=flags.host,
        port=flags.port or None,
        grpc_socket_path=flags.grpc_socket_path or None,
        tls=files.tls(flags.ssl_config_file) if flags.ssl_config_file else None,
        token=files.token(flags.token_file) if flags.token_file else None,
        enable_grpc_healthcheck_service=flags.enable_grpc_healthcheck_service,
        enable_grpc_reflection=flags.enable_grpc_reflection,
        thread_pool_exhausted=flags.thread_pool_exhausted,  # type: ignore[arg-type]  # ServerConfig checks the text
        channel_arguments=files.channel_arguments(flags.grpc_channel_arguments),
        rest_timeout=flags.rest_api_timeout_in_ms / 1e3,
        rest_max_body=flags.rest_api_max_body_bytes,
        max_connections=flags.max_connections,
        max_waiting_calls=flags.max_waiting_calls,
        idle_timeout=flags.idle_timeout_seconds,
        grpc_body_timeout=flags.grpc_body_timeout_seconds,
        rest_header_timeout=flags.rest_api_header_timeout_seconds,
        rest_body_timeout=flags.rest_api_body_timeout_seconds,
        rest_write_timeout=flags.rest_api_write_timeout_seconds,
        rest_cors=flags.rest_api_enable_cors_support,
        metrics_path=files.metrics_path(monitoring) if monitoring else None,
        file_system_poll_wait_seconds=flags.file_system_poll_wait_seconds,
        num_load_threads=flags.num_load_threads,
        num_unload_threads=flags.num_unload_threads,
        max_num_load_retries=flags.max_num_load_retries,
        load_retry_interval=flags.load_retry_interval_micros / 1e6,
        flush_filesystem_caches=flags.flush_filesystem_caches,
        allow_version_labels_for_unavailable_models=flags.allow_version_labels_for_unavailable_models,
        reload_wait=flags.reload_wait_seconds,
        allow_python_reload=flags.allow_python_reload,
        model_roots=files.names(flags.model_roots) or None,
        threads=threads,
        rest_threads=rest_threads,
        tensor_content=flags.enable_serialization_as_tensor_content,
        method_name_check=flags.enable_signature_method_name_check,
        shutdown_grace=flags.shutdown_grace_seconds,
        drain_seconds=flags.drain_seconds,
        access_log=flags.access_log or None,
    )
    _warn_of_unused(arguments)
    return Setup(config, platforms, rest_port, flags.embedded, fakes)


def _check(arguments: Arguments) -> None:
    flags = arguments.values
    if not flags.fake and any(flag.name == "fake" for flag in arguments.given):
        raise InvalidArgumentError("--fake: expected PATH or NAME=PATH, got an empty value")
    if not flags.port and not flags.grpc_socket_path:
        raise InvalidArgumentError(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
        )
    if flags.use_alts_credentials and flags.ssl_config_file:
        raise InvalidArgumentError("Either use_alts_credentials must be false or ssl_config_file must be empty.")
    if flags.use_alts_credentials:
        raise UnimplementedError("use_alts_credentials is not supported; secure the port with ssl_config_file")
    if not (flags.model_base_path or flags.model_config_file or flags.embedded or flags.fake):
        raise InvalidArgumentError(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )


def _model_config(flags: FlagValues) -> ModelServerConfig | None:
    """Return the configuration of the single model; None without one, or if a file names the models."""
    if flags.model_config_file:
        if flags.model_base_path:
            log.warning("--model_name and --model_base_path have no effect, because --model_config_file is given")
        return None
    if not flags.model_base_path:
        return None
    name, path, platform = flags.model_name, flags.model_base_path, flags.model_platform
    log.info("Building single TensorFlow model file config:  model_name: %s model_base_path: %s", name, path)
    check_names_and_paths((ListedModel(name, path),))
    return ModelServerConfig([ModelConfig(name, path, platform=platform)])


def _fakes(flags: FlagValues, platforms: PlatformOptions) -> Fakes:
    return Fakes(fake_paths.split(flags.fake), platforms.saved_model_tags, platforms.prefer_tflite_model)


def _warn_of_unused(arguments: Arguments) -> None:
    """Log the flags that have no effect on the models that the other flags name."""
    flags, given = arguments.values, {flag.name for flag in arguments.given}
    if flags.model_base_path or flags.model_config_file:
        return
    for name in sorted(given & {"model_name", "model_platform"}):
        hint = "; --fake=NAME=PATH names a fake" if flags.fake and name == "model_name" else ""
        log.warning("--%s has no effect without --model_base_path%s", name, hint)
    unused = sorted(given & NOT_FOR_FAKES) if flags.fake else []
    if unused:
        log.warning("No effect on fakes: %s", ", ".join(f"--{name}" for name in unused))


def _batching(flags: FlagValues) -> BatchingParameters | None:
    if flags.enable_batching:
        file = flags.batching_parameters_file
        return BatchingParameters.from_file(file) if file else BatchingParameters()
    if flags.batching_parameters_file:
        raise InvalidArgumentError(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
        )
    return None


def _check_syntax(flags: FlagValues) -> None:
    """Refuse files that are not protobuf text, even if the server does not use them.

    The fields of a session's ConfigProto are checked later, when TensorFlow, which defines the message, is imported.
    """
    if flags.tensorflow_session_config_file:
        check_syntax(flags.tensorflow_session_config_file, "tensorflow.ConfigProto")
    if flags.thread_pool_factory_config_file:
        check_syntax(flags.thread_pool_factory_config_file, "tensorflow.serving.ThreadPoolConfig")
    if flags.platform_config_file:
        check_syntax(flags.platform_config_file, "tensorflow.serving.PlatformConfigMap")
        raise UnimplementedError("platform_config_file is not supported; use the other flags for loading models")


def _platforms(flags: FlagValues, batching: BatchingParameters | None) -> PlatformOptions:
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
        saved_model_tags=frozenset(flags.saved_model_tags.split(",") if flags.saved_model_tags else ()),
        prefer_tflite_model=flags.prefer_tflite_model,
        num_tflite_pools=max(flags.num_tflite_pools, 1),
        num_tflite_interpreters_per_pool=flags.num_tflite_interpreters_per_pool,
        intra_op=max(intra, 0),
        inter_op=max(inter, 0),
        session_config_file=flags.tensorflow_session_config_file or None,
        gpu_memory_fraction=flags.per_process_gpu_memory_fraction,
        mixed_precision=flags.mixed_precision,
        xla=flags.xla_cpu_compilation_enabled or flags.xla_gpu_compilation_enabled,
        op_libraries=flags.op_library,
        batching=batching,
        per_model_batching=flags.enable_per_model_batching_parameters,
        warmup=flags.enable_model_warmup,
        warmup_iterations=flags.num_request_iterations_for_warmup,
        method_name_check=flags.enable_signature_method_name_check,
    )


def _rest_port(flags: FlagValues) -> int | None:
    if not flags.rest_api_port:
        if flags.monitoring_config_file:
            log.warning("--monitoring_config_file has no effect: the metrics page needs --rest_api_port")
        return None
    if flags.rest_api_port == flags.port:
        raise InvalidArgumentError(
            "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API."
        )
    if not 0 < flags.rest_api_port < 65536:
        raise InvalidArgumentError(f"expected rest_api_port as a port, or 0 for none, got {flags.rest_api_port}")
    if flags.ssl_config_file:
        log.warning(
            "--ssl_config_file only secures gRPC: traffic on --rest_api_port is not encrypted, including tokens"
        )
    return flags.rest_api_port


def _threads(arguments: Arguments, batching: BatchingParameters | None) -> tuple[int, int]:
    """Return the numbers of threads for gRPC and REST calls; the defaults grow with batching."""
    flags, given = arguments.values, {flag.name for flag in arguments.given}
    least = 0 if batching is None else BATCHING_THREADS
    grpc, rest = flags.grpc_max_threads, flags.rest_api_num_threads
    return (
        grpc if "grpc_max_threads" in given else max(grpc, least),
        rest if "rest_api_num_threads" in given else max(rest, least),
    )
