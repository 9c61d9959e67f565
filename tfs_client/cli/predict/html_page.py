"""The page of a report: its head, style sheet, and the names of files."""

from __future__ import annotations

from collections.abc import Mapping

from tfs_client.cli import html_document
from tfs_client.cli.html_document import LONGEST_NAME, facts_list, text

PROGRAM = "tfs-predict"
MARK = html_document.mark(PROGRAM)
"""The beginning of every report, by which a later run recognises it."""

STYLE = """
.toggle { display: none; width: fit-content; margin-top: 1rem; cursor: pointer; }
body:has(.over) .toggle { display: block; }
body:has(#plain:checked) .over { display: none; }
.toggle input { margin: 0 0.45rem 0 0; accent-color: var(--accent); vertical-align: -1px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22.25rem), 1fr)); gap: 1rem;
  margin-top: 1.25rem; align-items: start; }
article { padding: 1rem 1.1rem 1.1rem; border: 1px solid var(--line); border-radius: 10px; background: var(--card);
  content-visibility: auto; contain-intrinsic-size: auto 26rem; }
article h2 { margin: 0 0 0.7rem; font-size: 1rem; line-height: 1.3; }
.folder { color: var(--soft); font-weight: 400; }
.picture { position: relative; width: fit-content; max-width: 100%; margin: 0 auto; overflow: hidden;
  border-radius: 6px; line-height: 0; }
.picture img { max-width: 100%; height: auto; }
.picture img.over, .picture svg.over { position: absolute; inset: 0; width: 100%; height: 100%; }
.picture .tiny { image-rendering: pixelated; }
.picture rect { fill: none; stroke-width: 2; }
.picture rect.edge { stroke: #000; stroke-opacity: 0.55; stroke-width: 4; }
.picture text { font: 600 12px/1 system-ui, sans-serif; fill: #fff; stroke: #000; stroke-opacity: 0.75;
  stroke-width: 2.5px; stroke-linejoin: round; paint-order: stroke; }
.missing { padding: 2.5rem 1rem; border: 1px dashed var(--line); border-radius: 6px; color: var(--soft);
  text-align: center; }
.line, .kind { margin: 0.6rem 0 0; color: var(--soft); font-size: 0.87rem; }
.rows { margin: 0.5rem 0 0; padding: 0; list-style: none; }
.rows li { display: grid; grid-template-columns: minmax(0, 1fr) max-content; gap: 0.1rem 0.75rem;
  padding: 0.22rem 0; }
ol.rows:not([start]) li:first-child .name { font-weight: 600; }
.value { font-variant-numeric: tabular-nums; text-align: right; }
.bar { grid-column: 1 / -1; display: block; width: 100%; height: 6px; border-radius: 3px; background: var(--track);
  fill: var(--accent); }
.bar.minus { fill: var(--minus); }
.swatch { width: 0.8em; height: 0.8em; margin-right: 0.45em; border: 1px solid var(--soft); border-radius: 3px;
  vertical-align: -0.08em; }
.place { grid-column: 1 / -1; color: var(--soft); font-size: 0.82rem; font-variant-numeric: tabular-nums; }
details summary { margin-top: 0.3rem; color: var(--accent); cursor: pointer; }
code { font: 0.92em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
#failures { margin-top: 1.5rem; padding: 0.9rem 1.1rem; border: 1px solid var(--bad); border-radius: 10px;
  background: var(--badge); }
#failures h2 { margin: 0 0 0.4rem; color: var(--bad); font-size: 1.1rem; }
#failures ul { margin: 0; padding: 0; list-style: none; }
#failures li { padding: 0.35rem 0; border-top: 1px solid var(--line); }
#failures li:first-child { border-top: 0; }
#failures b { display: block; }
@media print {
  article { break-inside: avoid; content-visibility: visible; }
  .pictures { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
  body:has(.over) .toggle { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""


def head(title: str, facts: Mapping[str, str]) -> tuple[str, str]:
    """Return the beginning of a page as two parts; the state of the run goes between them."""
    after = (
        f"</p>\n{facts_list(facts)}"
        '<label class="toggle"><input type="checkbox" id="plain">Hide boxes and masks</label>\n'
        '</header>\n<main>\n<section class="pictures" aria-label="Pictures">\n'
    )
    return html_document.head(PROGRAM, title, STYLE), after


def name_html(name: str) -> str:
    """Return the name of a file as HTML, with its folder set apart."""
    folder, slash, rest = name.rpartition("/")
    apart = f'<span class="folder">{text(folder + slash, LONGEST_NAME)}</span>' if slash and rest else ""
    return f"<bdi>{apart}{text(rest or name, LONGEST_NAME)}</bdi>"
