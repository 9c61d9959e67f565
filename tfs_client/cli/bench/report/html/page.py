"""The page: what was measured, tables, charts, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfs_client import __version__
from tfs_client.cli import html_document, replaced_files
from tfs_client.cli.bench.option_spelling import spelled
from tfs_client.cli.bench.report import json_report, wording
from tfs_client.cli.bench.report import text as as_text
from tfs_client.cli.bench.report.html import charts
from tfs_client.cli.bench.report.run_results import Results, Run
from tfs_client.cli.html_document import facts_list, text

PROGRAM = "tfs-bench"
MOST_ROWS = 500  # of the table of stages

STYLE = (
    """
:root { --s0: #1766c2; --s1: #c2570c; --s2: #1a7f4b; --s3: #8a3ffc; --s4: #b3261e; --s5: #00788a; --s6: #8a6d00;
  --s7: #a8327e; }
@media (prefers-color-scheme: dark) {
  :root { --s0: #69aefc; --s1: #ffa260; --s2: #5fd08d; --s3: #c3a2ff; --s4: #ff9a8f; --s5: #5cd0e0; --s6: #dfc25a;
    --s7: #f592cf; }
}
.verdict { margin: 1rem 0 0; font-size: 1.1rem; font-weight: 600; }
.verdict.bad { color: var(--bad); }
.scrolls { margin-top: 1.25rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.4rem 0.8rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
th { border-top: 0; color: var(--soft); font-weight: 500; font-size: 0.8rem; }
th:first-child, td:first-child, td.words, th.words { text-align: left; }
td.words { min-width: 13rem; white-space: normal; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1rem;
  margin-top: 1.25rem; align-items: start; }
figure { margin: 0; padding: 0.9rem 1rem; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card); break-inside: avoid; }
figcaption { margin-bottom: 0.5rem; font-weight: 600; }
figure > svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: var(--soft); }
svg text.mark { fill: var(--text); }
figure svg text { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
svg line.grid { stroke: var(--line); }
svg line.mark { stroke: var(--soft); stroke-dasharray: 4 3; }
svg rect.edge { fill: var(--soft); opacity: 0.5; }
svg polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
"""
    + "".join(
        f"svg polyline.s{at} {{ stroke: var(--s{at}); }}\nsvg rect.s{at}, svg circle.s{at} {{ fill: var(--s{at}); }}\n"
        for at in range(charts.MOST_LINES)
    )
    + """\
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 0.9rem; margin: 0.5rem 0 0; padding: 0; list-style: none;
  font-size: 0.87rem; }
.legend svg { width: 0.7em; height: 0.7em; margin-right: 0.4em; }
.note { margin: 0.5rem 0 0; color: var(--soft); font-size: 0.87rem; }
#problems { margin-top: 1.25rem; padding: 0.9rem 1.1rem; border: 1px solid var(--bad); border-radius: 10px;
  background: var(--badge); }
