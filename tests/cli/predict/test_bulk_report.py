"""Reports of runs with several pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulk_runs import add_look, draw
from html_pages import parsed

from tfs_client.cli.predict import command
from tfs_client.cli.predict.arguments import parse
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.report_rows import ReportRows
from tfs_client.errors import ImageError
from tfs_client.images import Class, Classification
from tfs_client.results import ModelVersion
from tfs_client.testing import FakeServer

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Run:
    """Run the command on the folder "in", which has two pictures and a broken one. Returns exit code and stderr."""
    add_look(fake_server)
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "in", 2)
    (tmp_path / "in" / "broken.png").write_bytes(b"broken")

    def run(*arguments: str) -> tuple[int, str]:
        base = ["--server", fake_server.target, "--model", "look", "--image", "in", "--html", "report.html"]
        return command.main([*base, *arguments]), capsys.readouterr().err

    return run


@pytest.mark.parametrize("output", ["rows.jsonl", "rows.npz"])
def test_a_report_has_all_pictures_and_failures(run: Run, output: str) -> None:
    code, err = run("--output", output, "--output-name", "scores")

    page = parsed("report.html")
    assert code == 8
    assert "report in report.html" in err
    assert page.state == "2 pictures; 1 failed."
    assert page.open == []
    assert page.texts["h1"] == ["look"]
    assert page.texts["h2"] == ["in/", "00.png", "in/", "01.png", "Failures (1)"]
    assert page.texts["name"][:2] == ["class 1", "class 0"]
    assert page.texts["line"] == ["6x5 pixels"] * 2
    assert page.texts["b"] == ["in/", "broken.png"]
    assert "Answered by look version 1" in page.texts["footer"][0]
    assert any(found.startswith("pictures → same size") for found in page.texts["dd"])


def test_a_resumed_run_reports_its_own_pictures_and_counts_the_others(run: Run, tmp_path: Path) -> None:
    run("--output", "rows.jsonl")
    (tmp_path / "in" / "broken.png").unlink()
    draw(tmp_path / "in", 3)

    run("--output", "rows.jsonl", "--resume")

    page = parsed("report.html")
    assert page.state == "1 picture; 2 pictures of earlier runs not shown."
    assert page.texts["h2"] == ["in/", "02.png"]
    before = (tmp_path / "report.html").read_bytes()
    code, err = run("--output", "rows.jsonl", "--resume")
    assert (code, "no new report, as all pictures have rows of earlier runs" in err) == (0, True)
    assert (tmp_path / "report.html").read_bytes() == before


def test_a_run_that_gives_up_has_a_report_that_says_so(run: Run) -> None:
    code, err = run("--max-failures", "0")

    page = parsed("report.html")
    assert code == 8
    assert "more than --max-failures 0 pictures failed" in err
    assert page.state.startswith("The run ended early. ")
    assert page.texts["b"] == ["in/", "broken.png"]
    assert page.open == []


def test_another_file_is_not_replaced_and_nothing_is_predicted(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "report.html"
    mine.write_text("mine")

    code, err = run("--output", "rows.jsonl")

    assert code == 2
    assert "--html: 'report.html' was not written by tfs-predict and is left unchanged" in err
    assert mine.read_text() == "mine"
    assert not (tmp_path / "rows.jsonl").exists()
    assert run("--overwrite")[0] == 8
    assert parsed(mine).state == "2 pictures; 1 failed."


def test_the_report_and_another_file_of_the_run_are_different(run: Run) -> None:
    assert "--failures and --html: expected different files" in run("--failures", "report.html")[1]
    assert "--draw and --html: expected different files" in run("--draw", "report.html")[1]


def test_a_picture_that_cannot_be_loaded_again_has_its_answer(tmp_path: Path) -> None:
    def opened(name: str) -> Any:
        raise ImageError(f"cannot read {name!r}: it is gone")

    path = str(tmp_path / "report.html")
    options = parse(["--image", "a.png"])
    rows = ReportRows(path, options, model="look", preparation="pictures", before=0, opened=opened)
    row = Row("a.png", ModelVersion("look", 1, ""), {"scores": np.ones(2, np.float32)})
    rows.add("a.png", row, Classification([Class("cat", 0.9)], True, "scores"))
    rows.finish({"look version 1"})
    rows.close()

    page = parsed(path)
    assert page.texts["missing"] == ["no thumbnail: cannot read 'a.png': it is gone"]
    assert page.texts["name"] == ["cat"]
    assert page.state == "1 picture."
