"""docs/differences.md names existing tests in every row, and its tables of flags match ``tfs-serve --help``."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tfs_client.cli.serve.flags import FLAGS, Flag, Use

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "differences.md"


def rows(section: str = "") -> list[list[str]]:
    """The cells of every row of a section, or of the page, without table headers."""
    text = PAGE.read_text().partition(f"\n## {section}")[2].partition("\n## " if section else "\0")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("what", "flag") and not row[0].startswith("---")]


@cache
def collected(file: Path) -> set[str]:
    """The functions of a file that pytest collects as tests."""
    functions = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def expected(flag: Flag) -> list[str]:
    """A flag's row, without the tests: its help text, and the remark of ``--help``."""
    texts = ["not a flag", flag.help] if flag.use is Use.OWN else [flag.help, flag.use.value]
    return [f"`--{flag.name}`", *texts]


def test_every_row_has_four_cells() -> None:
    assert [row for row in rows() if len(row) != 4 or not all(row)] == []


def test_no_row_appears_twice() -> None:
    names = [row[0] for row in rows()]
    assert sorted(names) == sorted(set(names))


def test_every_row_names_tests_that_exist() -> None:
    assert len(rows()) > 50
    for what, *_, shown_by in rows():
        assert re.fullmatch(r"`[^`]+`(, `[^`]+`)*", shown_by), f"{what}: expected tests, got {shown_by}"
        for test in re.findall(r"`([^`]+)`", shown_by):
            file, _, name = test.partition("::")
            assert (ROOT / file).is_file(), f"{what}: {file} does not exist"
            assert name.partition("[")[0] in collected(ROOT / file), f"{what}: {file} has no test {name}"


def test_tables_of_flags_match_help() -> None:
    flags = [flag for flag in FLAGS if flag.use is not Use.HONOURED]
    theirs = [expected(flag) for flag in flags if flag.use is not Use.OWN]
    ours = [expected(flag) for flag in flags if flag.use is Use.OWN]
    assert [row[:3] for row in rows("Flags")] == theirs + ours