#problems h2, #notes h2 { margin: 0 0 0.4rem; font-size: 1.1rem; }
#problems h2 { color: var(--bad); }
#problems ul, #notes ul { margin: 0; padding-left: 1.2rem; }
#notes { margin-top: 1.25rem; color: var(--soft); }
"""
)


def write(path: str, results: Results) -> None:
    """Write the page to a file, atomically. Raises ConfigError."""
    replaced_files.replace(path, [page(results).encode()])


def page(results: Results) -> str:
    """Return the page."""
    run = results.run
    version = "" if run.version is None else f" version {run.version}"
    problems = _list("problems", "Errors", as_text.problems(results.stages))
    every = [result.measured for result in results.stages]
    mostly_bad = sum(one.failed + one.wrong for one in every) > sum(one.answered - one.wrong for one in every)
    parts = [
        html_document.head(PROGRAM, f"Load test of {run.model}{version}", STYLE),
        f"{text(_state(results))}</p>\n{facts_list(_facts(run))}</header>\n<main>\n",
        _verdict(results),
        problems if mostly_bad else "",
        *_tables(results),
        f'<section class="charts" aria-label="Charts">\n{"".join(charts.of(results))}</section>\n',
        "" if mostly_bad else problems,
        _list("notes", "Notes", as_text.notes(results)),
        f"</main>\n<footer>Written by tfs-bench {text(__version__)}.</footer>\n</body>\n</html>\n",
    ]
    return "".join(parts)


def _state(results: Results) -> str:
    stages = wording.counted(len(results.stages), "stages")
    if results.comparison is not None:
        stages = f"{wording.counted(results.comparison.pairs, 'pairs')} of blocks after a warm-up"
    answered = sum(result.measured.answered for result in results.stages)
    failed = sum(result.measured.failed for result in results.stages)
    wrong = sum(result.measured.wrong for result in results.stages)
    counts = [wording.counted(answered, "answers"), wording.counted(failed, "errors")]
    if wrong:
        counts.append(wording.counted(wrong, "wrong answers"))
    end = " The run was interrupted." if results.interrupted else ""
    return f"{stages}: {', '.join(counts)}.{end}"


def _facts(run: Run) -> dict[str, str]:
    machine = json_report.machine()
    packages = machine["packages"]
    versions = packages.items() if isinstance(packages, Mapping) else ()
    facts = {
        "Target": f"{run.target} ({'gRPC' if run.transport == 'grpc' else 'REST'})",
        "Signature": run.signature,
        "Requests": run.requests,
        "Options": spelled(run.parameters),
        "Started": run.started.isoformat(" ", timespec="seconds"),
        "Machine": f"{machine['cpus']} CPUs, {machine['system']} {machine['architecture']}, Python {machine['python']}",
        "Packages": ", ".join(f"{name} {version}" for name, version in versions if version),
    }
    return {name: value for name, value in facts.items() if value}


def _verdict(results: Results) -> str:
    if results.comparison is not None:
        verdict, kind = results.comparison.verdict, " bad" if results.comparison.worse else ""
    elif results.knee is not None:
        verdict, kind = wording.knee(results.knee), ""
        verdict = verdict[:1].upper() + verdict[1:]
    else:
        return ""
    return f'<p class="verdict{kind}">{text(verdict)}</p>\n'


def _tables(results: Results) -> list[str]:
    if (found := results.comparison) is not None:
        rows = as_text.comparison_rows(found)
        meaning = f'<p class="note">{text(wording.columns(found))}</p>\n'
        return [_list("targets", "", wording.compared(found)), _table(rows) + meaning]
    if not results.stages:
        return []
    shown = results.stages[:MOST_ROWS]
    left = len(results.stages) - len(shown)
    more = f'<p class="note">The first {MOST_ROWS} stages; {left} more are in --json.</p>\n' if left else ""
    times = as_text.time_rows(shown)
    return [_table(as_text.stage_rows(shown)) + more, _table(times) if times else ""]


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls if the page is narrower; columns of words are at the left."""
    head, *body = rows
    words = [name in ("LABEL", "VERDICT") for name in head]

    def cells(row: Sequence[str], tag: str) -> str:
        kinds = (' class="words"' if word else "" for word in words)
        return "".join(f"<{tag}{kind}>{text(cell)}</{tag}>" for cell, kind in zip(row, kinds, strict=True))

    names = cells(head, "th")
    lines = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in body)
    table = f"<table>\n<thead><tr>{names}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"
    return f'<div class="scrolls" tabindex="0">{table}</div>\n'


def _list(name: str, heading: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    title = f"<h2>{text(heading)}</h2>\n" if heading else ""
    items = "\n".join(f"<li>{text(line, html_document.LONGEST_NAME)}</li>" for line in lines)
    return f'<section id="{name}">\n{title}<ul>\n{items}\n</ul>\n</section>\n'
