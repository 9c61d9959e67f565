"""Files of bulk runs: what a run may remove, what it must leave alone, and which pictures it recognises."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulk_runs import PATIENCE, add_look, draw, expected, greys, start, with_files_of

from tfs_client.cli.predict import command
from tfs_client.cli.predict.bulk.outputs import files_of
from tfs_client.testing import FakeServer

KINDS = ["jsonl", "csv", "npz", pytest.param("parquet", marks=pytest.mark.peer)]


@pytest.fixture
def base(fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    add_look(fake_server)
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "in", 3)
    return ["--server", fake_server.target, "--model", "look"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# --- what is left alone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", ["--resume", "--overwrite"])
@pytest.mark.parametrize("kind", ["jsonl", "npz"])
def test_a_list_of_failures_is_never_another_file_of_the_run(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, wish: str
) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "link").symlink_to("v")
    output = f"v/a.{kind}"
    (tmp_path / "v" / "list").write_text("in/00.png\nin/01.png\n")
    (tmp_path / "v" / "labels").write_text("cat\ndog\n")
    np.save(tmp_path / "v" / "extra.npy", np.ones(1))
    base += ["--input-list", "v/list", "--output", output]
    read = ["v/list", "link/list"]
    if kind != "npz":  # which has no names
        base += ["--labels", "v/labels"]
        read.append("v/labels")
    assert command.main(base) == 0
    Path(f"{output}.failed.jsonl").write_text("")
    os.link(output, "v/hard")
    before = contents(tmp_path / "v")
    ours = [*files_of(output), f"{output}.run.json", f"{output}.run.json.new"]
    others = [f"./{output}", f"v/../v/a.{kind}", f"link/a.{kind}", str(tmp_path / output), "v/hard"]
    for failures in [*ours, *others, *read]:
        assert command.main([*base, wish, "--failures", failures]) == 2, failures
        assert contents(tmp_path / "v") == before, failures
    assert command.main([*base, wish, "--input", "x=@v/extra.npy", "--failures", "link/extra.npy"]) == 2
    assert "is both an input and an output of the run" in capsys.readouterr().err
    assert contents(tmp_path / "v") == before


@pytest.mark.parametrize("wish", ["--resume", "--overwrite"])
def test_only_a_real_list_of_failures_is_removed(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], wish: str
) -> None:
    base += ["--image", "in", "--output", "r.jsonl", wish, "--failures", "f"]
    failure = json.dumps({"image": "a", "error": "ImageError", "text": "b"}) + "\n"
    for content in ("dear diary", failure + "dear diary\n", '{"image": "a"}\n', "[1]\n"):
        (tmp_path / "f").write_text(content)
        assert command.main(base) == 2
        assert "'f' was not written by tfs-predict and is left unchanged" in capsys.readouterr().err
        assert (tmp_path / "f").read_text() == content
    (tmp_path / "f").write_text(failure + failure[:20])  # of a run that was killed
    assert command.main(base) == 0
    assert not (tmp_path / "f").exists()


def test_an_output_is_never_an_input_list(base: list[str], tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("in/00.png\n")
    assert command.main([*base, "--input-list", "list.csv", "--output", "./list.csv", "--overwrite"]) == 2
    assert (tmp_path / "list.csv").read_text() == "in/00.png\n"


@pytest.mark.parametrize(
    ("flag", "path", "message"),
    [
        ("--failures", "nodir/f", "--failures: cannot write 'nodir/f': the folder 'nodir' does not exist"),
        ("--failures", "in", "is not a regular file"),
        ("--failures", os.devnull, "is not a regular file"),
        ("--failures", "file/f", "the folder 'file' does not exist"),
        ("--output", "nodir/x.npz", "--output: cannot write 'nodir/x.npz': the folder 'nodir' does not exist"),
        ("--output", "folder.npz", "is not a regular file"),
    ],
)
def test_a_path_that_cannot_be_written_fails_before_any_request(
    base: list[str], fake_server: FakeServer, tmp_path: Path, capsys: Any, flag: str, path: str, message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.npz").mkdir()
    output = [] if flag == "--output" else ["--output", "r.jsonl"]
    assert command.main([*base, "--image", "in", *output, flag, path]) == 2
    assert message in capsys.readouterr().err
    assert not fake_server.calls
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.npz", "in"]


@pytest.mark.parametrize("kind", ["npz", pytest.param("parquet", marks=pytest.mark.peer)])
def test_a_disk_that_is_full_at_the_end_keeps_the_rows_and_nothing_else(
    base: list[str], tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("resource")
    output = tmp_path / f"r.{kind}"
    base += ["--image", "in", "--output", str(output)]

    with start(*base, first=with_files_of(1000)) as process:  # the rows fit, the file made of them does not
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "File too large" in err.splitlines()[-1]
    assert sorted(contents(tmp_path)) == [f"{output.name}.rows", f"{output.name}.run.json"]
    Path(f"{output}.new").write_bytes(b"left by a kill")
    assert command.main(base) == 2
    assert command.main([*base, "--resume"]) == 0
    assert len(greys(output)) == 3
    assert sorted(contents(tmp_path)) == [output.name, f"{output.name}.run.json"]


# --- which pictures it knows again -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_resumed_in_its_directory(
    base: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    output = tmp_path / f"r.{kind}"
    base += ["--output", str(output)]
    assert command.main([*base, "--image", "in"]) == 0
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "in", other / "in")
    monkeypatch.chdir(other)
    capsys.readouterr()
    assert command.main([*base, "--image", "in", "--resume"]) == 2
    assert f"relative to the directory {str(tmp_path)!r}" in (err := capsys.readouterr().err)
    assert f"the current directory is {str(other)!r}" in err
    assert command.main([*base, "--image", str(tmp_path / "in"), "--resume"]) == 0  # the same pictures
    assert "0 done, 3 skipped" in capsys.readouterr().err
    assert command.main([*base, "--image", str(other / "in"), "--resume"]) == 0
    assert "3 done" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert command.main([*base, "--image", "in", "other/in", "--resume"]) == 0
    assert "0 done, 6 skipped" in capsys.readouterr().err
    assert len(greys(output)) == 6


def test_absolute_names_are_resumed_anywhere(base: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base += ["--image", str(tmp_path / "in"), "--output", str(tmp_path / "r.csv")]
    assert command.main(base) == 0
    monkeypatch.chdir("/")
    assert command.main([*base, "--resume"]) == 0
    assert greys(tmp_path / "r.csv") == expected(str(tmp_path / "in" / f"0{n}.png") for n in range(3))


def test_a_picture_is_done_once_under_all_its_names(base: list[str], tmp_path: Path, capsys: Any) -> None:
    draw(tmp_path / "real" / "deep", 2)
    (tmp_path / "link").symlink_to("real/deep")
    draw(tmp_path / "real", 1)
    names = ["in/00.png", str(tmp_path / "in" / "00.png"), "in/../in/00.png", "real/00.png", "link/../00.png"]
    assert command.main([*base, "--image", *names]) == 0
    rows = [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]
    assert rows == ["in/00.png", "real/00.png"]  # the parent of what the link leads to, not of the link


def test_a_byte_order_mark_is_not_part_of_the_first_name(base: list[str], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfin/00.png\nin/01.png\n")
    assert command.main([*base, "--input-list", "list"]) == 0
    assert capsys.readouterr().out.count("\n") == 2


def test_a_folder_in_a_folder_that_cannot_be_read_is_a_failure(base: list[str], tmp_path: Path, capsys: Any) -> None:
    here = os.open(tmp_path / "in", os.O_RDONLY)
    for _ in range(20):  # until the path from the root is longer than the system takes
        os.mkdir("z" * 250, dir_fd=here)
        deeper = os.open("z" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    (tmp_path / "in" / "circle.png").symlink_to("circle.png")
    assert command.main([*base, "--image", "in", "--output", "r.jsonl"]) == 8
    assert len(greys(tmp_path / "r.jsonl")) == 3
    folder, circle = map(json.loads, (tmp_path / "r.jsonl.failed.jsonl").read_text().splitlines())
    assert folder["text"].startswith("cannot read the folder: ")
    assert circle["image"] == "in/circle.png"
    assert "5 pictures: 3 done, 2 failed" in capsys.readouterr().err
