"""The flags of tfs-serve: those of tensorflow_model_server under the same names, and some of our own.

They are parsed as the model server does: ``--name=value``, for booleans also ``--name``; ``--`` ends them. An invalid
value ends the program. So does an unknown flag, which the model server ignores: otherwise ``--token-file=x`` would
start a server without a token.
Source: model_servers/main.cc; tsl/util/command_line_flags.cc.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")

Value = bool | int | float | str | tuple[str, ...]


class Use(Enum):
    """How tfs-serve treats a flag."""

    HONOURED = "works as in the model server"
    ACCEPTED = "accepted, but has no effect"
    IGNORED = "not supported, ignored"
    REFUSED = "not supported: the server refuses to start"
    OWN = "not a flag of the model server"


@dataclass(frozen=True)
class Flag:
    """A flag.

    Attributes:
        kind: "bool", "int32", "int64", "float", "string", or "strings" for a flag that may be given several times.
        default: the value if the flag is not given.
        help: the description.
        use: how tfs-serve treats the flag.
    """

    name: str
    kind: str
    default: Value
    help: str
    use: Use = Use.HONOURED

    def read(self, text: str | None) -> Value:
        """Parse a value; None stands for a flag without a value. Raises ValueError or KeyError.

        For our own string flags, an empty value means the default.
        """
        if text is None and self.kind == "bool":
            return True
        if text == "" and self.use is Use.OWN and self.kind == "string":
            return self.default
        return READERS[self.kind](text or "")

    def matches(self, name: str, text: str | None) -> bool:
        """Whether an argument is this flag. Only booleans need no value."""
        return name == self.name and (text is not None or self.kind == "bool")


def _bool(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _integer(text: str, bits: int) -> int:
    number = int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,25}", text) else None
    if number is None or not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise ValueError(text)
    return number


def _float(text: str) -> float:
    if not text.isascii() or "_" in text:  # Python accepts 1_0 and digits of other scripts
        raise ValueError(text)
    return float(text)


READERS: dict[str, Callable[[str], Value]] = {
    "bool": _bool,
    "int32": lambda text: _integer(text, 32),
    "int64": lambda text: _integer(text, 64),
    "float": _float,
    "string": str,
    "strings": lambda text: (text,) if text else (),
}


def _flag(kind: str, default: T, help: str, use: Use = Use.HONOURED) -> T:
    return field(default=default, metadata={"kind": kind, "help": help, "use": use})


_CPUS = os.cpu_count() or 1


@dataclass(frozen=True)
class FlagValues:
    """The values of all flags. Each field defines a flag: type, default, help, and how tfs-serve treats it."""

    port: int = _flag("int32", 8500, "gRPC port; 0: none")
    grpc_socket_path: str = _flag("string", "", "path of a UNIX socket for gRPC; empty: none")
    rest_api_port: int = _flag(
        "int32", 0, "port for REST and the metrics page; 0: none. Requires pip install 'tfs-client[server]'"
    )
    rest_api_num_threads: int = _flag("int32", 4 * _CPUS, "concurrent REST calls; with batching, 256 by default")
    rest_api_timeout_in_ms: int = _flag("int32", 30000, "timeout of a REST call; 0 or less: no limit")
    rest_api_enable_cors_support: bool = _flag("bool", False, "send CORS headers in REST responses")
    enable_batching: bool = _flag("bool", False, "run concurrent calls together as one batch")
    allow_version_labels_for_unavailable_models: bool = _flag(
        "bool", False, "allow new labels for versions that are not available yet"
    )
    batching_parameters_file: str = _flag("string", "", "file with BatchingParameters in protobuf text")
    enable_per_model_batching_parameters: bool = _flag(
        "bool",
        False,
        "only batch versions that have a file batching_params.pbtxt in their directory, with its parameters",
    )
    model_config_file: str = _flag(
        "string", "", "file with a ModelServerConfig in protobuf text; replaces model_name and model_base_path"
    )
    model_config_file_poll_wait_seconds: int = _flag(
        "int32", 0, "seconds between reads of model_config_file; 0 or less: read it once"
    )
    model_name: str = _flag("string", "default", "name of the single model")
    model_base_path: str = _flag("string", "", "absolute base path of the single model")
    num_load_threads: int = _flag("int32", 0, "concurrent loads; 0: one per model")
    num_unload_threads: int = _flag("int32", 0, "concurrent unloads; 0: one per model")
    max_num_load_retries: int = _flag("int32", 5, "retries of a failed load")
    load_retry_interval_micros: int = _flag("int64", 60_000_000, "pause before each retry; 0 or less: no pause")
    file_system_poll_wait_seconds: int = _flag(
        "int32", 1, "seconds between scans of the base paths; 0: scan once; negative: never"
    )
    flush_filesystem_caches: bool = _flag(
        "bool", True, "flush the caches of remote file systems (local ones have none); false: log the end of reloads"
    )
    tensorflow_session_parallelism: int = _flag(
        "int64", 0, "sets both flags for TensorFlow's threads, if neither is given"
    )
    tensorflow_session_config_file: str = _flag(
        "string",
        "",
        "file with a ConfigProto in protobuf text for the sessions of SavedModels; the flags for threads "
        "and GPU memory take precedence",
    )
    tensorflow_intra_op_parallelism: int = _flag(
        "int64", 0, "threads within an op, shared by all SavedModels; 0: TensorFlow decides"
    )
    tensorflow_inter_op_parallelism: int = _flag(
        "int64", 0, "threads that run ops, shared by all SavedModels; 0: TensorFlow decides"
    )
    use_alts_credentials: bool = _flag("bool", False, "ALTS on the gRPC port", Use.REFUSED)
    ssl_config_file: str = _flag("string", "", "file with an SSLConfig in protobuf text: TLS on the gRPC port")
    platform_config_file: str = _flag("string", "", "file with a PlatformConfigMap in protobuf text", Use.REFUSED)
    per_process_gpu_memory_fraction: float = _flag(
        "float", 0.0, "share of each GPU's memory that the process may use; 0: TensorFlow decides"
    )
    saved_model_tags: str = _flag("string", "serve", "tags of the graph to serve, separated by commas; empty: serve")
    grpc_channel_arguments: str = _flag("string", "", "gRPC arguments of the server: k=v,k=v")
    grpc_max_threads: int = _flag("int32", 4 * _CPUS, "concurrent gRPC calls; with batching, 256 by default")
    enable_model_warmup: bool = _flag("bool", True, "run the recorded requests of a version before it serves")
    num_request_iterations_for_warmup: int = _flag("int32", 0, "runs of each recorded request; 0 or less: one")
    version: bool = _flag("bool", False, "print the version and exit")
    monitoring_config_file: str = _flag(
        "string", "", "file with a MonitoringConfig in protobuf text: enables the metrics page"
    )
    remove_unused_fields_from_bundle_metagraph: bool = _flag(
        "bool", True, "keep only the signatures in memory; false makes no difference to clients", Use.ACCEPTED
    )
    prefer_tflite_model: bool = _flag("bool", False, "load model.tflite from a version directory if it exists")
    num_tflite_pools: int = _flag("int32", _CPUS, "concurrent calls of a TensorFlow Lite model; 0 or less: one")
    num_tflite_interpreters_per_pool: int = _flag(
        "int32", 1, "parts into which a call of 500 rows is split; 1: not split"
    )
    enable_signature_method_name_check: bool = _flag("bool", False, "refuse signatures made for another method")
    xla_cpu_compilation_enabled: bool = _flag(
        "bool", False, "run functions with jit_compile=True; they fail without it"
    )
    xla_gpu_compilation_enabled: bool = _flag("bool", False, "same as xla_cpu_compilation_enabled")
    enable_profiler: bool = _flag(
        "bool",
        True,
        "profiler service; TensorFlow's Python API only offers it on a port without TLS and tokens",
        Use.ACCEPTED,
    )
    thread_pool_factory_config_file: str = _flag(
        "string",
        "",
        "file with a ThreadPoolConfig, whose syntax is checked; it needs a compiled-in factory",
        Use.IGNORED,
    )
    mixed_precision: str = _flag("string", "", "bfloat16: let oneDNN compute in bfloat16 where that is faster")
    skip_initialize_tpu: bool = _flag(
        "bool", False, "for builds with TPU support, which TensorFlow's package lacks", Use.IGNORED
    )
    enable_grpc_healthcheck_service: bool = _flag("bool", False, "offer grpc.health.v1.Health")
    enable_serialization_as_tensor_content: bool = _flag(
        "bool", False, "respond with tensor content instead of typed fields"
    )
    host: str = _flag("string", "127.0.0.1", "address to listen on; 0.0.0.0: all interfaces", Use.OWN)
    model_platform: str = _flag(
        "string", "tensorflow", "platform of the single model; python: it has a servable.py", Use.OWN
    )
    op_library: tuple[str, ...] = _flag(
        "strings",
        (),
        "Python module, or path of a shared object, that registers ops for SavedModels; repeatable",
        Use.OWN,
    )
    token_file: str = _flag("string", "", "file with the token that clients must send; empty: no token", Use.OWN)
    rest_api_max_body_bytes: int = _flag(
        "int64", 1 << 30, "maximum size of a REST body, also after decompression", Use.OWN
    )
    max_connections: int = _flag(
        "int32", 10_000, "maximum connections per port; never more than a third of the open-file limit", Use.OWN
    )
    max_waiting_calls: int = _flag(
        "int32", 10_000, "maximum gRPC calls that wait for a thread; more are refused as busy", Use.OWN
    )
    thread_pool_exhausted: str = _flag(
        "string",
        "queue",
        "gRPC predictions while all threads are busy: queue lets them wait, refuse rejects them like the model server",
        Use.OWN,
    )
    enable_grpc_reflection: bool = _flag(
        "bool", True, "offer server reflection, for tools without .proto files", Use.OWN
    )
    idle_timeout_seconds: float = _flag("float", 300.0, "how long a connection may be idle; inf: no limit", Use.OWN)
    grpc_body_timeout_seconds: float = _flag("float", 120.0, "how long a gRPC request may take to arrive", Use.OWN)
    rest_api_header_timeout_seconds: float = _flag(
        "float", 20.0, "how long the headers of a request may take to arrive", Use.OWN
    )
    rest_api_body_timeout_seconds: float = _flag(
        "float", 30.0, "how long the body of a request may take to arrive, plus one second per 16 KiB", Use.OWN
    )
    rest_api_write_timeout_seconds: float = _flag(
        "float", 60.0, "how long a client may take to read a response, plus one second per 16 KiB", Use.OWN
    )
    access_log: str = _flag("string", "", "file for one JSON line per call; -: standard output; empty: none", Use.OWN)
    embedded: bool = _flag("bool", False, "serve the models that come with the package", Use.OWN)
    fake: tuple[str, ...] = _flag(
        "strings",
        (),
        "serve a fake of an exported model, which returns zeros: PATH or NAME=PATH of a SavedModel, an ONNX or "
        "TensorFlow Lite model, or signatures as JSON; several separated by commas; repeatable. An existing path is "
        "not split at commas or equals signs",
        Use.OWN,
    )
    allow_python_reload: bool = _flag("bool", False, "let reloads load python models from any path", Use.OWN)
    model_roots: str = _flag(
        "string",
        "",
        "directories from which reloads may load models, separated by commas; empty: any, "
        "or on an unprotected port the parents of the configured base paths",
        Use.OWN,
    )
    reload_wait_seconds: float = _flag("float", 60.0, "how long a reload waits for versions of new models", Use.OWN)
    drain_seconds: float = _flag(
        "float", 0.0, "how long to keep serving, reported as unhealthy, after a signal to stop", Use.OWN
    )
    shutdown_grace_seconds: float = _flag(
        "float", 10.0, "how long running calls may take after a signal to stop", Use.OWN
    )


DEFAULTS = FlagValues()
FLAGS = tuple(Flag(flag.name, default=getattr(DEFAULTS, flag.name), **flag.metadata) for flag in fields(FlagValues))


@dataclass(frozen=True)
class Arguments:
    """A parsed command line.

    Attributes:
        values: the values of all flags.
        given: the flags on the command line.
        unknown: the arguments that are not flags, in order.
        wrong: an error text for each invalid value.
    """

    values: FlagValues
    given: frozenset[Flag] = frozenset()
    unknown: Sequence[str] = ()
    wrong: Sequence[str] = field(default=())

    @property
    def usable(self) -> bool:
        """Whether to go on. Otherwise the usage is shown."""
        return not self.wrong and not {"--help", "-h"}.intersection(self.unknown)


def read(argv: Sequence[str]) -> Arguments:
    """Parse a command line, without the program's name."""
    values: dict[str, Any] = {}
    given = set()
    unknown, wrong = [], []
    rest = list(argv)
    end = rest.index("--") if "--" in rest else len(rest)
    for argument in rest[:end]:
        name, text = _parts(argument)
        flag = next((flag for flag in FLAGS if flag.matches(name, text)), None)
        if flag is None:
            unknown.append(argument)
            continue
        try:
            value = flag.read(text)
            values[flag.name] = (*values.get(flag.name, ()), *value) if isinstance(value, tuple) else value
            given.add(flag)
        except (ValueError, KeyError):
            wrong.append(f"Couldn't interpret value {text} for flag {flag.name}.")
    return Arguments(replace(DEFAULTS, **values), frozenset(given), [*unknown, *rest[end:]], wrong)


def _parts(argument: str) -> tuple[str, str | None]:
    """Split an argument into the name of a flag and its value; the name is "" if the argument is not a flag."""
    if not argument.startswith("--"):
        return "", None
    name, equals, text = argument[2:].partition("=")
    return name, text if equals else None


def unknown_argument(argument: str) -> str:
    """Return the error text for an argument that is not a flag."""
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
    """Return the table of flags with their defaults, in the layout of the model server."""
    lines = [f"\t{_shown(flag):<33}\t{flag.kind}\t{flag.help}{_remark(flag.use)}\n" for flag in flags]
    return f"usage: {program}\nFlags:\n{''.join(lines)}"


def _shown(flag: Flag) -> str:
    value = {"bool": str(flag.default).lower(), "string": f'"{flag.default}"', "strings": '""'}.get(
        flag.kind, flag.default
    )
    return f"--{flag.name}={value}"


def _remark(use: Use) -> str:
    return "" if use is Use.HONOURED else f" ({use.value})"
