"""The charts of a report, each with its heading, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite, isnan, log10, nan

from tfs_client.cli.bench.report import wording
from tfs_client.cli.bench.report.html.plot import LEFT, WIDTH, Axis, Plot, linear, logarithmic, svg
from tfs_client.cli.bench.report.run_results import ComparisonResult, KneeResult, Results, StageResult
from tfs_client.cli.bench.stages import OpenLoop
from tfs_client.cli.html_document import text

MOST_LINES = 8  # colours of the style
MOST_STAGES = 60  # of charts over a whole run
POINTS = 100  # of a line over percentiles
BARS = 48
ROW = 34  # units of a row of a chart with rows
PERCENTILES = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99"), (0.99999, "p99.999"))


def of(results: Results) -> list[str]:
    """All charts that the results have something for."""
    if results.comparison is not None:
        return [_comparison(results.comparison)]
    answered = [result for result in results.stages if result.measured.answered]
    if not answered:
        return []
    chosen = _chosen(answered, results.knee)
    charts = [*_steps(answered, results.knee), _percentiles(answered), _histogram(chosen, len(answered) > 1)]
    return [*charts, *_over_time(answered), *_times(answered)]


def _card(heading: str, drawing: str, legend: Iterable[tuple[str, str]] = (), note: str = "") -> str:
    keys = "".join(
        f'<li><svg viewBox="0 0 10 10"><rect class="{kind}" width="10" height="10"/></svg>{text(name)}</li>'
        for kind, name in legend
    )
    below = f'<ul class="legend">{keys}</ul>\n' if keys else ""
    more = f'<p class="note">{text(note)}</p>\n' if note else ""
    return f"<figure>\n<figcaption>{text(heading)}</figcaption>\n{drawing}{below}{more}</figure>\n"


def _chosen(stages: Sequence[StageResult], knee: KneeResult | None) -> StageResult:
    """The stage of a chart that shows only one: the knee, or the last one."""
    if knee is not None and knee.held is not None:
        at_knee = [result for result in stages if wording.size_of(result.stage) == knee.held]
        return (at_knee or list(stages))[-1]
    return stages[-1]


def _spread(stages: Sequence[StageResult]) -> list[StageResult]:
    """As many stages as there are colours, evenly chosen, with the first and the last."""
    if len(stages) <= MOST_LINES:
        return list(stages)
    return [stages[round(at * (len(stages) - 1) / (MOST_LINES - 1))] for at in range(MOST_LINES)]


def _percentiles(stages: Sequence[StageResult]) -> str:
    shown = _spread(stages)
    lines = []
    for result in shown:
        latency = result.measured.latency
        last = log10(max(2, latency.count))
        rarities = [last * at / POINTS for at in range(POINTS + 1)]
        lines.append([(rarity, max(1e-6, latency.quantile(1 - 10**-rarity))) for rarity in rarities])
    ticks = [(log10(1 / (1 - share)), name) for share, name in PERCENTILES]
    end = max(line[-1][0] for line in lines)
    x = Axis("percentile of requests", 0.0, end, [tick for tick in ticks if tick[0] <= end])
    y = logarithmic("latency", (latency for line in lines for _, latency in line), _tick)
    plot = Plot("Latency by percentile", x, y)
    drawing = plot.drawn(*(plot.line(line, f"s{at}") for at, line in enumerate(lines)))
    legend = [(f"s{at}", wording.load(result.stage)) for at, result in enumerate(shown)]
    left = f"{len(shown)} of {len(stages)} stages are drawn." if len(shown) < len(stages) else ""
    return _card("Latency by percentile", drawing, legend, left)


def _histogram(result: StageResult, several: bool) -> str:
    latency = result.measured.latency
    low, high = max(1e-6, latency.shortest / 1e9), max(2e-6, latency.longest / 1e9)
    x = logarithmic("latency", (low, high), _tick)
    width = log10(x.high / x.low) / BARS
    counts = [0] * BARS
    for start, end, count in latency.buckets():
        middle = min(x.high, max(x.low, (start + end) / 2))
        counts[min(BARS - 1, int(log10(middle / x.low) / width))] += count
    y = linear("requests", counts, _count, low=0.0)
    plot = Plot("Distribution of latencies", x, y)
    edges = [x.low * 10 ** (width * at) for at in range(BARS + 1)]
    bars = [plot.bar(edges[at], edges[at + 1], 0, count, "s0") for at, count in enumerate(counts) if count]
    bound = result.stage.bound
    mark = plot.upright(bound, f"bound {wording.duration(bound)}") if bound and x.low < bound < x.high else ""
    return _card(f"Requests by latency{f': {wording.load(result.stage)}' if several else ''}", plot.drawn(*bars, mark))


def _steps(stages: Sequence[StageResult], knee: KneeResult | None) -> list[str]:
    """Latency and throughput over the load, if there are several constant loads of the kind that the last stage has."""
    kind = type(stages[-1].stage.load)  # a search for a rate begins with one request in flight
    alike = [result for result in stages if type(result.stage.load) is kind]
    found = [(size, result) for result in alike if (size := wording.size_of(result.stage))]
    if len({size for size, _ in found}) < 2:
        return []
    found.sort(key=lambda one: one[0])
    title = "requests per second" if kind is OpenLoop else "requests in flight"
    x = linear(title, (size for size, _ in found), _count, low=0.0)
    series = [
        [(size, result.measured.latency.quantile(share)) for size, result in found] for share in (0.5, 0.99, 0.999)
    ]
    limits = [knee.bound] if knee is not None else [bound for _, one in found if (bound := one.stage.bound)][:1]
    y = logarithmic("latency", [*(value for one in series for _, value in one), *limits], _tick)
    plot = Plot("Latency over load", x, y)
    at_knee = "" if knee is None or knee.held is None else f"knee {wording.number(knee.held)}"
    marks = [plot.level(limit, f"bound {wording.duration(limit)}", series) for limit in limits]
    drawn = [plot.line(one, f"s{at}", dots=True) for at, one in enumerate(series)]
    if knee is not None and knee.held is not None:
        marks.append(plot.upright(knee.held, at_knee))
    latency = _card("Latency over load", plot.drawn(*marks, *drawn), [("s0", "p50"), ("s1", "p99"), ("s2", "p99.9")])
    answers = [
        [(size, result.measured.throughput) for size, result in found],
        [(size, result.measured.goodput) for size, result in found],
    ]
    y = linear("answers per second", (value for one in answers for _, value in one), _count, low=0.0)
    plot = Plot("Answers per second over load", x, y)
    drawn = [plot.line(one, f"s{at}", dots=True) for at, one in enumerate(answers)]
    if knee is not None and knee.held is not None:
        drawn.append(plot.upright(knee.held, at_knee))
    legend = [("s0", "all answers"), ("s1", "correct and within the bound")]
    return [latency, _card("Answers per second over load", plot.drawn(*drawn), legend)]


def _over_time(stages: Sequence[StageResult]) -> list[str]:
    """Latency over the time of the stages, one after the other; nothing if they are too short to have a course."""
    shown = stages[:MOST_STAGES]
    medians: list[tuple[float, float]] = []
    highs: list[tuple[float, float]] = []
    begins, begin = [], 0.0
    for result in shown:
        slices = result.measured.slices
        begins.append(begin)
        for start, _, median, high in slices.rows():
            middle = begin + start + slices.width / 2
            medians.append((middle, median))
            highs.append((middle, high))
        medians.append((nan, nan))  # the lines end with the stage
        highs.append((nan, nan))
        begin += result.measured.seconds
    if sum(not isnan(x) for x, _ in medians) < 3:
        return []
    x = linear("seconds of the measured time", (0.0, begin), _count, low=0.0)
    y = logarithmic("latency", (value for _, value in (*medians, *highs)), _tick)
    plot = Plot("Latency over time", x, y)
    edges = [plot.bar(at, at, y.low, y.high, "edge") for at in begins[1:]]
    drawing = plot.drawn(*edges, plot.line(medians, "s0"), plot.line(highs, "s1"))
    note = f"The first {len(shown)} of {len(stages)} stages." if len(shown) < len(stages) else ""
    return [_card("Latency over time", drawing, [("s0", "p50"), ("s1", "p99")], note)]


def _times(stages: Sequence[StageResult]) -> list[str]:
    """The parts of the mean service time of each stage, as bars."""
    shown = _spread(stages)
    rows = []
    for result in shown:
        measured, served = result.measured, result.served
        if not measured.wait.count:
            continue
        server = served.latency.mean if served is not None and served.latency is not None else nan
        server = 0.0 if isnan(server) else min(server, measured.wait.mean)
        parts = (measured.encode.mean, measured.wait.mean - server, server, measured.decode.mean)
        rows.append((wording.load(result.stage), parts))
    if not rows:
        return []
    longest = max(sum(parts) for _, parts in rows) or 1.0
    drawn = []
    for number, (name, parts) in enumerate(rows):
        y, x = number * ROW, 0.0
        total = wording.duration(sum(parts))
        drawn.append(f'<text x="0" y="{y + 12}">{text(name)}</text>')
        drawn.append(f'<text x="{WIDTH}" y="{y + 12}" text-anchor="end">{text(total)}</text>')
        for kind, part in enumerate(parts):
            width = WIDTH * part / longest
            if part:
                drawn.append(f'<rect class="s{kind}" x="{x:.2f}" y="{y + 17}" width="{width:.2f}" height="9"/>')
            x += width
    split = any(parts[2] for _, parts in rows)
    names = ["encode", "wait outside the server" if split else "wait", "in the server", "decode"]
    legend = [(f"s{kind}", name) for kind, name in enumerate(names) if split or kind != 2]
    return [_card("Mean time of a request", svg("Mean time of a request", len(rows) * ROW, "".join(drawn)), legend)]


def _comparison(found: ComparisonResult) -> str:
    """The change of each figure, with its interval."""
    ends = [end for change in found.changes for end in (change.low, change.high, change.change) if isfinite(end)]
    x = linear("", [0.0, *ends], lambda share: f"{100 * share:+.3g} %" if share else "0 %")

    def place(value: float) -> float:
        return LEFT / 2 + x.share(value) * (WIDTH - LEFT)

    height = len(found.changes) * ROW + 24
    drawn = []
    for value, label in x.ticks[:: 1 + len(x.ticks) // 7]:
        drawn.append(f'<line class="grid" x1="{place(value):.1f}" x2="{place(value):.1f}" y1="0" y2="{height - 20}"/>')
        drawn.append(f'<text x="{place(value):.1f}" y="{height - 5}" text-anchor="middle">{text(label)}</text>')
    drawn.append(f'<line class="mark" x1="{place(0):.1f}" x2="{place(0):.1f}" y1="0" y2="{height - 20}"/>')
    for number, change in enumerate(found.changes):
        y = number * ROW + 24
        drawn.append(f'<text x="4" y="{y - 9}">{text(change.name)} {text(wording.percent(change.change))}</text>')
        if all(map(isfinite, (change.low, change.high, change.change))):
            kind = "s1" if change.decides else "s0"
            low, high = place(change.low), place(change.high)
            drawn.append(f'<rect class="{kind}" x="{low:.1f}" y="{y - 2}" width="{high - low:.1f}" height="4"/>')
            drawn.append(f'<circle class="{kind}" cx="{place(change.change):.1f}" cy="{y}" r="4.5"/>')
    note = (
        f"Dots: CHANGE, from BASE to TARGET. Bars: FROM and TO, its {100 * found.confidence:g} % confidence interval. "
        "Dashed: no change."
    )
    legend = [("s1", "decides the exit code"), ("s0", "for information")]
    return _card("Change from base to target", svg("Change from base to target", height, "".join(drawn)), legend, note)


def _tick(seconds: float) -> str:
    """A duration without decimals that are zero."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _count(value: float) -> str:
    return f"{value:,.6g}"
