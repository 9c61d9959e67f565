"""The flags of tfs-serve: those of tensorflow_model_server under their own names, and a few of ours.

They are read as the model server reads its own: ``--name=value``, for booleans also ``--name``; ``--`` ends them. What
has a value that cannot be read ends the program, and so does what is no flag, where the model server goes on: of
``--token-file=x`` it would make a server without a token.
Source: model_servers/main.cc; tsl/util/command_line_flags.cc.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any


class Use(Enum):
    """What becomes of a flag of the model server here."""

    HONOURED = "does what it does in the model server"
    ACCEPTED = "accepted, but has no effect"
    IGNORED = "not supported, ignored"
    REFUSED = "not supported: the server does not start with it"
    OWN = "not a flag of the model server"


@dataclass(frozen=True)
class Flag:
    """A flag.

    Attributes:
        kind: "bool", "int32", "int64", "float" or "string".
        default: its value when it is not given.
        help: what it is for.
    """

    name: str
    kind: str
    default: Any
    help: str
    use: Use = Use.HONOURED

    def read(self, text: str | None) -> Any:
        """The value that was written; None for a flag without one. Raises ValueError for what is no such value."""
        if text is None and self.kind == "bool":
            return True
        return READERS[self.kind](text or "")

    def takes(self, name: str, text: str | None) -> bool:
        """Whether an argument is this flag. Without a value only a boolean is."""
        return name == self.name and (text is not None or self.kind == "bool")


def _bool(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _integer(text: str, bits: int) -> int:
    number = int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,25}", text) else None
    if number is None or not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise ValueError(text)
    return number


def _float(text: str) -> float:
    if not text.isascii() or "_" in text:  # Python reads 1_0 and digits of other scripts
        raise ValueError(text)
    return float(text)


READERS: dict[str, Any] = {
    "bool": _bool,
    "int32": lambda text: _integer(text, 32),
    "int64": lambda text: _integer(text, 64),
    "float": _float,
    "string": str,
}

_CPUS = os.cpu_count() or 1
_SHARED = "SavedModels of the process share them"

FLAGS: tuple[Flag, ...] = (
    Flag("port", "int32", 8500, "TCP port of gRPC; 0: none"),
    Flag("grpc_socket_path", "string", "", "UNIX socket of gRPC, a path; empty: none"),
    Flag("rest_api_port", "int32", 0, "port of REST and of the metrics page; 0: none. Needs the extra server"),
    Flag("rest_api_num_threads", "int32", 4 * _CPUS, "threads of REST: as many as grpc_max_threads", Use.ACCEPTED),
    Flag("rest_api_timeout_in_ms", "int32", 30000, "how long a REST call may run; 0 or less: no limit"),
    Flag("rest_api_enable_cors_support", "bool", False, "CORS headers in REST answers"),
    Flag("enable_batching", "bool", False, "run calls that arrive together as one"),
    Flag(
        "allow_version_labels_for_unavailable_models",
        "bool",
        False,
        "let labels that are new be given to versions that are not available yet",
    ),
    Flag("batching_parameters_file", "string", "", "BatchingParameters as protobuf text"),
    Flag(
        "enable_per_model_batching_parameters",
        "bool",
        False,
        "batch only versions with a file batching_params.pbtxt in their directory, and as it says",
    ),
    Flag("model_config_file", "string", "", "ModelServerConfig as protobuf text; instead of model_name and base path"),
    Flag("model_config_file_poll_wait_seconds", "int32", 0, "how often that file is applied again; 0 or less: never"),
    Flag("model_name", "string", "default", "name of the only model"),
    Flag("model_base_path", "string", "", "base path of the only model; absolute"),
    Flag("num_load_threads", "int32", 0, "loads at the same time; 0: one of each model"),
    Flag("num_unload_threads", "int32", 0, "unloads at the same time; 0: one of each model"),
    Flag("max_num_load_retries", "int32", 5, "how often a load that failed is tried again"),
    Flag("load_retry_interval_micros", "int64", 60_000_000, "pause before each of them; 0 or less: none"),
    Flag("file_system_poll_wait_seconds", "int32", 1, "how often base paths are looked at; 0: once; less: never"),
    Flag("flush_filesystem_caches", "bool", True, "flush caches after loads", Use.ACCEPTED),
    Flag("tensorflow_session_parallelism", "int64", 0, "both of the next two, where neither is given"),
    Flag(
        "tensorflow_session_config_file",
        "string",
        "",
        "ConfigProto; its syntax is checked",
        Use.ACCEPTED,
    ),
    Flag("tensorflow_intra_op_parallelism", "int64", 0, f"threads within an op; 0: as TensorFlow likes. {_SHARED}"),
    Flag("tensorflow_inter_op_parallelism", "int64", 0, f"threads for ops; 0: as TensorFlow likes. {_SHARED}"),
    Flag("use_alts_credentials", "bool", False, "ALTS on gRPC", Use.REFUSED),
    Flag("ssl_config_file", "string", "", "SSLConfig as protobuf text: TLS on gRPC"),
    Flag("platform_config_file", "string", "", "PlatformConfigMap as protobuf text", Use.REFUSED),
    Flag("per_process_gpu_memory_fraction", "float", 0.0, "share of the memory of GPUs", Use.ACCEPTED),
    Flag("saved_model_tags", "string", "serve", "tags of the graph to serve, separated by commas"),
    Flag("grpc_channel_arguments", "string", "", "gRPC arguments of the listening side: k=v,k=v"),
    Flag("grpc_max_threads", "int32", 4 * _CPUS, "calls at the same time; with batching 256 unless given"),
    Flag("enable_model_warmup", "bool", True, "run the recorded requests of a version before it serves"),
    Flag("num_request_iterations_for_warmup", "int32", 0, "how often each of them; 0 or less: once"),
    Flag("version", "bool", False, "print the version and exit"),
    Flag("monitoring_config_file", "string", "", "MonitoringConfig as protobuf text: the metrics page"),
    Flag("remove_unused_fields_from_bundle_metagraph", "bool", True, "keep only signatures", Use.ACCEPTED),
    Flag("prefer_tflite_model", "bool", False, "take model.tflite of a version directory, where there is one"),
    Flag("num_tflite_pools", "int32", _CPUS, "pools of TensorFlow Lite interpreters", Use.ACCEPTED),
    Flag("num_tflite_interpreters_per_pool", "int32", 1, "interpreters in each", Use.ACCEPTED),
    Flag("enable_signature_method_name_check", "bool", False, "refuse signatures made for another method"),
    Flag("xla_cpu_compilation_enabled", "bool", False, "XLA for CPUs", Use.ACCEPTED),
    Flag("xla_gpu_compilation_enabled", "bool", False, "XLA for CPUs and GPUs", Use.ACCEPTED),
    Flag("enable_profiler", "bool", True, "the profiler's service", Use.ACCEPTED),
    Flag("thread_pool_factory_config_file", "string", "", "ThreadPoolConfig; its syntax is checked", Use.IGNORED),
    Flag("mixed_precision", "string", "", "bfloat16", Use.IGNORED),
    Flag("skip_initialize_tpu", "bool", False, "of builds for TPUs", Use.IGNORED),
    Flag("enable_grpc_healthcheck_service", "bool", False, "offer grpc.health.v1.Health"),
    Flag("enable_serialization_as_tensor_content", "bool", False, "answer with tensor content, not typed fields"),
    Flag("host", "string", "127.0.0.1", "address to listen at; 0.0.0.0: everybody may call", Use.OWN),
    Flag("model_platform", "string", "tensorflow", "platform of the only model; python: servable.py", Use.OWN),
    Flag("token_file", "string", "", "file with the token that callers must bring; empty: no token", Use.OWN),
    Flag("rest_api_max_body_bytes", "int64", 1 << 30, "how large a REST body may be, also once inflated", Use.OWN),
    Flag(
        "max_connections",
        "int32",
        10_000,
        "connections of each port; at most a third of the files that may be open",
        Use.OWN,
    ),
    Flag("max_waiting_calls", "int32", 10_000, "gRPC calls that wait for a thread; more are refused as busy", Use.OWN),
    Flag("idle_timeout_seconds", "float", 300.0, "how long a connection may have no call; inf: no limit", Use.OWN),
    Flag("grpc_body_timeout_seconds", "float", 120.0, "how long a gRPC request may take to arrive", Use.OWN),
    Flag("rest_api_header_timeout_seconds", "float", 20.0, "how long a request's headers may take to arrive", Use.OWN),
    Flag(
        "rest_api_body_timeout_seconds",
        "float",
        30.0,
        "how long its body may take to arrive; one second more for every 16 KiB",
        Use.OWN,
    ),
    Flag(
        "rest_api_write_timeout_seconds",
        "float",
        60.0,
        "how long a client may take to read an answer; one second more for every 16 KiB",
        Use.OWN,
    ),
    Flag("embedded", "bool", False, "serve the models that come with the package", Use.OWN),
    Flag(
        "allow_python_reload",
        "bool",
        False,
        "let reloads load python models from any path that they may name",
        Use.OWN,
    ),
    Flag(
        "model_roots",
        "string",
        "",
        "directories from which reloads may load models, separated by commas; empty: any, "
        "or on an unprotected port those that contain the configured models",
        Use.OWN,
    ),
    Flag("reload_wait_seconds", "float", 60.0, "how long a reload waits for versions of new models", Use.OWN),
    Flag(
        "drain_seconds", "float", 0.0, "how long to go on serving, reported unhealthy, after a signal to stop", Use.OWN
    ),
    Flag("shutdown_grace_seconds", "float", 10.0, "how long running calls may take after a signal to stop", Use.OWN),
)


@dataclass(frozen=True)
class Arguments:
    """A command line that was read.

    Attributes:
        values: the value of every flag, by its name.
        given: the flags that are on it.
        unknown: the arguments that are not flags, in order.
        wrong: texts about values that cannot be read.
    """

    values: Any
    given: frozenset[Flag] = frozenset()
    unknown: Sequence[str] = ()
    wrong: Sequence[str] = field(default=())

    @property
    def usable(self) -> bool:
        """False where the usage is to be shown."""
        return not self.wrong and not {"--help", "-h"}.intersection(self.unknown)


def read(argv: Sequence[str]) -> Arguments:
    """Read a command line, without the program's name."""
    values, given = {flag.name: flag.default for flag in FLAGS}, set()
    unknown, wrong = [], []
    rest = list(argv)
    end = rest.index("--") if "--" in rest else len(rest)
    for argument in rest[:end]:
        name, text = _parts(argument)
        flag = next((flag for flag in FLAGS if flag.takes(name, text)), None)
        if flag is None:
            unknown.append(argument)
            continue
        try:
            values[flag.name] = flag.read(text)
            given.add(flag)
        except (ValueError, KeyError):
            wrong.append(f"Couldn't interpret value {text} for flag {flag.name}.")
    return Arguments(SimpleNamespace(**values), frozenset(given), [*unknown, *rest[end:]], wrong)


