"""The arguments of tfs-bench: its options as an object, and the parser that fills it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfs_client import __version__
from tfs_client.cli import credentials, exits
from tfs_client.cli.argument_parser import FORMATTER, ArgumentParser, time_limit
from tfs_client.cli.bench.argument_types import (
    counts,
    duration,
    factor,
    latency,
    percent,
    percentile,
    precision,
    ramp,
    rates,
    seconds,
    shape,
)
from tfs_client.cli.configuration import DEFAULT_SERVER
from tfs_client.cli.credentials import CredentialOptions
from tfs_client.cli.predict.argument_types import count, filled, positive
from tfs_client.cli.predict.arguments import InputOptions, add_inputs, add_preparation


@dataclass(frozen=True, eq=False, repr=False)  # generating them would take a millisecond
class BenchOptions(CredentialOptions, InputOptions):
    """The options of tfs-bench."""

    target: str | None
    server: str | None
    model: str | None
    version: int | None
    label: str | None
    signature: str | None
    timeout: float | None

    inputs: Sequence[str] | None
    recording: str | None
    rows: int | None
    shape: Sequence[tuple[str, tuple[int | None, ...]]]
    distinct: int | None
    integers: int | None
    seed: int

    concurrency: tuple[int, ...] | None
    rate: tuple[float, ...] | None
    ramp: tuple[float, float] | None
    pace: float | None
    arrivals: Literal["fixed", "poisson"] | None
    duration: float | None
    warmup: float | None
    processes: int
    max_in_flight: int | None

    find_knee: Literal["rate", "concurrency"] | None
    bound: float | None
    quantile: float | None
    precision: float | None
    highest: float | None
    max_stages: int | None

    check: str | None
    rtol: float | None
    atol: float | None

    compare: str | None
    compare_version: int | None
    metric: Literal["median", "p99", "throughput"] | None
    pairs: int | None
    tolerance: float | None

    json: str | None
    html: str | None
    metrics: str | None
    quiet: bool


DESCRIPTION = """Apply load to a model in TensorFlow Serving, and print how fast and how well it answers.

Without options for the inputs, random values are sent that fit the model's signature. Without options for the load,
one caller sends a request, waits for the answer and sends the next one (a closed loop).

In a closed loop a slow server also slows down the callers. --rate sends at a rate that does not depend on the answers
(an open loop), as many independent users do; latency then counts from the time at which a request was meant to start,
so that requests which had to wait for a stalled server count too."""

EXAMPLES = """examples:
  tfs-bench localhost:8500 --model resnet
      random inputs made from the signature, one request at a time, 10 seconds
  tfs-bench localhost:8500 --model resnet --rows 32 --concurrency 1,4,16 --duration 5s
  tfs-bench http://localhost:8501 --model resnet --rate 100,200,400 --bound 50ms
  tfs-bench localhost:8500 --model resnet --rate 200 --arrivals fixed
  tfs-bench localhost:8500 --model resnet --ramp 10:500 --duration 1m --html ramp.html
  tfs-bench localhost:8500 --model resnet --find-knee --bound 50ms --quantile 99
      the highest rate at which 99 % of the answers arrive within 50 ms
  tfs-bench localhost:8500 --model resnet --image photos/ --preset resnet50 --rows 8 --concurrency 4
  tfs-bench localhost:8500 --model bert --shape ids=?,128 --integers 30000 --rows 4
  tfs-bench localhost:8500 --model own --inputs requests.json --check first --rtol 1e-4
  tfs-bench new:8500 --recording calls.tfrecord --pace 2 --check recorded --rtol 1e-4
  tfs-bench new:8500 --model resnet --compare old:8500 --tolerance 5
      compares new:8500 with old:8500; exits with 9 if new:8500 is slower by more than 5 %, with 95 % confidence

