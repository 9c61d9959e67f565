"""Reporting: what tfs-bench prints and writes, and its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from tfs_client._transports.targets import without_password
from tfs_client.cli import exits
from tfs_client.cli.bench.arguments import BenchOptions
from tfs_client.cli.bench.before_the_load import Prepared
from tfs_client.cli.bench.kept_stages import KeptStages
from tfs_client.cli.bench.query_sources.chosen import Chosen
from tfs_client.cli.bench.report import json_report, live
from tfs_client.cli.bench.report.observer import Observer
from tfs_client.cli.bench.report.run_results import Results, Run
from tfs_client.cli.bench.report.text import text
from tfs_client.cli.bench.report_files import check_writable
from tfs_client.cli.bench.server_page import metrics_of
from tfs_client.cli.credentials import CredentialOptions
from tfs_client.cli.predict.arguments import is_given
from tfs_client.errors import ConfigError

if TYPE_CHECKING:
    from tfs_client.cli.bench.target import BenchTarget

STANDARD_OUTPUT = "-"  # the value of --json without a file

_SERVERS = ("compare", "metrics")  # may contain passwords
_NOT_SHOWN = {"target", "server", *(each.name for each in fields(CredentialOptions))}


def check(options: BenchOptions) -> None:
    """Raise ConfigError for files that could not be written after the load; OSError without standard output."""
    if sys.stdout is None:  # what Python does if it is closed
        raise OSError("standard output, where the results go, is closed")
    if options.json not in (None, STANDARD_OUTPUT):
        check_writable("--json", str(options.json))
    if options.html is not None:
        check_writable("--html", options.html)
        if options.json is not None and os.path.realpath(options.json) == os.path.realpath(options.html):
            raise ConfigError(f"--json and --html: expected different files, got {options.html!r} for both")


def about(options: BenchOptions, target: BenchTarget, tried: Prepared, sent: Chosen) -> Run:
    """Return what a report says about a run."""
    given = [each.name for each in fields(BenchOptions) if each.name not in _NOT_SHOWN and is_given(options, each.name)]
    parameters = {name: getattr(options, name) for name in given}
    for name in _SERVERS:
        if name in parameters:
            parameters[name] = without_password(str(parameters[name]))
    model = tried.model
    names = sent.models or [target.model]
    return Run(
        target=without_password(target.server),
        transport="rest" if target.rest else "grpc",
        model=", ".join(names),
        version=None if model is None or len(names) > 1 else model.version,
        signature=target.signature,
        requests=sent.line,
        parameters=parameters,
        started=datetime.now(timezone.utc).astimezone(),
    )


def first_line(run: Run) -> str:
    """Return what is sent, and where."""
    transport = "REST" if run.transport == "rest" else "gRPC"
    version = "" if run.version is None else f" version {run.version}"
    return f"{run.target} ({transport}), model {run.model}{version}: {run.requests}"


class Watching:
    """Watches the stages of a run: shows them, and adds them to the results.

    Args:
        options: the command's options.
        target: the server whose metrics are read.
        models: the models that are called.

    Raises ConfigError for a metrics page that cannot be used.
    """

    def __init__(self, options: BenchOptions, target: BenchTarget, models: Sequence[str]) -> None:
        self._metrics = metrics_of(options, target, models)
        self._display = live.display(quiet=options.quiet)
        labelled = options.compare is not None  # the label has the target; elsewhere it repeats the load
        self.stages: KeptStages = KeptStages(Observer(self._display, self._metrics), labelled=labelled)

    def finished(self, results: Results, *, interrupted: bool = False) -> Results:
        """End the display, add the stages to the results, and return these."""
        self._display.close()
        results.stages = self.stages.stages()
        results.interrupted = interrupted
        return results

    def close(self) -> None:
        """End the display, and close the connection to the metrics page."""
        self._display.close()
        if self._metrics is not None:
            self._metrics.close()


def show(options: BenchOptions, results: Results) -> None:
    """Print the results, and write the files that the options name. Raises ConfigError."""
    if options.json == STANDARD_OUTPUT:
        exits.show(json_report.dumped(results))
    elif results.stages:
        exits.show(text(results))
    elif results.interrupted:
        exits.show_note("tfs-bench: interrupted before anything was measured")
    if options.json not in (None, STANDARD_OUTPUT):
        json_report.write(str(options.json), results)
    if options.html is not None:
        from tfs_client.cli.bench.report.html import page  # few runs need it

        page.write(options.html, results)


def code_of(results: Results) -> int:
    """Return the exit code for the results of a run that was not interrupted."""
    if results.comparison is not None and results.comparison.worse:
        return exits.DIFFERENT
    if results.knee is not None:
        return exits.DIFFERENT if results.knee.held is None else exits.OK
    found = [each.measured for each in results.stages]
    bad = any(each.failed or each.wrong or each.unsent or each.empty for each in found)
    return exits.INCOMPLETE if bad else exits.OK
