"""The results of tfs-bench as an HTML page."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

import pytest
from bench_results import comparison, measured, run, steps
from html_pages import Page

from tfs_client.cli.bench.arguments import parse
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report.html import page, plot
from tfs_client.cli.bench.report.run_results import Change, ComparisonResult, KneeResult, Results, StageResult
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, Stage

BLOCK = Stage(ClosedLoop(1), 1.0)
HOSTILE = "</svg><script>alert('\x1b')</script><b onload=x>"


def read(results):
    found = Page(page.page(results))
    assert found.open == []  # every element is closed
    return found


def headings(found):
    return found.texts.get("figcaption", [])


def test_steps_have_all_charts_with_the_knee_marked():
    found = read(steps())

    assert headings(found) == [
        "Latency over load",
        "Answers per second over load",
        "Latency by percentile",
        "Requests by latency: 50/s",
        "Latency over time",
        "Mean time of a request",
    ]
    marks = found.texts["mark"]
    assert marks.count("knee 50") == 2
    assert "bound 100 ms" in marks
    assert found.texts["verdict"] == ["Knee: 50/s keeps p99 within 100 ms; 75/s failed"]
    assert "5 stages: 2,022 answers, 0 errors." in found.state
    cells = found.texts["td"]
    assert {"25/s", "50/s", "75/s", "90/s", "97/s", "20.0 us"} <= set(cells)


def test_all_points_are_inside_the_drawing():
    markup = page.page(steps())

    points = [
        tuple(map(float, point.split(",")))
        for line in re.findall(r'points="([^"]+)"', markup)
        for point in line.split()
    ]
    assert len(points) > 500
    assert all(plot.LEFT <= x <= plot.WIDTH - plot.RIGHT for x, _ in points)
    assert all(plot.TOP <= y <= plot.HEIGHT - plot.BOTTOM for _, y in points)


def test_the_label_of_the_bound_lies_beside_the_lines():
    markup = page.page(steps())
    chart = markup[markup.index("Latency over load") :].partition("</figure>")[0]
    left, base = map(float, re.search(r'<text class="mark" x="([0-9.]+)" y="([0-9.]+)">bound', chart).groups())
    right = left + len("bound 100 ms") * plot.LETTER

    lines = re.findall(r'<polyline class="s\d" points="([^"]+)"', chart)
    assert len(lines) == 3
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        for (x, y), (after, end) in itertools.pairwise(points):
            along = [(x + (after - x) * at / 50, y + (end - y) * at / 50) for at in range(51)]
            assert not [at for at in along if left < at[0] < right and base - plot.ASCENT < at[1] < base + 3]


def test_bars_count_every_request():
    random = [0.001 * (1 + number % 7) for number in range(700)]
    markup = page.page(Results(run(), [StageResult(Stage(ClosedLoop(1), 10.0), measured(random))]))

    chart = markup[markup.index("Requests by latency") :].partition("</figure>")[0]
    heights = [float(height) for height in re.findall(r'class="s0"[^>]*height="([0-9.]+)"', chart)]
    assert len(heights) == 7
    assert max(heights) - min(heights) < 0.2


def test_a_comparison_shows_its_changes():
    found = read(comparison())

    assert headings(found) == ["Change from base to target"]
    assert found.texts["verdict bad"] == ["localhost:8500 is worse than localhost:8600, by its median latency"]
    assert "median latency +9.8 %" in found.texts["svg"]
    assert {"base: localhost:8600", "target: localhost:8500"} <= set(found.texts["targets"])
    assert "8 pairs of blocks after a warm-up: 100 answers, 0 errors." in found.state


def test_texts_from_outside_are_escaped_everywhere():
    broken = measured([0.005], errors=Counter({HOSTILE: 1}))
    broken.samples = {HOSTILE: HOSTILE}
    facts = run(target=HOSTILE, model=HOSTILE, signature=HOSTILE, requests=HOSTILE, parameters={HOSTILE: HOSTILE})
    stage = StageResult(Stage(ClosedLoop(1), 1.0), broken, HOSTILE, HOSTILE, unknown=HOSTILE)
    change = Change(HOSTILE, "seconds", 1, 1, 0, 0, 0)
    compared = ComparisonResult(HOSTILE, HOSTILE, BLOCK, 8, (change,), 0.95, HOSTILE, False)

    for results in (Results(facts, [stage], notes=[HOSTILE]), Results(facts, [stage], comparison=compared)):
        markup = page.page(results)
        found = read(results)
        assert not {"script", "b"} & {tag for tag, _ in found.found}
        assert "\x1b" not in markup
        assert markup.count("&lt;script&gt;") > 5
        assert not [name for _, attributes in found.found for name in attributes if name.startswith("on")]


@pytest.mark.parametrize(
    "stages",
    [
        [],
        [Measured()],
        [measured([0.0])],
        [measured([1e-9, 3600.0])],
        [measured([0.005], seconds=0.0)],
        [measured([0.005] * 3), Measured(), measured([5.0] * 2)],
        [measured([0.001 * number]) for number in range(1, 13)],
    ],
    ids=["no stage", "no answer", "zero", "extremes", "no time", "a stage without answers", "many"],
)
def test_unusual_results_have_a_page(stages):
    results = [StageResult(Stage(OpenLoop(at + 1), 10.0, bound=0.01), each) for at, each in enumerate(stages)]

    markup = page.page(Results(run(), results))

    found = Page(markup)
    assert found.open == []
    assert not re.search(r'="-?(nan|inf)|[ ,](nan|-?inf)[, "]', markup)
    assert len(found.texts.get("td", [])) >= len(stages)


def test_errors_come_first_if_most_requests_failed():
    bad = measured([0.005], errors=Counter({"UNAVAILABLE": 3}))
    good = measured([0.005] * 9, errors=Counter({"UNAVAILABLE": 3}))

    def order(found):
        markup = page.page(Results(run(), [StageResult(BLOCK, found)]))
        return markup.index('id="problems"') < markup.index("<table>")

    assert (order(bad), order(good)) == (True, False)


def test_options_are_spelled_as_on_the_command_line():
    line = "--rate 100,2.5 --bound 50ms --duration 10s --shape x=?,4 --quantile 99.9 --size 4x8 --exif off --bgr"
    options = vars(parse(line.split()))
    names = ("rate", "bound", "duration", "shape", "quantile", "size", "exif", "bgr", "encoded", "html")

    facts = read(Results(run(parameters={name: options[name] for name in names}))).texts["dd"]

    assert line.replace("x=?,4", "'x=?,4'") in facts


def test_a_change_without_an_interval_has_a_row():
    changes = (Change("p99 latency", "seconds", 1.0, math.nan, math.nan, -math.inf, math.inf),)
    results = Results(run(), comparison=ComparisonResult("a", "b", BLOCK, 8, changes, 0.95, "unknown", False))

    assert "p99 latency -" in read(results).texts["svg"]


def test_a_search_for_a_rate_may_begin_with_one_request_in_flight():
    results = steps()
    results.stages.insert(0, StageResult(Stage(ClosedLoop(1), 3.0), measured([0.002] * 9)))

    assert headings(read(results))[0] == "Latency over load"


def test_a_knee_that_no_stage_has_is_marked():
    results = steps()
    results.knee = KneeResult("rate", 0.1, 0.99, 60.0, 75.0)

    assert "knee 60" in read(results).texts["mark"]


@pytest.mark.parametrize("values", [[], [0.0], [5.0], [-0.3, 0.2], [1e-9, 1e9], [math.nan]])
def test_axes_reach_around_their_values(values):
    for axis in (plot.linear("", values, str), plot.logarithmic("", values, str)):
        assert axis.low < axis.high
        assert 2 <= len(axis.ticks) <= plot.MOST_TICKS + 2
        shown = [value for value in values if value > 0 or (not axis.log and not math.isnan(value))]
        assert all(axis.low <= value * (1 + 1e-9) and value <= axis.high * (1 + 1e-9) for value in shown if value > 0)


def test_the_file_is_written(tmp_path):
    path = tmp_path / "results.html"

    page.write(str(path), steps())

    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
