"""The snippets in the README and the docs run, and print the documented output."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tfs_client.cli.predict import arguments, command
from tfs_client.server import Server
from tfs_client.server.embedded import MODELS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def python_blocks(page: Path) -> list[str]:
    """The Python snippets of a page, and its set-up code, which is in HTML comments."""
    return re.findall(r"^(?:```|<!-- )python\n(.*?)^(?:```|-->)", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_snippets_of_a_page_run(page: Path) -> None:
    """They run from top to bottom in one namespace; the comment after a print is its expected output."""
    namespace: dict[str, object] = {}
    for block in python_blocks(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, page.name, "exec"), namespace)
        # A comment is "# output: explanation". Printed lines must start with these outputs, in this order.
        lines = iter(printed.getvalue().splitlines())
        for expected in re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE):
            said = re.split(r"[:;] ", expected)[0]
            assert any(line.startswith(said) for line in lines), said


def test_the_first_session_of_the_readme_runs_against_the_embedded_models() -> None:
    (session,) = re.findall(r"^```pycon\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    program = "\n".join(re.findall(r"^>>> (.*)$", session, re.MULTILINE))
    expected = re.sub(r"^>>> .*\n", "", session, flags=re.MULTILINE)
    printed = io.StringIO()
    with Server() as server, contextlib.redirect_stdout(printed):
        server.add_model("half_plus_two", MODELS["half_plus_two"]())
        namespace: dict[str, Any] = {}
        exec(program.replace("localhost:8500", server.target), namespace)
        namespace["client"].close()
    assert printed.getvalue() == expected


def test_the_snippet_with_a_fake_server_prints_what_the_readme_says() -> None:
    text = (ROOT / "README.md").read_text()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(python_blocks(ROOT / "README.md")[0], {})
    (answer,) = re.findall(r"It prints\n\n```\n(.*?)```", text, re.DOTALL)
    assert printed.getvalue() == answer


def commands(text: str) -> list[list[str]]:
    """The arguments of every call of tfs-predict in the code blocks of a page, or in ``--help``."""
    lines = re.findall(r"^ *(?:\$ |[^`|\n]*\| |(?:[A-Z_]+=\S+ )+)?tfs-predict (--.*)$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page.read_text())], ids=lambda page: page.name)
def test_commands_of_a_page_are_understood(page: Path) -> None:
    for line in commands(page.read_text()):
        arguments.parse(line)


def test_every_option_for_pictures_has_an_example() -> None:
    text = "\n".join([arguments.EXAMPLES, (ROOT / "docs" / "images.md").read_text()])
    used = {word.partition("=")[0] for line in commands(text) for word in line}
    groups = {group.title: group._group_actions for group in arguments.parser()._action_groups}
    for title in ("how a picture becomes an input", "what the outputs mean", "results"):
        for action in groups[title]:
            assert used & {*action.option_strings} or action.dest in ("formats", "max_pixels"), action.dest


def sessions() -> list[tuple[str, str, str]]:
    """The calls of tfs-predict whose output the pages show: page, command line, output."""
    found = []
    for page in PAGES:
        for line, output in re.findall(
            r"^```\n\$ tfs-predict ([^\n]*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            found.append((page.name, line, output))
    return found


@pytest.mark.parametrize(("page", "line", "output"), sessions(), ids=lambda value: value.partition("\n")[0][:60])
def test_sessions_print_what_the_page_shows(
    page: str,
    line: str,
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All but the times."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    assert command.main(shlex.split(line)) == 0
    times = re.compile(r"\d+\.\d\d ms")
    assert times.sub("ms", capsys.readouterr().out) == times.sub("ms", output)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    for file, name in re.findall(r"`(tests/\S+\.py)::(\w+)`", page.read_text()):
        assert f"\ndef {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_existing_files(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_the_makefile_has_the_documented_targets() -> None:
    for target in (
        "demo",
        "test",
        "check",
        "coverage",
        "docs",
        "bench",
        "chaos",
        "soak",
        "protos",
        "test-peers",
        "test-matrix",
    ):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_are_installed_from_a_clone(page: Path) -> None:
    """The package is not on an index."""
    assert not re.findall(r"pip install [^\n`]*tfs-client\[", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_placeholders(page: Path) -> None:
    assert not re.findall(r"^[A-Z]{3,}$|\bTODO\b|\bTBD\b", page.read_text(), re.MULTILINE)
