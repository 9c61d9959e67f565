"""A run: pictures from their sources through an engine into an output."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

from tfs_client.cli import exits
from tfs_client.cli.bulk import asked, consent, progress
from tfs_client.cli.bulk.best import Best
from tfs_client.cli.bulk.engines import Job, engine
from tfs_client.cli.bulk.failures import Failures
from tfs_client.cli.bulk.growing import GrowingFile
from tfs_client.cli.bulk.outcomes import Failed, Outcome, Row
from tfs_client.cli.bulk.outputs import Output, files_of, open_output
from tfs_client.cli.bulk.sources import listed, place, text_of
from tfs_client.client import PredictClient
from tfs_client.codec import extents
from tfs_client.errors import (
    DeadlineExceededError,
    DecodeError,
    EncodeError,
    ImageError,
    SignatureError,
    TFServingError,
    UnavailableError,
)
from tfs_client.options import checked_timeout

BATCH_SIZE = 32
IN_FLIGHT = 4
TRIED = 10  # pictures that are looked at before anything is sent, until one of them can be read
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
    consent.check(options)
    names, unreadable = listed(options.image or (), options.input_list)
    job = _job(options, given, target, model, secured)
    _try_out(job, names[:TRIED])
    outcomes = engine(options.engine or "local")
    wanted = asked.asked_of(options, model)
    if options.output:
        _make_room(options, wanted)
        wanted[asked.FOLDER] = asked.folder_of(options.output, names)
    with closing(open_output(options.output, Best(options.top, labels))) as output:
        if options.output:
            asked.keep(options.output, wanted)
        with closing(Failures(consent.failures_path(options))) as failures:
            todo = _left(names, output.held, wanted.get(asked.FOLDER))
            counts = progress.Counts(len(names) + len(unreadable), skipped=len(names) - len(todo))
            begun = outcomes(job, iter(todo)) if todo else _nothing()
            try:
                return _Run(options, counts, output, failures).through(_after(unreadable, begun))
            except DeadlineExceededError as error:
                raise _reason(job, error) from None


def _make_room(options: Any, wanted: Mapping[str, Any]) -> None:
    """Take away what is to be overwritten; check that what is to be resumed is of this kind."""
    if options.overwrite:
        *whole, growing = files_of(options.output)
        with closing(GrowingFile(growing, given=growing == options.output)) as file:  # unless another run is writing it
            file.keep(0)
        consent.take_away([*whole, *asked.files_of(options.output)])
    elif consent.is_begun(options.output):
        asked.check(options.output, dict(wanted))


def _left(names: Sequence[str], held: Collection[str], folder: str | None) -> list[str]:
    """The names of pictures that an output does not hold."""
    if not held:
        return list(names)
    here = os.getcwd()
    places = {place(text_of(name), folder or here) for name in held}
    return [name for name in names if place(text_of(name), here) not in places]


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


def _try_out(job: Job, names: Sequence[str] = ()) -> None:
    """Raise what keeps every picture from being sent, before anything is written: a server that is not there (the
    client of the run would wait for it), a model that it does not have, inputs that do not fit, as the first picture
    shows that can be read."""
    with PredictClient(job.target, model=job.model, timeout=job.timeout, **job.which, **job.secured) as client:
        preparation = job.preparation(client)
    for name in names:
        try:
            mismatch = preparation.mismatch(name)
        except ImageError:
            continue
        if mismatch:
            raise SignatureError(f"{name!r} as it would be sent does not fit the model: {mismatch}")
        return


def _nothing() -> Iterator[Outcome]:
    yield from ()


def _after(failed: Iterable[Failed], outcomes: Iterator[Outcome]) -> Generator[Outcome, None, None]:
    """Outcomes after failures that are known already."""
    with closing(cast("Generator[Outcome, None, None]", outcomes)):
        yield from failed
        yield from outcomes


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

    def through(self, outcomes: Generator[Outcome, None, None]) -> int:
        """Keep every outcome, and tell how it goes. Returns the exit code."""
        began = time.monotonic()
        ended = False
        on_terminal = not self._options.output and sys.stdout is not None and sys.stdout.isatty()
        bar = progress.shown(
            self._counts, quiet=self._options.quiet, rows_on_terminal=on_terminal, clock=time.monotonic
        )
        try:
            with closing(bar):
                for outcome in outcomes:
                    self._keep(outcome)
                    bar.tell(self._counts)
                    if self._too_many():
                        break
            if not self._too_many():
                self._output.finish()
                ended = True
        finally:
            self._output.close()
            self._failures.close()
            self._sum_up(time.monotonic() - began, ended)
            outcomes.close()  # last, for after an interrupt it may take longer than there is time for
        if self._too_many():
            most = self._options.max_failures
            return exits.said("tfs-predict", f"more than --max-failures {most} pictures failed", exits.INCOMPLETE)
        return exits.INCOMPLETE if self._counts.failed else exits.OK

    def _too_many(self) -> bool:
        most: int | None = self._options.max_failures
        return most is not None and self._counts.failed > most

    def _keep(self, outcome: Outcome) -> None:
        outcome = replace(outcome, image=text_of(outcome.image))
        if isinstance(outcome, Row):
            try:
                for alias, array in outcome.outputs.items():
                    extents.check_lists(array, f"output {alias!r}")
                self._output.add(outcome)
            except (EncodeError, DecodeError) as error:
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
        exits.note("; ".join(parts))
