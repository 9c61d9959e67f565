"""What README and docs show runs, and prints what they say."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_the_snippets_of_a_page_run(page: Path) -> None:
    """Top to bottom in one namespace; a comment behind a print is what it prints."""
    namespace: dict[str, object] = {}
    for block in python_blocks(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, page.name, "exec"), namespace)
        for expected in re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE):
            assert re.split(r"[:;] ", expected)[0] in printed.getvalue()


def test_the_first_snippet_prints_what_the_readme_says() -> None:
    text = (ROOT / "README.md").read_text()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(python_blocks(ROOT / "README.md")[0], {})
    (answer,) = re.findall(r"It prints\n\n```\n(.*?)```", text, re.DOTALL)
    assert printed.getvalue() == answer


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_the_makefile_has_the_targets_that_are_promised() -> None:
    for target in ("demo", "test", "check", "bench", "protos", "test-peers", "test-matrix"):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
