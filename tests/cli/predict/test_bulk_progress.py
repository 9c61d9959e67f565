"""Progress of a bulk run: lines, a bar, or nothing; never among the rows."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bulk_runs import PATIENCE, SCRIPT, add_look, draw, start

from tfs_client._flows.batching.progress.counts import INTERVAL, Counts, Lines, duration
from tfs_client.cli.predict.bulk.progress import summary
from tfs_client.testing import FakeServer

pty = pytest.importorskip("pty")


def test_progress_lines_are_printed_at_intervals() -> None:
    now, out = 100.0, io.StringIO()
    lines = Lines(out, lambda: now, "pictures")
    counts = Counts(total=1000, skipped=100)
    for counts.done in range(1, 161):
        now += INTERVAL / 80
        lines.update(counts)
    counts.failed, now = 80, now + INTERVAL
    lines.update(counts)
    assert out.getvalue().splitlines() == [
        "180 of 1000, 8.0 pictures/s, 1 min 42 s left",
        "260 of 1000, 8.0 pictures/s, 1 min 32 s left",
        "340 of 1000, 80 failed, 5.3 pictures/s, 1 min 22 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90061, "25 h 1 min")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_summary_counts_every_outcome() -> None:
    counts = Counts(total=10, skipped=2, done=4, failed=1)
    assert summary(counts, 2.0) == "10 pictures: 4 done, 1 failed, 2 skipped, 3 not reached; 2.0 s, 2.0 pictures/s"
    assert summary(Counts(total=1, failed=1), 2.0) == "1 picture: 0 done, 1 failed; 2.0 s"
    assert summary(Counts(0), 0.0) == "0 pictures: 0 done; 0.0 s"


@pytest.fixture
def arguments(fake_server: FakeServer, tmp_path: Path) -> list[str]:
    add_look(fake_server)
    draw(tmp_path / "in", 20)
    return ["--server", fake_server.target, "--model", "look", "--image", str(tmp_path / "in"), "missing.png"]


def on_terminal(script: str, arguments: list[str], **options: Any) -> str:
    """What the command says on a terminal that is its standard error."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=theirs, env=environment, **options) as ran:
        os.close(theirs)
        said = b""
        while piece := _read(ours):
            said += piece
        ran.wait(PATIENCE)
    os.close(ours)
    return said.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def test_a_terminal_shows_a_bar(arguments: list[str], tmp_path: Path) -> None:
    said = on_terminal(SCRIPT, [*arguments, "--output", str(tmp_path / "r.jsonl")])
    assert "21/21" in said
    assert "1 failed" in said
    assert "pictures/s" in said
    assert "21 pictures: 20 done, 1 failed; " in said.splitlines()[-1]


def test_without_rich_a_terminal_shows_the_summary(arguments: list[str], tmp_path: Path) -> None:
    script = "import sys; sys.modules.update({'rich': None, 'rich.progress': None}); " + SCRIPT
    said = on_terminal(script, [*arguments, "--output", str(tmp_path / "r.jsonl")])
    assert [line.partition(";")[0] for line in said.splitlines()] == [
        "pictures → same size, RGB, scale raw, uint8 nhwc",
        "21 pictures: 20 done, 1 failed",
    ]


def test_standard_output_holds_only_rows(arguments: list[str], tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    with rows.open("wb") as file:
        on_terminal(SCRIPT, arguments, stdout=file)
    assert [json.loads(line)["outputs"]["grey"]["values"] for line in rows.read_text().splitlines()] == list(range(20))


def test_a_file_gets_neither_bar_nor_colours(arguments: list[str]) -> None:
    with start(*arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert out.count("\n") == 20
    assert "\x1b" not in err
    assert err.count("\n") == 3  # what happens to pictures, the failure, the summary


def test_one_picture_imports_nothing_of_bulk(arguments: list[str], tmp_path: Path) -> None:
    picture = str(tmp_path / "in" / "00.png")
    script = (
        "import sys; import PIL.Image; by_pillow = set(sys.modules); "  # before version 10 it imports tempfile
        "from tfs_client.cli.predict.command import main; code = main(sys.argv[1:]); "
        "slow = ('rich', 'glob', 'tempfile', 'csv', 'zipfile'); "
        "slow += ('tfs_client.cli.predict.bulk', 'tfs_client._flows.batching.predict_many'); "
        "print(code, [m for m in slow if m in sys.modules and m not in by_pillow])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments[:5], picture], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "0 []"
