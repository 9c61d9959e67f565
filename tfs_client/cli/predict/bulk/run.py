"""A run: it takes pictures from their sources through an engine to an output."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from tfs_client._codec import expansion
from tfs_client._flows.batching.progress.counts import Counts
from tfs_client._printable import bounded
from tfs_client.cli import exits
from tfs_client.cli.predict.answer_reading import is_asked
from tfs_client.cli.predict.arguments import PredictOptions
from tfs_client.cli.predict.bulk import drawings, output_checks, progress, run_record
from tfs_client.cli.predict.bulk.append_files import AppendFile
from tfs_client.cli.predict.bulk.engines import Job, engine
from tfs_client.cli.predict.bulk.failed_pictures import FailureList
from tfs_client.cli.predict.bulk.outcomes import Failed, Outcome, Row
from tfs_client.cli.predict.bulk.outputs import Output, files_of, open_output
from tfs_client.cli.predict.bulk.picture_inputs import PictureInputs
from tfs_client.cli.predict.bulk.picture_sources import listed, place, text_of
from tfs_client.cli.predict.bulk.row_answers import RowAnswers, row_answers
from tfs_client.client import PredictClient
from tfs_client.errors import (
    DeadlineExceededError,
    DecodeError,
    EncodeError,
    ImageError,
    SignatureError,
    TFServingError,
    UnavailableError,
)
from tfs_client.images import Answer, Labels
from tfs_client.options import checked_timeout

if TYPE_CHECKING:
    from tfs_client.cli.predict.bulk.report_rows import ReportRows

BATCH_SIZE = 32
IN_FLIGHT = 4
TRIED = 10  # pictures that are tried before anything is written, until one can be read
LONGEST_REASON = 500  # characters of a failure in the summary
REACH_TIMEOUT = 5.0  # seconds to find out whether a server that did not answer can be reached


def run(
    options: PredictOptions,
    given: Mapping[str, object],
    labels: Labels | None,
    *,
    target: str | list[str],
    model: str,
    client_options: Mapping[str, Any],
) -> int:
    """Predict all pictures; returns the exit code.

    Args:
        options: the command's options.
        given: values of other inputs by alias.
        labels: class names; None without any.
        target, model: the server, or its replicas, and the name of the model.
        client_options: other options of the client, such as tls, token and metadata.
    """
    output_checks.check(options)
    names, unreadable = listed(options.image or (), options.input_list)
    job = _job(options, given, target, model, client_options)
    if options.draw is not None:
        drawings.check_apart(options.draw, names, options.image or ())
    picture_inputs = _try_out(job, names[:TRIED])
    answers = row_answers(options, labels, picture_inputs)
    outcomes = engine(options.engine or "local")
    folder: str | None = None
    record = run_record.record_of(options, model, labels, picture_inputs.plan)
    if options.output:
        _prepare_output(options.output, record, overwrite=options.overwrite)
        folder = run_record.folder_of(options.output, names)
    with closing(open_output(options.output, answers)) as output:
        answers.readable = answers.readable or bool(output.held)
        if options.output:
            run_record.write(options.output, {**record, run_record.FOLDER: folder})
        opened = picture_inputs.original
        if options.draw is not None and options.html is not None:
            opened = lru_cache(maxsize=1)(opened)  # drawing and thumbnail are made from the same picture
        drawn = None if options.draw is None else drawings.Drawings(options.draw, opened)
        if not options.quiet:
            _show_preparation(picture_inputs)
        with closing(FailureList(output_checks.failures_path(options))) as failures:
            earlier = _earlier(names, output.held, folder)
            todo = [name for name in names if name not in earlier]
            counts = Counts(len(names) + len(unreadable), skipped=len(earlier))
            produced = outcomes(job, iter(todo)) if todo else _no_outcomes()
            report = _report(options, model, picture_inputs.line, counts.skipped, opened) if counts.left else None
            undrawn = 0 if drawn is None else sum(not any(map(drawn.has, spellings)) for spellings in earlier.items())
            try:
                run = _Run(options, counts, answers, output, drawn, failures, report, undrawn)
                return run.write_all(_after(unreadable, produced))
            except DeadlineExceededError as error:
                raise _cause(job, error) from None


def _report(options: PredictOptions, model: str, line: str, before: int, opened: drawings.Opened) -> ReportRows | None:
    """Create the report, if there is to be one. ``before`` is the number of pictures that have rows already."""
    if options.html is None:
        return None
    from tfs_client.cli.predict.bulk.report_rows import ReportRows  # with Pillow's encoders, which few runs need

    return ReportRows(
        options.html,
        options,
        model=model,
        preparation=line,
        before=before,
        opened=opened,
    )


def _prepare_output(output: str, record: run_record.Record, *, overwrite: bool) -> None:
    """Remove an output that is overwritten; check that one that is resumed has rows of the same options."""
    if overwrite:
        *others, appended = files_of(output)
        with closing(AppendFile(appended, follow_link=appended == output)) as file:  # raises if another run writes it
            file.keep(0)
        output_checks.remove([*others, *run_record.files_of(output)])
    elif output_checks.has_rows(output):
        run_record.check(output, record)


def _earlier(names: Sequence[str], held: Collection[str], folder: str | None) -> dict[str, str]:
    """Return the names of the pictures that have rows in the output, with their names there."""
    if not held:
        return {}
    here = os.getcwd()
    places = {place(text_of(name), folder or here): name for name in held}
    found = ((name, places.get(place(text_of(name), here))) for name in names)
    return {name: other for name, other in found if other is not None}


def _job(
    options: PredictOptions,
    given: Mapping[str, object],
    target: str | list[str],
    model: str,
    client_options: Mapping[str, Any],
) -> Job:
    return Job(
        options=options,
        target=target,
        model=model,
        client_options=client_options,
        timeout=checked_timeout(options.timeout),
        given=given,
        batch_size=options.batch_size or BATCH_SIZE,
        in_flight=options.in_flight or IN_FLIGHT,
    )


def _try_out(job: Job, names: Sequence[str] = ()) -> PictureInputs:
    """Return how pictures are converted for the model.

    Raises errors that concern every picture, before any file is written. Such as an unreachable server (the
    client of the run would wait for it), an unknown model, and inputs that do not fit the model, which the first
    readable picture shows.
    """
    version, label = job.options.version, job.options.label
    own = {**job.client_options, "retry": None}
    with PredictClient(job.target, model=job.model, version=version, label=label, timeout=job.timeout, **own) as client:
        picture_inputs = job.picture_inputs(client)
    for name in names:
        try:
            mismatch = picture_inputs.mismatch(name)
        except ImageError:
            continue
        if mismatch:
            raise SignatureError(f"the inputs for {name!r} do not fit the model: {mismatch}")
        break
    return picture_inputs


def _show_preparation(picture_inputs: PictureInputs) -> None:
    """Say on standard error what happens to all pictures, and what was assumed about them."""
    exits.show_note(picture_inputs.line)
    if picture_inputs.warning:
        exits.show_note(f"tfs-predict: warning: {picture_inputs.warning}")


def _no_outcomes() -> Iterator[Outcome]:
    yield from ()


def _after(failed: Iterable[Failed], outcomes: Iterator[Outcome]) -> Generator[Outcome, None, None]:
    """Yield known failures, then outcomes."""
    with closing(cast("Generator[Outcome, None, None]", outcomes)):
        yield from failed
        yield from outcomes


def _cause(job: Job, error: DeadlineExceededError) -> TFServingError:
    """Return why a request timed out. The client of a run waits for an unreachable server and does not report it."""
    try:
        _try_out(replace(job, timeout=min(REACH_TIMEOUT, job.timeout or REACH_TIMEOUT)))
    except UnavailableError as unreachable:
        return unreachable
    except TFServingError:
        pass
    return error


class _Run:
    def __init__(
        self,
        options: PredictOptions,
        counts: Counts,
        answers: RowAnswers,
        output: Output,
        drawn: drawings.Drawings | None,
        failures: FailureList,
        report: ReportRows | None,
        undrawn: int,
    ) -> None:
        self._options = options
        self._counts = counts
        self._answers = answers if output.has_answers or report or is_asked(options) else None
        self._output = output
        self._drawn = drawn
        self._failures = failures
        self._report = report
        self._undrawn = undrawn  # pictures with rows of earlier runs, and without a drawing
        self._versions: set[str] = set()

    def write_all(self, outcomes: Generator[Outcome, None, None]) -> int:
        """Write every outcome and report the progress. Returns the exit code."""
        started = time.monotonic()
        finished = False
        on_terminal = not self._options.output and sys.stdout is not None and sys.stdout.isatty()
        display = progress.display(quiet=self._options.quiet, rows_on_terminal=on_terminal, clock=time.monotonic)
        try:
            with closing(display):
                for outcome in outcomes:
                    self._write(outcome)
                    display.update(self._counts)
                    if self._too_many():
                        break
            if not self._too_many():
                self._output.finish()
                if self._report is not None:
                    self._report.finish(self._versions)
                finished = True
        finally:
            self._output.close()
            self._failures.close()
            if self._report is not None:
                self._report.close()
            self._show_summary(time.monotonic() - started, finished)
            outcomes.close()  # last: after an interrupt, it may take longer than the time left
        if self._too_many():
            most = self._options.max_failures
            return exits.show_error("tfs-predict", f"more than --max-failures {most} pictures failed", exits.INCOMPLETE)
        return exits.INCOMPLETE if self._counts.failed else exits.OK

    def _too_many(self) -> bool:
        most = self._options.max_failures
        return most is not None and self._counts.failed > most

    def _write(self, outcome: Outcome) -> None:
        name = outcome.image
        outcome = replace(outcome, image=text_of(name))
        if isinstance(outcome, Row):
            try:
                answer = self._write_row(name, outcome)
            except (EncodeError, DecodeError, ImageError) as error:
                outcome = Failed(outcome.image, error)
            else:
                self._counts.done += 1
                self._versions.add(str(outcome.model))
                if self._report is not None:
                    self._report.add(name, outcome, answer)
        if isinstance(outcome, Failed):
            self._failures.add(outcome)
            if self._report is not None:
                self._report.failed(outcome)
            self._counts.failed += 1

    def _write_row(self, name: str, row: Row) -> Answer | None:
        """Write a picture's drawing and then its row, so that a picture with a row has a drawing. Returns the answer.

        Raises EncodeError, DecodeError and ImageError for a picture that fails alone.
        """
        for alias, array in row.outputs.items():
            expansion.check_lists(array, f"output {alias!r}")
        answer = None if self._answers is None else self._answers.of(row)
        if self._drawn is not None:
            self._drawn.add(name, answer)
        try:
            self._output.add(row, answer)
        except MemoryError as error:
            raise EncodeError("not enough memory to write its row") from error
        return answer

    def _show_summary(self, seconds: float, finished: bool) -> None:
        if self._options.quiet:
            return
        parts = [progress.summary(self._counts, seconds)]
        output = self._options.output if self._counts.done or self._counts.skipped else None
        if output:
            parts.append(f"rows in {output if finished else files_of(output)[-1]}")
        if self._counts.failed and self._failures.path:
            parts.append(f"failures in {self._failures.path}")
            if not self._counts.done and (first := self._failures.first) is not None:
                parts[-1] += f" ({bounded(f'the first: {first.image}: {first.text}', LONGEST_REASON)})"
        if self._options.draw is not None and (self._counts.done or self._undrawn):
            of = f"picture{'s' * (self._undrawn != 1)} of earlier runs"
            without = f", {self._undrawn} {of} not drawn" if self._undrawn else ""
            parts.append(f"drawings in {self._options.draw}{without}")
        if self._report is not None:
            parts.append(f"report in {self._options.html}")
        elif self._options.html is not None:
            parts.append("no new report, as all pictures have rows of earlier runs")
        if len(self._versions) > 1:
            parts.append(f"answered by {', '.join(sorted(self._versions))}")
        if output and not finished:
            parts.append("--resume continues the run")
        exits.show_note("; ".join(parts))