def _parts(argument: str) -> tuple[str, str | None]:
    """The name of a flag, and the value if there is one; "" for what is not a flag."""
    if not argument.startswith("--"):
        return "", None
    name, equals, text = argument[2:].partition("=")
    return name, text if equals else None


def complaint(argument: str) -> str:
    """The report of an argument that is not a flag."""
    return f"unknown argument: {argument}{_hint(argument)}"


def _hint(argument: str) -> str:
    from difflib import get_close_matches

    if not argument.startswith("-"):
        return " (a flag and its value are one argument: --name=value)"
    name, equals, text = argument.lstrip("-").partition("=")
    kinds = {flag.name: flag.kind for flag in FLAGS}
    for close in get_close_matches(name.replace("-", "_"), kinds, n=1):
        value = f"={text}" if equals else "" if kinds[close] == "bool" else "=VALUE"
        return f" (did you mean --{close}{value}?)"
    return ""


def usage(program: str, flags: Iterable[Flag] = FLAGS) -> str:
    """The table of flags with their defaults, laid out as the model server's."""
    lines = [f"\t{_shown(flag):<33}\t{flag.kind}\t{flag.help}{_remark(flag.use)}\n" for flag in flags]
    return f"usage: {program}\nFlags:\n{''.join(lines)}"


def _shown(flag: Flag) -> str:
    value = {"bool": str(flag.default).lower(), "string": f'"{flag.default}"'}.get(flag.kind, flag.default)
    return f"--{flag.name}={value}"


def _remark(use: Use) -> str:
    return "" if use is Use.HONOURED else f" ({use.value})"
