"""tfs-bench: apply load to a model, and print how fast and how well it answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn

from tfs_client.cli import exits
from tfs_client.cli.bench.arguments import BenchOptions, parse
from tfs_client.errors import CallError, StatusCode, TFServingError

if TYPE_CHECKING:
    from tfs_client.cli.bench.before_the_load import Prepared
    from tfs_client.cli.bench.query_sources.chosen import Chosen
    from tfs_client.cli.bench.target import BenchTarget

_SAME = ("bound", "concurrency", "highest", "pairs", "precision", "rate", "tolerance")
WORDS = tuple(
    (f"{name}: expected", f"{flag}: expected")
    for name, flag in {
        "seconds": "--duration",
        "stages": "--max-stages",
        "factor": "--pace",
        "in_flight": "--max-in-flight",
        **{each: f"--{each}" for each in _SAME},
    }.items()
)
"""Phrases of the error texts of a load, each with the option that it is about."""

RANDOM = "the refused values were random; use --input, --inputs, --image or --recording for real ones"


OF_VALUES = (StatusCode.INVALID_ARGUMENT, StatusCode.OUT_OF_RANGE)
"""How a model refuses values; other errors have other causes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parse(argv)

    from tfs_client.cli.predict.option_words import WORDS as OF_INPUTS  # imported late: --help needs none of it

    return exits.guarded("tfs-bench", lambda: run(options), (*WORDS, *OF_INPUTS))


def run(options: BenchOptions) -> int:
    """Prepare the requests, try each of them, apply the load and report what was measured."""
    from tfs_client.cli.bench import reporting
    from tfs_client.cli.bench.contradictions import check
    from tfs_client.cli.bench.load_run import LoadRun, load_of, notes
    from tfs_client.cli.bench.query_sources.chosen import chosen
    from tfs_client.cli.bench.report.run_results import Results
    from tfs_client.cli.bench.stages import GeneratorError
    from tfs_client.cli.bench.target import completed, targets

    check(options)
    reporting.check(options)
    target, base = targets(options)
    options = completed(options, target)
    sent = chosen(options, target.signatures)
    load = load_of(options, sent.queries)
    with closing(reporting.Watching(options, target, sent.models or [target.model])) as watching:
        tried = [(each, _tried(options, sent, each)) for each in (target, base) if each is not None]
        about = reporting.about(options, target, tried[0][1], sent)
        results = Results(about, notes=[*sent.notes, *notes(options, load, sent.queries)])
        if not options.quiet and options.json != reporting.STANDARD_OUTPUT:
            exits.show(f"{reporting.first_line(results.run)}\n")
        try:
            LoadRun(options, load, tried).run(watching.stages, results)
        except KeyboardInterrupt:
            reporting.show(options, watching.finished(results, interrupted=True))
            return exits.INTERRUPTED
        except TFServingError as error:  # what was measured before is not lost
            results.notes.append(exits.in_one_line(str(error)))
            reporting.show(options, watching.finished(results, interrupted=True))
            if isinstance(error, GeneratorError):
                return exits.show_error("tfs-bench", str(error), exits.FAILED)
            raise
        reporting.show(options, watching.finished(results))
    return reporting.code_of(results)


def _tried(options: BenchOptions, sent: Chosen, target: BenchTarget) -> Prepared:
    """Send every request once, before the load. Raises CallError, after a note if the values were random."""
    from tfs_client.cli.bench.before_the_load import prepared

    try:
        return prepared(options, sent.at_version(target.version), target)
    except CallError as error:
        if sent.random and error.code in OF_VALUES:
            exits.show_note(f"tfs-bench: note: {RANDOM}")
        raise


def script() -> NoReturn:
    """The console script: run the command and end the process."""
    with exits.Interrupts():
        exits.warn_in_one_line("tfs-bench")
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would print text from servers unescaped
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # client processes are spawned, not forked
        code = main()
    os._exit(code)  # clients, processes and files are closed; shutting down an interpreter with grpc takes long
