"""MkDocs hooks of `make docs`: pages from files at the root of the repository, and a check of the reference.

README.md is the site's first page. Links from a page to files that are not part of the site become plain text.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from public_surface import PUBLIC

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from the root."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Resolve links as the repository has them."""
    source = page.file.src_uri
    here = ROOT if source in PAGES.values() else ROOT / "docs" / Path(source).parent

    def resolved(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        path = (here / target).resolve()
        if not path.exists():
            return match[0]  # code that looks like a link, or a broken link, which MkDocs reports
        name = path.relative_to(ROOT).as_posix()
        inside = PAGES.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else None)
        if inside is None:
            return text if text.strip("`").endswith(path.name) else f"{text} (`{name}`)"
        up = "../" * source.count("/")
        return f"[{text}]({up}{inside}{anchor or ''})"

    return re.sub(r"(!\[[^\]]*\])\(docs/", r"\1(", LINK.sub(resolved, markdown))


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Docstrings announce code as reStructuredText does, with two colons; a reader of the site sees one or none."""
    return html.replace("<p>::</p>", "").replace(" ::</p>", "</p>").replace("::</p>", ":</p>")


def on_env(env: Any, config: Any, files: Files) -> None:
    """Fail when the reference leaves out a public name."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE))
    public = {f"{path}.{name}" for path in PUBLIC for name in import_module(path).__all__}
    missing = {name for name in public if name not in shown and name.rpartition(".")[0] not in shown}
    missing -= {"tfs_client.__version__", *PUBLIC}  # a module is shown by its names
    if missing:
        raise PluginError(f"docs/reference/ leaves out {', '.join(sorted(missing))}")
