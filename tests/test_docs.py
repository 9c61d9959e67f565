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
    """What a page shows as Python, and what it needs besides, which is in comments."""
    return re.findall(r"^(?:```|<!-- )python\n(.*?)^(?:```|-->)", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_the_snippets_of_a_page_run(page: Path) -> None:
    """Top to bottom in one namespace; a comment behind a print is what it prints."""
    namespace: dict[str, object] = {}
    for block in python_blocks(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, page.name, "exec"), namespace)
        # "# what it prints: and why"; the first line that is printed must begin so, and so on.
        lines = iter(printed.getvalue().splitlines())
        for expected in re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE):
            said = re.split(r"[:;] ", expected)[0]
            assert any(line.startswith(said) for line in lines), said


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
    for target in ("demo", "test", "check", "bench", "chaos", "soak", "protos", "test-peers", "test-matrix"):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_waits_for_a_figure(page: Path) -> None:
    assert not re.findall(r"^[A-Z]{3,}$|\bTODO\b|\bTBD\b", page.read_text(), re.MULTILINE)
