"""A run: pictures from their sources through an engine into an output."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any, cast

from tfs_client.cli import exits
from tfs_client.cli.bulk import asked, progress
from tfs_client.cli.bulk.best import Best
from tfs_client.cli.bulk.engines import Job, engine
from tfs_client.cli.bulk.failures import Failures
from tfs_client.cli.bulk.growing import GrowingFile
from tfs_client.cli.bulk.outcomes import Failed, Outcome, Row
from tfs_client.cli.bulk.outputs import Output, files_of, open_output
from tfs_client.cli.bulk.sources import listed
from tfs_client.client import PredictClient
from tfs_client.errors import ConfigError, DeadlineExceededError, EncodeError, TFServingError, UnavailableError
from tfs_client.options import checked_timeout

BATCH_SIZE = 32
IN_FLIGHT = 4
LOOK = 5.0  # seconds for a look at whether a server that did not answer is there at all


def run(
    options: Any,
    given: Mapping[str, Any],
    labels: Sequence[str],
    *,
    target: str | list[str],
    model: str,
    secured: Mapping[str, Any],
) -> int:
    """Predict all pictures; returns the exit code.

    Args:
        options: the command line.
        given: values of other inputs by alias.
        labels: names of the classes.
        target, model, secured: where to call which model, and how the client is made.
    """
    _check(options)
    _check_consent(options)
    names = listed(options.image or (), options.input_list)
    job = _job(options, given, target, model, secured)
    _try_out(job)
    outcomes = engine(options.engine or "local")
    wanted = asked.asked_of(options, model)
    if options.output:
        _make_room(options, wanted)
    with closing(open_output(options.output, Best(options.top, labels))) as output:
        if options.output:
            asked.keep(options.output, wanted)
        with closing(Failures(_failures_path(options))) as failures:
            held = output.held
            todo = [name for name in names if name not in held]
            counts = progress.Counts(len(names), skipped=len(names) - len(todo))
            begun = outcomes(job, iter(todo)) if todo else _nothing()
            try:
                return _Run(options, counts, output, failures).through(begun)
            except DeadlineExceededError as error:
                raise _reason(job, error) from None


def _check(options: Any) -> None:
    if options.save_mask:
        raise ConfigError("--save-mask draws on one picture: give a single --image FILE")
    if options.resume and not options.output:
        raise ConfigError("--resume goes on with a file: give --output too")
    if options.overwrite and not (options.output or options.failures):
        raise ConfigError("--overwrite is about a file: give --output too")
    if options.resume and options.overwrite:
        raise ConfigError("--resume goes on with a file, --overwrite begins it anew: give one")
    if options.failures and options.failures == options.output:
        raise ConfigError("--failures and --output: expected two files, got one")


def _check_consent(options: Any) -> None:
    """Raise ConfigError for an output that is there already, unless something was said of that."""
    if options.resume or options.overwrite:
        return
    for path in files_of(options.output) if options.output else ():
        if _has_content(path):
            raise ConfigError(f"{path!r} is there already: --resume goes on with it, --overwrite begins it anew")
    if options.failures and _has_content(options.failures):
        raise ConfigError(f"{options.failures!r} is there already: --overwrite writes it anew")


def _has_content(path: str) -> bool:
    return os.path.exists(path) and not (os.path.isfile(path) and not os.path.getsize(path))


def _make_room(options: Any, wanted: Mapping[str, Any]) -> None:
    """Take away what is to be overwritten; check that what is to be resumed is of this kind."""
    if options.overwrite:
        *whole, growing = files_of(options.output)
        with closing(GrowingFile(growing)) as file:  # unless another run is writing it
            file.keep(0)
        for path in whole:
            with suppress(FileNotFoundError):
                os.unlink(path)
    elif any(_has_content(path) for path in files_of(options.output)):
        asked.check(options.output, dict(wanted))


def _failures_path(options: Any) -> str | None:
    path: str | None = options.failures or (f"{options.output}.failed.jsonl" if options.output else None)
    return path


def _job(
    options: Any, given: Mapping[str, Any], target: str | list[str], model: str, secured: Mapping[str, Any]
) -> Job:
    which = {"version": options.version, "label": options.label}
    return Job(
        target=target,
        model=model,
        which={name: value for name, value in which.items() if value is not None},
        signature=options.signature,
        secured=secured,
        timeout=checked_timeout(options.timeout),
        options=options,
        given=given,
        batch_size=options.batch_size or BATCH_SIZE,
        in_flight=options.in_flight or IN_FLIGHT,
    )


def _try_out(job: Job) -> None:
    """Raise what keeps every picture from being sent, before anything is written: a server that is not there (the
    client of the run would wait for it), a model that it does not have, inputs that do not fit."""
    with PredictClient(job.target, model=job.model, timeout=job.timeout, **job.which, **job.secured) as client:
        job.preparation(client)


def _nothing() -> Iterator[Outcome]:
    yield from ()


def _reason(job: Job, error: DeadlineExceededError) -> TFServingError:
    """Why no answer came in time: the client of a run waits for a server that is away, and does not say that it is."""
    try:
        _try_out(replace(job, timeout=min(LOOK, job.timeout or LOOK)))
    except UnavailableError as gone:
        return gone
    except TFServingError:
        pass
    return error


class _Run:
    def __init__(self, options: Any, counts: progress.Counts, output: Output, failures: Failures) -> None:
        self._options = options
        self._counts = counts
        self._output = output
        self._failures = failures
        self._versions: set[str] = set()

    def through(self, outcomes: Iterator[Outcome]) -> int:
        """Keep every outcome, and tell how it goes. Returns the exit code."""
        began = time.monotonic()
        ended = False
        on_terminal = not self._options.output and sys.stdout is not None and sys.stdout.isatty()
        bar = progress.shown(
            self._counts, quiet=self._options.quiet, rows_on_terminal=on_terminal, clock=time.monotonic
        )
        try:
            with closing(bar), closing(cast("Generator[Outcome, None, None]", outcomes)) as given:
                for outcome in given:
                    self._keep(outcome)
                    bar.tell(self._counts)
            self._output.finish()
            ended = True
        finally:
            self._output.close()
            self._failures.close()
            self._sum_up(time.monotonic() - began, ended)
        return exits.INCOMPLETE if self._counts.failed else exits.OK

    def _keep(self, outcome: Outcome) -> None:
        if isinstance(outcome, Row):
            try:
                self._output.add(outcome)
            except EncodeError as error:
                outcome = Failed(outcome.image, error)
            else:
                self._counts.done += 1
                self._versions.add(str(outcome.model))
        if isinstance(outcome, Failed):
            self._failures.add(outcome)
            self._counts.failed += 1

    def _sum_up(self, seconds: float, ended: bool) -> None:
        if self._options.quiet:
            return
        parts = [progress.summary(self._counts, seconds)]
        output = self._options.output if self._counts.done or self._counts.skipped else None
        if output:
            parts.append(f"rows in {output if ended else files_of(output)[-1]}")
        if self._counts.failed and self._failures.path:
            parts.append(f"failures in {self._failures.path}")
        if len(self._versions) > 1:
            parts.append(f"answered by {', '.join(sorted(self._versions))}")
        if output and not ended:
            parts.append("--resume goes on")
        print("; ".join(parts), file=sys.stderr)