"""

FAILED = "a reply or a recording cannot be read, the output cannot be written, or a client process was killed"
USAGE = "wrong arguments, an unreadable file, inputs that do not fit the model"
EXIT_CODES = f"""{exits.table(usage=USAGE, failed=FAILED)}\
  8    some requests failed, could not be sent, or got wrong answers; or a stage was too short for any request
  9    --compare: TARGET is worse than BASE; --find-knee: no load keeps the bound
  130  interrupted; results so far were printed
"""


def parse(argv: Sequence[str] | None) -> BenchOptions:
    """Read a command line. Exits as argparse does, by SystemExit, for --help and for wrong arguments."""
    return BenchOptions(**vars(parser().parse_args(argv)))


def parser() -> ArgumentParser:
    """Return the parser; its help shows examples and exit codes."""
    parser = ArgumentParser(
        prog="tfs-bench",
        description=DESCRIPTION,
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=FORMATTER,
        allow_abbrev=False,  # a new option must not break scripts that abbreviate another
    )
    parser.add_argument("-V", action="version", version=f"tfs-bench {__version__}", help="print the version and exit")
    _add_model(parser)
    credentials.add_arguments(parser.add_argument_group("connection"))
    inputs = parser.add_argument_group("what is sent")
    _add_requests(inputs)
    add_inputs(inputs)
    add_preparation(parser.add_argument_group("how a picture becomes an input"))
    _add_load(parser.add_argument_group("load"))
    _add_search(parser.add_argument_group("search for the knee"))
    _add_checks(parser.add_argument_group("answers"))
    _add_comparison(parser.add_argument_group("comparison of two targets"))
    _add_results(parser.add_argument_group("results"))
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", nargs="?", help="the server, the same as --server")
    group = parser.add_argument_group("model")
    group.add_argument(
        "--server",
        metavar="TARGET",
        help=f"host:port of the gRPC port (TFS_SERVER; default: {DEFAULT_SERVER}), or of several replicas, separated "
        "by commas; or http://host:port of the REST port",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="model name (TFS_MODEL); with --recording, send the calls of this model only, and with NAME=OTHER under "
        "another name",
    )
    group.add_argument("--version", type=int, metavar="N", help="model version (default: the server chooses)")
    group.add_argument("--label", metavar="NAME", help="version label, instead of --version")
    group.add_argument("--signature", metavar="NAME", help="signature to run (default: serving_default)")
    group.add_argument(
        "--timeout", type=time_limit, metavar="S", help="seconds for each request (TFS_TIMEOUT; default: 30)"
    )


def _add_requests(group: argparse._ActionsContainer) -> None:
    group.add_argument("--rows", type=positive, metavar="N", help="examples in a request (default: 1)")
    group.add_argument(
        "--distinct",
        type=positive,
        metavar="N",
        help="requests that differ; they are sent in turn (default: 8, or all pictures)",
    )
    group.add_argument(
        "--shape",
        type=shape,
        action="append",
        default=[],
        metavar="NAME=SIZES",
        help="shape of an input whose signature leaves sizes open, such as tokens=?,128, where ? is the number of "
        "rows; repeat for more inputs",
    )
    group.add_argument(
        "--integers", type=positive, metavar="N", help="upper limit of random integers, exclusive (default: 2)"
    )
    group.add_argument(
        "--seed", type=count, default=0, metavar="N", help="seed of random values and arrivals (default: 0)"
    )
    group.add_argument(
        "--inputs",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="requests in files: .npy for a model with one input; .npz with an array for each input; .json with an "
        "object from input to values, or a list of them",
    )
    group.add_argument(
        "--recording",
        metavar="FILE",
        help="the requests of a recording, as tfs-admin record and TensorFlow Serving write it",
    )


def _add_load(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--concurrency",
        type=counts,
        metavar="N,...",
        help="callers in a closed loop; several numbers are stages (default: 1)",
    )
    group.add_argument(
        "--rate",
        type=rates,
        metavar="R,...",
        help="requests per second, regardless of the answers; several rates are stages",
    )
    group.add_argument("--ramp", type=ramp, metavar="FROM:TO", help="a rate that rises or falls steadily")
    group.add_argument(
        "--pace",
        type=factor,
        metavar="K",
        help="send the requests of --recording at the recorded times; 2 sends them twice as fast",
    )
    group.add_argument(
        "--arrivals",
        choices=("poisson", "fixed"),
        help="random arrivals, as from many users, or equal intervals (default: poisson)",
    )
    group.add_argument(
        "--duration",
        type=duration,
        metavar="S",
        help="length of each stage: 10s, 2m (default: 10s; 1s with --compare; the whole recording with --pace). With "
        "--find-knee the longest time for a stage, at least 1s (default: 30s); it is lengthened to 20 times the bound, "
        "and at low rates to the time of 1.5 / (1 - Q / 100) requests",
    )
    group.add_argument(
        "--warmup",
        type=seconds,
        metavar="S",
        help="length of the unmeasured warm-up before each stage (default: 1s; 0.2s with --compare; 0 with --pace; "
        "with --find-knee at least 3 times the bound)",
    )
    group.add_argument("--processes", type=positive, default=1, metavar="N", help="client processes (default: 1)")
    group.add_argument(
        "--max-in-flight",
        type=positive,
        metavar="N",
        help="maximum number of requests in flight with --rate; others wait, and their latency counts the wait "
        "(default: 1000)",
    )


def _add_search(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--find-knee",
        nargs="?",
        const="rate",
        choices=("rate", "concurrency"),
        help="search for the highest load that keeps --bound: a rate (default), or a number of callers",
    )
    group.add_argument(
        "--bound",
        type=latency,
        metavar="LATENCY",
        help="the latency, such as 50ms, within which an answer is good; goodput counts good answers",
    )
    group.add_argument(
        "--quantile",
        type=percentile,
        metavar="Q",
        help="percentage of answers that must be within --bound (default: 99)",
    )
    group.add_argument(
        "--precision", type=precision, metavar="P", help="stop within P percent of the knee (default: 5)"
    )
    group.add_argument("--highest", type=factor, metavar="N", help="highest load to try (default: a million)")
    group.add_argument(
        "--max-stages", type=positive, metavar="N", help="stop the search after N stages, at least 2 (default: 40)"
    )


def _add_checks(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--check",
        type=filled,
        metavar="WITH",
        help="compare every answer: with 'first', the answer to the same request before the load; with 'recorded', the "
        "reply in --recording; or with the outputs in FILE.npz. Answers that differ count as wrong",
    )
    group.add_argument("--rtol", type=float, metavar="R", help="relative tolerance of --check (default: 0)")
    group.add_argument("--atol", type=float, metavar="A", help="absolute tolerance of --check (default: 0)")


def _add_comparison(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--compare",
        metavar="BASE",
        help="compare TARGET with the server BASE: alternate between the two in pairs of short stages, and print how "
        "TARGET differs from BASE, with confidence intervals",
    )
    group.add_argument(
        "--compare-version", type=int, metavar="N", help="version of the model at BASE (default: that of --version)"
    )
    group.add_argument(
        "--metric", choices=("median", "p99", "throughput"), help="the figure that decides (default: median)"
    )
    group.add_argument(
        "--pairs", type=positive, metavar="N", help="stages for each of the two, at least 8 (default: 20)"
    )
    group.add_argument(
        "--tolerance", type=percent, metavar="P", help="percent by which TARGET may be worse than BASE (default: 0)"
    )


def _add_results(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="print the results as JSON, or write them to FILE"
    )
    group.add_argument("--html", type=filled, metavar="FILE", help="write a report with charts, in one file")
    group.add_argument(
        "--metrics",
        metavar="URL",
        help="the server's metrics page, read before and after each stage: host:port of the REST port, or a URL "
        "(default: that of an http:// target)",
    )
    group.add_argument("--quiet", action="store_true", help="print the results only: no first line, no progress")
