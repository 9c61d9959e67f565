"""HTML documents of the commands: their head, the style that they share, and text that is safe in HTML."""

from __future__ import annotations

import html
from binascii import b2a_base64
from collections.abc import Mapping

from tfs_client import __version__
from tfs_client._printable import bounded

LONGEST_NAME = 1000  # bytes of a file name
LONGEST_LABEL = 400

STYLE = """
:root { color-scheme: light dark; --ground: #f4f5f7; --card: #fff; --text: #1b1f24; --soft: #59636e; --line: #d5dae0;
  --track: #e6e9ed; --accent: #1766c2; --minus: #8a5a00; --bad: #b3261e; --badge: #fdecea; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0f1216; --card: #191e24; --text: #e8ebee; --soft: #a2adb8; --line: #343c46; --track: #2b323b;
    --accent: #69aefc; --minus: #e0b060; --bad: #ff9a8f; --badge: #3a1d1b; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 96rem; padding: 1.5rem clamp(0.75rem, 3vw, 2.5rem) 3rem; background: var(--ground);
  color: var(--text); font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; letter-spacing: -0.01em; }
#state { margin: 0.25rem 0 1rem; color: var(--soft); }
#state a { color: var(--bad); font-weight: 600; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.3rem 1.25rem; margin: 0;
  padding: 0.9rem 1.1rem; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; }
footer { margin-top: 1.5rem; color: var(--soft); font-size: 0.87rem; }
@media (max-width: 30rem) {
  .facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .facts dd { margin-bottom: 0.45rem; }
}
@media print {
  :root { color-scheme: light; --ground: #fff; --card: #fff; --text: #000; --soft: #444; --line: #bbb; --track: #e2e2e2;
    --accent: #1766c2; --minus: #8a5a00; --bad: #b3261e; --badge: #fff; }
  body { padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def text(value: str, limit: int = LONGEST_LABEL) -> str:
    """Return a text as HTML: shortened, with control characters and markup escaped."""
    return html.escape(bounded(value, limit).replace("\n", "\\n").replace("\t", "\\t"))


def mark(program: str) -> str:
    """Return the beginning of every document of a command, by which a later run recognises it."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{text(program)}'
    )


def head(program: str, title: str, style: str = "") -> str:
    """Return the beginning of a document, up to the place for the state of its run.

    The policy forbids scripts, requests, and any style but that of the document, should a text ever escape its place.

    Args:
        program: the command that writes the document.
        title: its heading.
        style: what it adds to the shared style.
    """
    import hashlib  # slow to import

    css = STYLE + style
    digest = b2a_base64(hashlib.sha256(css.encode()).digest(), newline=False).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        f'{mark(program)} {text(__version__)}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>{css}</style>\n</head>\n<body>\n"
        f'<header>\n<h1><bdi>{text(title)}</bdi></h1>\n<p id="state">'
    )


def facts_list(facts: Mapping[str, str]) -> str:
    """Return names and values as a list."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value, LONGEST_NAME)}</dd>\n" for name, value in facts.items())
    return f'<dl class="facts">\n{rows}</dl>\n'
