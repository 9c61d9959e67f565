"""Damaged or planted files: a run refuses them, says what to do, and leaves them unchanged."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from bulk_runs import PATIENCE, add, add_look, draw, expected, greys, reader, start
from PIL import Image

from tfs_client import ConfigError
from tfs_client.cli.predict import command
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.outputs import open_output
from tfs_client.results import ModelVersion
from tfs_client.testing import FakeServer


@pytest.fixture
def base(fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    add_look(fake_server)
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "in", 2)
    return ["--server", fake_server.target, "--model", "look", "--image", "in", "--quiet"]


def written(path: Path, rows: int = 6, *, finish: bool = True) -> bytes:
    output = open_output(str(path), reader())
    for number in range(rows):
        scores = np.array([number / 9, 0.5], np.float32)
        outputs = {"scores": scores, "t": np.array(b'a "b", c', object)}
        add(output, Row(f"{number}.png", ModelVersion("m", 1, ""), outputs))
    if finish:
        output.finish()
    output.close()
    return Path(path if finish else f"{path}.rows").read_bytes()


def refused(path: Path, content: bytes, file: Path | None = None) -> None:
    file = file or path
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"or is damaged: .*is left unchanged: repair it.* replaces it"):
        open_output(str(path), reader())
    assert file.read_bytes() == content


# --- damaged -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0.1, 0.3, 0.6])
def test_an_archive_with_a_flipped_bit_is_refused(tmp_path: Path, at: float) -> None:
    content = bytearray(written(tmp_path / "t.npz"))
    content[content.find(b"scores.npy") + 140 + int(at * 10)] ^= 1
    refused(tmp_path / "t.npz", bytes(content))


def test_an_archive_that_grows_when_it_is_read_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", names=np.array(["a"]), versions=np.array([1]), y=np.zeros((1, 1 << 20)))
    refused(tmp_path / "t.npz", (tmp_path / "bomb.npz").read_bytes())


@pytest.mark.parametrize("byte", [2, 60])  # in the length of the first record; in its content
def test_a_damaged_journal_loses_no_later_rows(tmp_path: Path, byte: int) -> None:
    content = bytearray(written(tmp_path / "t.npz", finish=False))
    content[byte] ^= 64
    refused(tmp_path / "t.npz", bytes(content), tmp_path / "t.npz.rows")


def test_a_surplus_quote_loses_no_later_rows(tmp_path: Path) -> None:
    lines = written(tmp_path / "t.csv").splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"', b"'", 1)
    refused(tmp_path / "t.csv", b"".join(lines))


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"image": 5}', b'{"image": %s}' % (b"9" * 5000), b"{}", b"\xff"])
def test_lines_that_are_not_rows_are_refused(tmp_path: Path, line: bytes) -> None:
    content = written(tmp_path / "t.jsonl")
    refused(tmp_path / "t.jsonl", content + line + b"\n" + content)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"folder": 5}', b"\xff"])
def test_damaged_options_of_a_run_are_refused(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    assert command.main([*base, "--output", "o.jsonl"]) == 0
    (tmp_path / "o.jsonl.run.json").write_bytes(content)
    rows = (tmp_path / "o.jsonl").read_bytes()
    assert command.main([*base, "--output", "o.jsonl", "--resume"]) == 2
    assert "Remove it to continue" in capsys.readouterr().err
    assert (tmp_path / "o.jsonl").read_bytes() == rows


def test_names_in_an_output_may_be_any_text(base: list[str], tmp_path: Path) -> None:
    assert command.main([*base, "--output", "o.jsonl"]) == 0
    with (tmp_path / "o.jsonl").open("a") as file:
        file.writelines(json.dumps({"image": name}) + "\n" for name in ("\ud800", "\0/../a", ""))
    assert command.main([*base, "--output", "o.jsonl", "--resume"]) == 0


# --- planted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
@pytest.mark.parametrize("suffix", [".rows", ".new", ".run.json", ".run.json.new", ".failed.jsonl"])
def test_foreign_files_next_to_the_output_stay_unchanged(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, kind: str
) -> None:
    victim, planted = tmp_path / "victim", tmp_path / f"o.npz{suffix}"
    if kind == "pipe":
        os.mkfifo(planted)
    else:
        planted.symlink_to(victim)
    if kind == "link":
        victim.write_text("precious")
    Image.new("RGB", (2, 2)).save("in/bad.png")
    Path("in/bad.png").write_bytes(b"no picture")
    for wish in ([], ["--resume"], ["--overwrite"]):
        assert command.main([*base, "--output", "o.npz", *wish]) == 2, wish
        assert planted.name in capsys.readouterr().err
        assert victim.exists() == (kind == "link")
        assert planted.is_symlink() or planted.is_fifo()
    if kind == "link":
        assert victim.read_text() == "precious"


def test_an_output_that_is_a_symbolic_link_is_followed(base: list[str], tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "o.jsonl").symlink_to("disk/rows.jsonl")
    assert command.main([*base, "--output", "o.jsonl"]) == 0
    assert (tmp_path / "o.jsonl").is_symlink()
    assert greys(tmp_path / "disk" / "rows.jsonl") == expected(["in/00.png", "in/01.png"])


# --- bombs -------------------------------------------------------------------------------------------------------


def one_bit_png(side: int) -> bytes:
    """White, and a few kilobytes however large it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + b"\xff" * ((side + 7) // 8)) * side, 1)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_decompression_bombs_fail_alone(base: list[str], tmp_path: Path) -> None:
    """One has more pixels than are decoded, the other too many for the memory that there is."""
    pytest.importorskip("resource")
    for name, side in (("a", 13000), ("b", 10900)):
        (tmp_path / "in" / f"{name}.png").write_bytes(one_bit_png(side))
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000,) * 2); "
    for wish in ([], ["--resume"]):
        with start(*base, "--output", "o.jsonl", *wish, first=limit) as process:
            _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (8, "")
        assert greys(tmp_path / "o.jsonl") == expected(["in/00.png", "in/01.png"])
        failures = [json.loads(line) for line in Path("o.jsonl.failed.jsonl").read_text().splitlines()]
        assert [(Path(one["image"]).name, one["error"]) for one in failures] == [
            ("a.png", "ImageError"),
            ("b.png", "ImageError"),
        ]


def test_pictures_of_other_formats_are_failures_unless_allowed(base: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (7, 7, 7)).save(tmp_path / "in" / "03.png", "ICO")
    assert command.main([*base, "--output", "o.jsonl"]) == 8
    assert "is in the format ICO" in Path("o.jsonl.failed.jsonl").read_text()
    assert command.main([*base, "--output", "o.jsonl", "--resume", "--formats", "+ico"]) == 0
    assert len(greys(tmp_path / "o.jsonl")) == 3
    assert command.main([*base, "--output", "p.jsonl", "--formats", "jpeg"]) == 8
    assert command.main([*base, "--output", "q.jsonl", "--formats", "nonsense"]) == 2
