"""The files of the sample services: workflows, sleeps, and the settings that pages name. Peers run their tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from deployment_files import EXAMPLES

ROOT = EXAMPLES.parent
SERVICES = sorted(path.parent for path in EXAMPLES.glob("*/pyproject.toml"))
ACTION = re.compile(r"uses: (\S+)@([0-9a-f]{40} # v\S+)$", re.MULTILINE)


def names(folder: Path) -> str:
    """The name of a service, as the id of a test."""
    return folder.name


def place(file: Path) -> str:
    """Where a file is in the repository, as the id of a test."""
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", [*EXAMPLES.glob("*/.github/workflows/*.yml"), ROOT / "docs" / "ci.md"], ids=place)
def test_workflows_pin_the_same_actions_as_those_of_this_project(file):
    ours = {pin for path in ROOT.glob(".github/workflows/*.yml") for pin in ACTION.findall(path.read_text())}
    used = ACTION.findall(file.read_text())
    assert used
    assert len(used) == file.read_text().count("uses:")
    assert {*used} <= ours


@pytest.mark.parametrize("service", SERVICES, ids=names)
def test_no_test_sleeps_for_more_than_a_tenth_of_a_second(service):
    files = [*service.glob("tests/*.py")]
    calls = [node for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    pauses = [call.args[0] for call in calls if ast.unparse(call.func).endswith("sleep")]
    assert len(files) > 3
    assert [ast.unparse(pause) for pause in pauses if float(ast.literal_eval(pause)) > 0.1] == []


@pytest.mark.parametrize("service", SERVICES, ids=names)
def test_every_setting_that_a_page_names_exists(service):
    (settings,) = service.glob("*/settings.py")
    fields = set(re.findall(r"^    (\w+): \w+ = ", settings.read_text(), re.MULTILINE))
    named = set(re.findall(r"\bDIGITS_([A-Z_]+)\b", "".join(file.read_text() for file in service.glob("*.[mp][dy]"))))
    assert named
    assert {name.lower() for name in named} <= fields


def test_code_that_the_page_about_services_shows_is_in_them():
    page = (ROOT / "docs" / "services.md").read_text()
    shown = re.findall(r"^```py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    code = [file.read_text() for service in SERVICES for file in service.rglob("*.py")]
    assert len(shown) > 10
    assert [block for block in shown if not any(block in text for text in code)] == []
