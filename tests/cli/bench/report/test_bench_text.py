"""The results of tfs-bench as text, and the live table."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from bench_results import comparison, measured, run, served, steps

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report import live, wording
from tfs_client.cli.bench.report.observer import Observer
from tfs_client.cli.bench.report.run_results import KneeResult, Results, StageResult
from tfs_client.cli.bench.report.text import notes, text
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage

CLOSED = Stage(ClosedLoop(4), 10.0)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (float("nan"), "-"),
        (0.0, "0.00 us"),
        (12.34e-6, "12.3 us"),
        (999.6e-6, "1.00 ms"),
        (0.0051, "5.10 ms"),
        (0.9994, "999 ms"),
        (61.5, "61.5 s"),
        (float("inf"), "unlimited"),
    ],
)
def test_durations_have_a_suitable_unit(seconds, shown):
    assert wording.duration(seconds) == shown


@pytest.mark.parametrize(
    ("load", "shown"),
    [
        (ClosedLoop(4), "4 in flight"),
        (OpenLoop(1234.5), "1,234/s"),
        (OpenLoop(2.5, "fixed"), "2.50/s fixed"),
        (OpenLoop(100, end_rate=400), "100 to 400/s"),
        (RecordedPace(), "recorded pace"),
        (RecordedPace(2.5), "recorded pace x 2.5"),
    ],
)
def test_loads_are_named(load, shown):
    assert wording.load(Stage(load, 1.0)) == shown


def test_the_tables_line_up():
    stages = [
        StageResult(CLOSED, measured([0.005] * 100), served=served()),
        StageResult(Stage(OpenLoop(2000), 10.0), measured([0.0123, 1.5])),
    ]

    assert text(Results(run(), stages)) == (
        "LOAD         SENT  ANSWERS/S  GOOD/S      P50      P90      P99    P99.9      MAX  ERRORS  WRONG  UNSENT\n"
        "4 in flight   100         10      10  5.00 ms  5.00 ms  5.00 ms  5.00 ms  5.00 ms       0      0       0\n"
        "2,000/s         2       0.20    0.20  12.3 ms   1.50 s   1.50 s   1.50 s   1.50 s       0      0       0\n"
        "\n"
        "LOAD          ENCODE     WAIT  IN SERVER  IN MODEL   DECODE  CLIENT CPU\n"
        "4 in flight  20.0 us  4.95 ms    1.50 ms    800 us  30.0 us     5.00 ms\n"
        "2,000/s      20.0 us   756 ms          -         -  30.0 us      250 ms"
    )


def test_an_empty_stage_has_no_figures():
    stages = [StageResult(stage, Measured(seconds=10.0)) for stage in (CLOSED, Stage(OpenLoop(0.01), 10.0))]
    _, line, _, _, *found = text(Results(run(), stages)).splitlines()

    assert line.split()[-8:] == ["-", "-", "-", "-", "-", "0", "0", "0"]
    assert found == [
        "note: no request of the stage 4 in flight was meant to start within the measured 10.0 s: requests of the "
        "warm-up were under way until its end; use a longer --duration",
        "note: no request of the stage 0.01/s was meant to start within the measured 10.0 s: none was due; use a "
        "longer --duration",
    ]
    assert "no request of the stage" not in text(Results(run(), stages, interrupted=True))


def test_errors_and_notes_follow_with_their_first_text():
    found = measured([0.005] * 3, errors=Counter({"UNAVAILABLE": 1200}), wrong=2, sent=1203, unsent=7)
    found.samples = {"UNAVAILABLE": "no\nroute\x1b[31m", "wrong": "'y' differs"}
    result = StageResult(CLOSED, found, unknown="the server has no page")

    shown = text(Results(run(), [result], notes=["a note"], interrupted=True))

    assert "1,200 x UNAVAILABLE, such as: no route\\x1b[31m\n2 x wrong, such as: 'y' differs\n" in shown
    assert "note: a note\nnote: the run was interrupted" in shown
    assert "note: the server's own times are unknown: the server has no page" in shown
    assert "note: 7 requests of the stage 4 in flight could not be sent" in shown
    assert "raise --max-in-flight" in shown


def test_a_backlog_of_the_warmup_is_noted():
    overload = measured([5.0] * 100, sent=100, unsent=60, backlog=4.0)
    (note,) = notes(Results(run(), [StageResult(Stage(OpenLoop(16.0), 10.0), overload)]))[:1]
    assert "requests of the warm-up were answered until 4.00 s of the measured 10.0 s" in note
    slow = measured([3.0] * 100, backlog=3.0)
    assert notes(Results(run(), [StageResult(Stage(OpenLoop(16.0), 10.0), slow)])) == []


@pytest.mark.parametrize(
    ("answers", "said"), [(50, "other clients call the model"), (200, "does not cover all"), (100, "")]
)
def test_other_requests_than_those_sent_are_noted(answers, said):
    shown = text(Results(run(), [StageResult(CLOSED, measured([0.005] * answers), served=served())]))

    notes = [line for line in shown.splitlines() if line.startswith("note")]
    assert len(notes) == bool(said)
    assert all(said in note for note in notes)


def test_a_search_and_its_verdicts_are_shown():
    shown = text(steps())

    assert shown.splitlines()[0].endswith("UNSENT  VERDICT")
    assert shown.splitlines()[3].endswith("failed: 3.2 % of the requests took longer")
    assert "knee: 50/s keeps p99 within 100 ms; 75/s failed" in shown


@pytest.mark.parametrize(
    ("held", "failed", "said"),
    [
        (None, 10.0, "knee: no load kept p99.9 within 100 ms; the lowest that failed: 10 in flight"),
        (
            64.0,
            None,
            "knee: 64 in flight keeps p99.9 within 100 ms; no load failed, it may be higher (no load held with",
        ),
    ],
)
def test_a_search_may_find_one_side_only(held, failed, said):
    assert wording.knee(KneeResult("concurrency", 0.1, 0.999, held, failed, exhausted=True)).startswith(said)


@pytest.mark.parametrize(
    ("certain", "said"),
    [
        ((39.5, 40.7), "40.7/s failed"),
        ((None, 46.9), "40.7/s failed (certain only from 46.9/s; no load held with certainty)"),
        ((30.0, None), "(no load failed with certainty; the highest that held with certainty: 30/s)"),
    ],
)
def test_the_knee_says_what_is_not_certain(certain, said):
    assert wording.knee(KneeResult("rate", 0.1, 0.99, 39.5, 40.7, certain)).endswith(said)


def test_a_comparison_shows_intervals():
    assert text(comparison()) == (
        "base: localhost:8600\ntarget: localhost:8500\nload: 4 in flight, 8 pairs of blocks of 1.00 s\n\n"
        "                   BASE   TARGET  CHANGE     FROM       TO\n"
        "median latency  5.10 ms  5.60 ms  +9.8 %   +6.1 %  +13.5 %\n"
        "p99 latency     9.70 ms  9.90 ms  +2.1 %   -5.0 %   +9.2 %\n"
        "throughput        781/s    712/s  -8.8 %  -12.0 %   -5.5 %\n"
        "BASE and TARGET: medians over the blocks. CHANGE: estimated from the pairs of blocks, so it may differ from "
        "the ratio of the two. FROM and TO: its 95 % confidence interval.\n\n"
        "localhost:8500 is worse than localhost:8600, by its median latency"
    )


def run_a_stage(display):
    observer = Observer(display)
    for label in ("first", "[red]second\x1b"):
        progress = observer.started(CLOSED, label)
        if progress is not None:
            progress(measured([0.001]))
        observer.ended(CLOSED, label, measured([0.002] * 3), "held")
    display.close()
    display.close()
    return observer.stages


def test_a_terminal_shows_a_row_for_each_stage():
    console = pytest.importorskip("rich.console")
    out = io.StringIO()

    stages = run_a_stage(live.LiveTable(console.Console(file=out, force_terminal=True, width=160, height=30)))

    assert [result.verdict for result in stages] == ["held", "held"]
    drawn = out.getvalue()
    assert "ANSWERS/S" in drawn
    assert "[red]second\\x1b held" in drawn
    assert "2.00 ms" in drawn


def test_progress_writes_one_line_again():
    """rich would take many milliseconds, in which no request could be sent."""
    console = pytest.importorskip("rich.console")
    out = io.StringIO()
    table = live.LiveTable(console.Console(file=out, force_terminal=True, width=100, height=30))
    table.started(CLOSED, "first")
    progress = table.started(CLOSED, "second")
    out.seek(0)
    out.truncate()

    progress(measured([0.001] * 7))

    written = out.getvalue()
    table.close()
    assert written.startswith(live.AGAIN + "4 in flight ")
    assert "1.00 ms" in written
    assert "\n" not in written
    assert len(written) <= len(live.AGAIN) + 99


def test_a_narrow_terminal_shows_load_and_errors():
    console = pytest.importorskip("rich.console")
    out = io.StringIO()

    run_a_stage(live.LiveTable(console.Console(file=out, force_terminal=True, width=60, height=30)))

    header = next(line for line in out.getvalue().splitlines() if "LOAD" in line)
    assert header.split()[-4:] == ["ANSWERS/S", "P50", "P99", "ERRORS"]


def test_without_rich_a_terminal_gets_a_line_for_each_stage(capsys):
    run_a_stage(live.Lines())

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("first 4 in flight: sent 3, answers/s 0.30, good/s 0.30, p50 2.00 ms")
    assert lines[0].endswith("; held")


def test_other_streams_get_nothing(capsys):
    shown = live.display(quiet=False)

    run_a_stage(shown)

    assert isinstance(shown, live.NoDisplay)
    assert capsys.readouterr() == ("", "")
