"""Outputs of bulk runs alone: how rows are written, and what is kept of truncated files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulk_runs import add, reader

from tfs_client import ConfigError, EncodeError
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.outputs import Output, files_of, open_output
from tfs_client.results import ModelVersion

MODEL = ModelVersion("m", 3, "serving_default")


def row(name: str, outputs: Mapping[str, Any]) -> Row:
    return Row(name, MODEL, {alias: np.asarray(value) for alias, value in outputs.items()})


def strings(*values: bytes) -> np.ndarray:
    return np.array(values, object)


def opened(path: Path) -> Output:
    return open_output(str(path), reader())


def write(path: Path, *rows: Row) -> None:
    output = opened(path)
    add(output, *rows)
    output.finish()
    output.close()


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


# --- csv ---------------------------------------------------------------------------------------------------------


def test_csv_has_labels_and_outputs_that_fit_in_a_cell(tmp_path: Path) -> None:
    scores = np.array([0.25, 0.5, 0.125], np.float32)
    outputs = {"scores": scores, "digit": np.int64(7), "name": np.array(b'a, "b"\n', object), "label_1": np.bool_(True)}
    write(tmp_path / "t.csv", row("p.png", outputs))
    columns = ["label_1", "score_1", "label_2", "score_2", "label_3", "score_3"]
    best = ["class 1", "0.5", "class 0", "0.25", "class 2", "0.125"]
    assert table(tmp_path / "t.csv") == [
        ["image", "model", "version", *columns, *list(outputs)[:3], "output.label_1"],
        ["p.png", "m", "3", *best, "[0.25, 0.5, 0.125]", "7", 'a, "b"\n', "True"],
    ]


def test_csv_leaves_large_outputs_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "t.csv", row("p.png", {"scores": np.zeros(1000, np.float32)}))
    columns = [f"{what}_{number}" for number in range(1, 6) for what in ("label", "score")]
    assert table(tmp_path / "t.csv")[0] == ["image", "model", "version", *columns]
    assert capsys.readouterr().err == ""
    write(tmp_path / "u.csv", row("p.png", {"map": np.zeros((9, 9), np.int64), "share": 0.5}))
    assert table(tmp_path / "u.csv") == [["image", "model", "version", "share"], ["p.png", "m", "3", "0.5"]]
    assert "the table omits map (9, 9): a cell holds 64 values" in capsys.readouterr().err


def test_csv_without_any_output_left_suggests_another_format(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"returns map \(9, 9\) for a picture; use \.npz, \.parquet or \.jsonl"):
        write(tmp_path / "t.csv", row("p.png", {"map": np.zeros((9, 9), np.int64)}))


def test_a_row_too_large_for_its_cell_is_refused(tmp_path: Path) -> None:
    output = opened(tmp_path / "t.csv")
    add(output, row("a", {"ids": np.arange(3)}))
    with pytest.raises(EncodeError, match="output 'ids' has 65 values, and a cell holds 64"):
        add(output, row("b", {"ids": np.arange(65)}))
    add(output, row("c", {"ids": np.arange(0)}))
    output.close()
    assert [cells[3:] for cells in table(tmp_path / "t.csv")[1:]] == [["[0, 1, 2]"], ["[]"]]


def test_a_resumed_table_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write(path, row("a", {"x": 1, "y": 2}))
    write(path, row("b", {"y": 4, "x": 3}))
    assert table(path) == [
        ["image", "model", "version", "x", "y"],
        ["a", "m", "3", "1", "2"],
        ["b", "m", "3", "3", "4"],
    ]


def test_csv_quotes_every_kind_of_line_end(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for name in ("a\rb.png", "a\r\nb.png", "a\nb.png"):
        write(path, row(name, {"y": np.array(b"x\ry", object)}))
    assert [[cells[0], cells[3]] for cells in table(path)[1:]] == [
        [name, "x\ry"] for name in ("a\rb.png", "a\r\nb.png", "a\nb.png")
    ]


def test_csv_takes_strings_that_fit_in_a_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    output = opened(path)
    add(
        output,
        row("a", {"s": strings(b"x"), "t": np.array(b"x" * 32767, object), "u": np.array(b"x" * 200000, object)}),
    )
    assert "omits u (): a cell holds 64 values or 32767 characters" in capsys.readouterr().err
    for outputs, size in (({"t": np.array(b"x" * 200000, object)}, 200000), ({"s": strings(b"y" * 40000)}, 40004)):
        with pytest.raises(EncodeError, match=f"has {size} characters, and a cell holds 32767; use .jsonl"):
            add(output, row("b", outputs))
    output.close()
    write(path, row("c", {"s": strings(), "t": np.array(b"", object)}))
    assert [cells[0] for cells in table(path)] == ["image", "a", "c"]


@pytest.mark.parametrize("line", [b"a\rb,m,3,1\n", b'"a"b,m,3,1\n', b"a,m\n", b"\n"])
def test_a_foreign_table_is_left_alone(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content := b"image,model,version,y\n" + line)
    with pytest.raises(ConfigError, match="is not a table of tfs-predict"):
        opened(path)
    assert path.read_bytes() == content


def test_a_table_with_longer_cells_than_ours_can_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,model,version,y\na,m,3," + "x" * 200000 + "\n")
    write(path, row("b", {"y": 1}))
    assert path.read_text().endswith("x\nb,m,3,1\n")


# --- npz ---------------------------------------------------------------------------------------------------------


def test_npz_stacks_outputs(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    maps = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    rows = [
        row(
            name,
            {"map": maps[n], "text": strings(b"a", b"\xff" * 9), "names": np.float64(n), "one": np.array(b"x", object)},
        )
        for n, name in enumerate(["é.png", "b.png"])
    ]
    write(path, *rows)
    with np.load(path) as archive:
        assert archive["names"].tolist() == ["é.png", "b.png"]
        assert archive["versions"].tolist() == [3, 3]
        assert archive["map"].dtype == np.int16
        np.testing.assert_array_equal(archive["map"], maps)
        assert archive["text"].tolist() == [[b"a", b"\xff" * 9]] * 2
        assert archive["output.names"].tolist() == [0.0, 1.0]
        assert archive["one"].tolist() == [b"x", b"x"]


def test_npz_stores_rows_of_several_shapes_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    write(path, row("a", {"map": np.full((2, 3), 1)}))
    write(path, row("b", {"map": np.full((1, 2), 2)}), row("c", {"map": np.full((0, 5), 3)}))
    write(path, row("d", {"map": np.full((1, 1), 4)}))
    with np.load(path) as archive:
        assert archive["names"].tolist() == list("abcd")
        assert archive["map.shapes"].tolist() == [[2, 3], [1, 2], [0, 5], [1, 1]]
        assert archive["map.values"].tolist() == [1] * 6 + [2] * 2 + [4]


def test_npz_accepts_further_rows_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    outputs = {
        "s": strings(b"long", b""),
        "c": np.complex64(1 + 2j),
        "e": np.zeros((0,), np.float32),
        "b": np.bool_(True),
    }
    write(path, row("a", outputs))
    write(path, row("b", {**outputs, "s": strings(b"much longer", b"y")}))
    with np.load(path) as archive:
        assert archive["s"].tolist() == [[b"long", b""], [b"much longer", b"y"]]
        assert archive["c"].tolist() == [1 + 2j] * 2
        assert archive["e"].shape == (2, 0)
        assert archive["b"].tolist() == [True, True]


def test_npz_needs_outputs_of_one_kind(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    write(path, row("a", {"y": np.float32(1)}))
    output = opened(path)
    for outputs in ({"y": np.float64(1)}, {"y": np.zeros(2, np.float32)}, {"z": np.float32(1)}):
        with pytest.raises(EncodeError, match="expected outputs as in the rows before, y: float32 of 0 axes, got"):
            add(output, row("b", outputs))
    output.close()


def test_npz_without_rows_is_a_valid_archive(tmp_path: Path) -> None:
    write(tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as archive:
        assert archive["names"].shape == (0,)


def test_dtypes_missing_in_numpy_become_float32(tmp_path: Path) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    for path in (tmp_path / "t.npz", tmp_path / "t.npz"):  # and again, beside those
        write(path, row(f"{path.exists()}", {"y": np.array([1.5], bfloat16)}))
    with np.load(tmp_path / "t.npz") as archive:
        assert archive["y"].dtype == np.float32
        assert archive["y"].tolist() == [[1.5], [1.5]]


def test_an_interrupted_assembly_duplicates_no_row(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    output = opened(path)
    add(output, row("a", {"y": 1}))
    output.close()
    journal = growing(path)
    kept = journal.read_bytes()
    write(path)
    journal.write_bytes(kept)
    write(path, row("b", {"y": 2}))
    with np.load(path) as archive:
        assert (archive["names"].tolist(), archive["y"].tolist()) == (["a", "b"], [1, 2])
    assert not journal.exists()


@pytest.mark.parametrize("value", [b"x\0", b"\0"])
def test_npz_refuses_strings_that_it_would_cut(tmp_path: Path, value: bytes) -> None:
    output = opened(tmp_path / "t.npz")
    with pytest.raises(EncodeError, match="output 's' has a string that ends in a zero byte"):
        add(output, row("a", {"s": strings(b"a", value)}))
    add(output, row("b", {"s": strings(b"\0a", b"")}))
    output.finish()
    with np.load(tmp_path / "t.npz") as archive:
        assert archive["s"].tolist() == [[b"\0a", b""]]


# --- parquet -----------------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_parquet_has_lists_as_deep_as_the_outputs_axes(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write(
        path, row("a", {"map": np.array([[1, 2], [3, 4]]), "labels": strings(b"x", b"\xff"), "half": np.float16(0.5)})
    )
    write(path, row("b", {"map": np.zeros((0, 2), int), "labels": strings(), "half": np.float16(2)}))
    read = import_module("pyarrow.parquet").read_table(path)
    assert read.column_names == ["image", "model", "version", "labels", "scores", "map", "output.labels", "half"]
    every = {"model": "m", "version": 3, "labels": [], "scores": []}
    assert read.to_pylist() == [
        {**every, "image": "a", "map": [[1, 2], [3, 4]], "output.labels": ["x", "\\xff"], "half": 0.5},
        {**every, "image": "b", "map": [], "output.labels": [], "half": 2.0},
    ]


@pytest.mark.peer
def test_parquet_refuses_unsupported_outputs(tmp_path: Path) -> None:
    output = opened(tmp_path / "t.parquet")
    with pytest.raises(EncodeError, match="complex"):
        add(output, row("a", {"y": np.complex64(1)}))
    with pytest.raises(EncodeError, match="not UTF-8"):
        add(output, row("\udcff", {"y": 1}))
    output.close()


# --- files that were cut off -------------------------------------------------------------------------------------

NAMES = ['with "quotes",\nand lines.png', "b.png", "c.png"]


def growing(path: Path) -> Path:
    """The file that rows are added to."""
    return Path(files_of(str(path))[-1])


@pytest.mark.parametrize("kind", ["jsonl", "csv", "npz", pytest.param("parquet", marks=pytest.mark.peer)])
def test_a_file_cut_off_anywhere_keeps_its_whole_rows_and_the_rest_is_rewritten(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"t.{kind}"
    rows = [row(name, {"y": strings(f'"{n}",\n'.encode()), "x": np.arange(3) * n}) for n, name in enumerate(NAMES)]
    ends = []
    output = opened(path)
    for one in rows:
        add(output, one)
        ends.append(growing(path).stat().st_size)
    output.close()
    whole = growing(path).read_bytes()
    for cut in range(len(whole) + 1):
        growing(path).write_bytes(whole[:cut])
        output = opened(path)
        kept = [name for name, end in zip(NAMES, ends, strict=True) if end <= cut]
        assert output.held == set(kept), cut
        for one in rows[len(kept) :]:
            add(output, one)
        output.close()
        assert growing(path).read_bytes() == whole, cut


@pytest.mark.parametrize("tail", [b"\0" * 100, b"\xff" * 100])
def test_a_journal_with_a_garbage_tail_keeps_its_valid_rows(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "t.npz"
    output = opened(path)
    add(output, row("a", {"y": 1}))
    output.close()
    with growing(path).open("ab") as file:
        file.write(tail)
    write(path, row("b", {"y": 2}))
    with np.load(path) as archive:
        assert archive["names"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.jsonl", b'{"image": "a"}\nnot a row\n{"image": "b"}\n'),
        ("t.jsonl", b"[1]\n"),
        ("t.jsonl", b"dear diary"),
        ("t.csv", b"name,age\nA,3\n"),
        ("t.csv", b"dear diary"),
        ("t.npz", b"no archive"),
    ],
)
def test_foreign_files_are_left_alone(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="tfs-predict"):
        opened(tmp_path / name)
    assert (tmp_path / name).read_bytes() == content


def test_foreign_archives_are_left_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", y=[1])
    with pytest.raises(ConfigError, match="is not an archive of tfs-predict"):
        opened(tmp_path / "t.npz")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "npz"])
def test_two_runs_do_not_write_the_same_file(tmp_path: Path, kind: str) -> None:
    first = opened(tmp_path / f"t.{kind}")
    with pytest.raises(ConfigError, match="another run is writing it"):
        opened(tmp_path / f"t.{kind}")
    first.close()
    opened(tmp_path / f"t.{kind}").close()


def test_json_lines_keep_every_value_that_json_can_express(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", row("a", {"y": [float("nan"), 1.5], "b": strings(b"\xff")}))
    outputs = json.loads((tmp_path / "t.jsonl").read_text())["outputs"]
    assert outputs["y"]["values"] == [None, 1.5]
    assert outputs["b"]["values"] == [{"b64": "/w=="}]
