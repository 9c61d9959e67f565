"""Contradictions between the arguments of tfs-bench: options that exclude each other, or would have no effect."""

from __future__ import annotations

from collections.abc import Sequence

from tfs_client.cli.bench.arguments import BenchOptions
from tfs_client.cli.predict.arguments import is_given
from tfs_client.cli.predict.contradictions import PREPARATION_OPTIONS
from tfs_client.errors import ConfigError

MOST_DISTINCT = 10_000
MOST_PROCESSES = 256

_LOADS = ("concurrency", "rate", "ramp", "pace")
_PICTURES = ("image_input", "encoded", "formats", "max_pixels", *PREPARATION_OPTIONS)
_RANDOM = ("shape", "integers")
_NEEDS = {
    **dict.fromkeys(_PICTURES, ("image",)),
    "pace": ("recording",),
    "arrivals": ("rate", "ramp", "find_knee"),
    "max_in_flight": ("rate", "ramp", "pace", "find_knee"),
    "quantile": ("find_knee",),
    "precision": ("find_knee",),
    "highest": ("find_knee",),
    "max_stages": ("find_knee",),
    "rtol": ("check",),
    "atol": ("check",),
    "compare_version": ("compare",),
    "tolerance": ("compare",),
    "metric": ("compare",),
    "pairs": ("compare",),
}
"""Options that need one of others."""

_APART = (
    *((first, second) for number, first in enumerate(_LOADS) for second in _LOADS[number + 1 :]),
    *(("recording", other) for other in ("image", "input", "inputs", "rows", "distinct", *_RANDOM)),
    *(("recording", other) for other in ("label", "signature")),
    *(("image", other) for other in ("inputs", *_RANDOM)),
    *(("inputs", other) for other in ("input", "rows", "distinct", *_RANDOM)),
    *(("find_knee", other) for other in (*_LOADS, "compare")),
    *(("compare", other) for other in ("pace", "ramp")),
    ("target", "server"),
    ("version", "label"),
)


def check(options: BenchOptions) -> None:
    """Raise ConfigError for arguments that contradict each other, and for those that would have no effect."""
    for first, second in _APART:
        if is_given(options, first) and is_given(options, second):
            raise ConfigError(f"{_flag(first)} and {_flag(second)} cannot be combined: use one of them")
    for name, others in _NEEDS.items():
        if is_given(options, name) and not any(is_given(options, other) for other in others):
            raise ConfigError(f"{_flag(name)} needs {_alternatives(others)}")
    if options.encoded and (found := next((name for name in PREPARATION_OPTIONS if is_given(options, name)), "")):
        raise ConfigError(f"--encoded and {_flag(found)} cannot be combined (the file's bytes are sent unchanged)")
    names = [argument.partition("=")[0] for argument in options.input]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--input {twice[0]} appears more than once: use it once")
    shapes = [alias for alias, _ in options.shape]
    if twice := sorted({alias for alias in shapes if shapes.count(alias) > 1}):
        raise ConfigError(f"--shape {twice[0]} appears more than once: use it once")
    if options.find_knee is not None and options.bound is None:
        raise ConfigError("--find-knee needs --bound LATENCY, for example --bound 50ms")
    if options.find_knee == "concurrency" and (found := _first(options, ("arrivals", "max_in_flight"))):
        raise ConfigError(f"{_flag(found)} applies to rates, and --find-knee concurrency has none: leave it out")
    if options.check == "recorded" and options.recording is None:
        raise ConfigError("--check recorded needs --recording FILE")
    if options.compare is not None and len(options.concurrency or options.rate or (1,)) > 1:
        raise ConfigError("--compare applies one load: expected a single --concurrency or --rate, got several")
    if options.metric == "throughput" and options.rate is not None:
        raise ConfigError(
            "--metric throughput cannot compare targets at a --rate: both answer as many requests as are sent, until "
            "one is overloaded; use --concurrency N, or --metric median or p99"
        )
    if options.max_in_flight is not None and options.max_in_flight < options.processes:
        raise ConfigError(
            f"expected --max-in-flight of at least {options.processes}, one for each of the --processes, got "
            f"{options.max_in_flight}"
        )
    _check_most("--distinct", options.distinct, MOST_DISTINCT)
    _check_most("--processes", options.processes, MOST_PROCESSES)


def _check_most(flag: str, value: int | None, most: int) -> None:
    if value is not None and value > most:
        raise ConfigError(f"expected {flag} of at most {most}, got {value}")


def _first(options: BenchOptions, names: Sequence[str]) -> str:
    return next((name for name in names if is_given(options, name)), "")


def _flag(name: str) -> str:
    return "TARGET" if name == "target" else "--" + name.replace("_", "-")


def _alternatives(names: Sequence[str]) -> str:
    *others, last = map(_flag, names)
    return f"{', '.join(others)} or {last}" if others else last
