"""What bulk runs say about pictures: labels that fit the model, a row for each detection, drawings, and records."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulk_runs import add_look, draw, reader
from PIL import Image

from tfs_client import TensorSpec
from tfs_client.cli.predict import command
from tfs_client.cli.predict.bulk.drawings import file_name
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.outputs import open_output
from tfs_client.cli.predict.bulk.row_answers import RowAnswers
from tfs_client.results import ModelVersion
from tfs_client.testing import FakeServer

MOST = 3  # boxes that the model returns
INPUTS = {"image": TensorSpec("uint8", (None, 8, 8, 3))}
OUTPUTS = {
    "detection_boxes": TensorSpec("float32", (None, MOST, 4)),
    "detection_scores": TensorSpec("float32", (None, MOST)),
    "detection_classes": TensorSpec("float32", (None, MOST)),
    "num_detections": TensorSpec("float32", (None,)),
}
TABLES = ["jsonl", "csv", pytest.param("parquet", marks=pytest.mark.peer)]


def detect(image: np.ndarray) -> dict[str, np.ndarray]:
    """As many boxes as the grey of a picture says, each in another quarter of the picture's height."""
    count = np.minimum(image[:, 0, 0, 0].astype(int), MOST)
    boxes = np.float32([[0.25 * n, 0.5, 0.25 * (n + 1), 1.0] for n in range(MOST)])
    scores = np.where(np.arange(MOST) < count[:, None], 1 - 0.25 * np.arange(MOST), 0)
    return {
        "detection_boxes": np.broadcast_to(boxes, (len(image), MOST, 4)).copy(),
        "detection_scores": scores.astype(np.float32),
        "detection_classes": np.broadcast_to(np.float32([1, 2, 3]), (len(image), MOST)).copy(),
        "num_detections": np.full(len(image), MOST, np.float32),
    }


def add_models(server: FakeServer) -> None:
    add_look(server)
    server.add_model(
        "detect",
        detect,
        inputs=INPUTS,
        outputs=OUTPUTS,
    )
    server.add_model(
        "floats",
        lambda image: {"p": np.full((len(image), 4), 0.25, np.float32), "v": np.ones((len(image), 8), np.float32)},
        inputs={"image": TensorSpec("float32", (None, 4, 4, 3))},
        outputs={"p": TensorSpec("float32", (None, 4)), "v": TensorSpec("float32", (None, 8))},
    )


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run = Callable[..., Ran]


@pytest.fixture
def run(fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Run:
    """Run the command on the folder "in", which has pictures of 6 x 5 pixels with the greys 0, 1, 2 and 3."""
    add_models(fake_server)
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "in", 4)

    def run(*arguments: object, model: str = "detect", images: tuple[str, ...] = ("in",)) -> Ran:
        base = ["--server", fake_server.target, "--model", model, "--image", *images]
        return Ran(command.main([*base, *map(str, arguments)]), *capsys.readouterr())

    return run


def sent(server: FakeServer) -> int:
    return sum(len(call.inputs["image"]) for call in server.calls if call.method == "Predict")


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a table of detections, with numbers as numbers and nothing as None."""
    if path.suffix == ".jsonl":
        found = [json.loads(line) for line in path.read_text().splitlines()]
        for row in found:
            row |= dict(zip(("left", "top", "right", "bottom"), row.pop("box") or [None] * 4, strict=True))
        return found
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = import_module("pyarrow.parquet").read_table(path).to_pylist()
        return rows
    with path.open(newline="") as file:
        names = ("label", "image", "model")
        return [
            {key: value if key in names else float(value) if value else None for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


# --- a row for each detection ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TABLES)
def test_every_detection_is_a_row(run: Run, fake_server: FakeServer, tmp_path: Path, kind: str) -> None:
    output = tmp_path / f"r.{kind}"
    ran = run("--output", output)
    assert (ran.code, ran.out) == (0, "")
    rows = rows_of(output)
    assert [(row["image"], row["number"], row["count"]) for row in rows] == [
        ("in/00.png", 0, 0),
        ("in/01.png", 1, 1),
        *(("in/02.png", number, 2) for number in (1, 2)),
        *(("in/03.png", number, 3) for number in (1, 2, 3)),
    ]
    edges = ("left", "top", "right", "bottom")
    assert [row["score"] for row in rows] == [None, 1.0, 1.0, 0.75, 1.0, 0.75, 0.5]
    assert [row["class"] for row in rows] == [None, 1, 1, 2, 1, 2, 3]
    assert [rows[0][edge] for edge in edges] == [None] * 4
    assert [rows[6][edge] for edge in edges] == [3, 2.5, 6, 3.75]  # in pixels of the picture, not of the tensor
    assert "4 pictures: 4 done" in ran.err
    fake_server.clear_calls()
    assert "0 done, 4 skipped" in run("--output", output, "--resume").err
    assert sent(fake_server) == 0


def test_names_whose_start_was_assumed_are_warned_of_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    ran = run("--output", "a.jsonl", "--labels", "names.txt", "--batch-size", 1)
    assert ran.err.count("warning: the names in 'names.txt' were assumed to start with that of class 1, 'one'") == 1
    assert "--labels-offset -1 confirms it" in ran.err
    assert "assumed" not in run("--output", "b.jsonl", "--labels", "names.txt", "--quiet").err
    assert "assumed" not in run("--output", "c.jsonl", "--labels", "names.txt", "--labels-offset", -1).err
    labels = [[row["label"] for row in rows_of(tmp_path / f"{name}.jsonl")] for name in "abc"]
    assert labels[0] == labels[1] == labels[2] == [None, "one", "one", "two", "one", "two", "three"]
    ran = run("--output", "c.jsonl", "--labels", "names.txt", "--labels-offset", 0, "--resume")
    assert (ran.code, "--labels-offset was -1 and is now 0" in ran.err) == (2, True)


def test_npz_keeps_the_outputs_of_a_detector(run: Run, tmp_path: Path) -> None:
    assert run("--output", tmp_path / "r.npz").code == 0
    with np.load(tmp_path / "r.npz") as archive:
        assert archive["detection_boxes"].shape == (4, MOST, 4)


@pytest.mark.parametrize("kind", ["jsonl", "csv", pytest.param("parquet", marks=pytest.mark.peer)])
def test_rows_of_a_picture_are_kept_together(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"t.{kind}"
    growing = path if kind != "parquet" else Path(f"{path}.rows")
    outputs = detect(np.full((1, 1, 1, 1), 2))
    rows = [
        Row(name, ModelVersion("m", 3, ""), {alias: np.asarray(array[0]) for alias, array in outputs.items()}, (6, 5))
        for name in ('with "quotes",\nand lines.png', "b.png", "c.png")
    ]

    def opened() -> tuple[Any, RowAnswers]:
        answers = reader()
        return open_output(str(path), answers), answers

    output, answers = opened()
    ends = []
    for row in rows:
        output.add(row, answers.of(row))
        ends.append(growing.stat().st_size)
    output.close()
    whole = growing.read_bytes()
    for cut in range(ends[0] - 20, len(whole), 3):
        growing.write_bytes(whole[:cut])
        output, answers = opened()
        kept = [row.image for row, end in zip(rows, ends, strict=True) if end <= cut]
        assert output.held == set(kept), cut
        for row in rows[len(kept) :]:
            output.add(row, answers.of(row))
        output.close()
        assert growing.read_bytes() == whole, cut


def test_a_row_that_is_missing_in_the_middle_is_damage(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    assert run("--output", output).code == 0
    lines = output.read_text().splitlines(keepends=True)
    output.write_text("".join(lines[:2] + lines[3:]))
    ran = run("--output", output, "--resume")
    assert ran.code == 2
    assert "line 3 is not a row of tfs-predict: expected row 1 of 2 for 'in/02.png', got 2 of 2" in ran.err


@pytest.mark.parametrize(("kind", "asked"), [("jsonl", False), ("csv", False), ("csv", True)])
def test_outputs_that_cannot_be_read_concern_their_picture_alone(
    run: Run, fake_server: FakeServer, tmp_path: Path, kind: str, asked: bool
) -> None:
    def some_nan(image: np.ndarray) -> np.ndarray:
        scores = np.repeat(np.float32([[0.5, 0.25, 0.25]]), len(image), 0)
        scores[image[:, 0, 0, 0] % 3 == 0] = np.nan  # the first and the last
        return scores

    fake_server.add_model(
        "nan",
        some_nan,
        inputs={"image": TensorSpec("uint8", (None, 4, 4, 3))},
        outputs={"p": TensorSpec("float32", (None, 3))},
    )
    output = tmp_path / f"r.{kind}"
    assert run("--output", output, *(["--top", "1"] if asked else []), model="nan").code == 8
    if kind == "csv":
        with output.open(newline="") as file:
            best = {row["image"]: row["label_1"] for row in csv.DictReader(file)}
    else:
        best = {row["image"]: row["top"][0]["label"] for row in map(json.loads, output.read_text().splitlines())}
    assert best == {"in/01.png": "class 0", "in/02.png": "class 0"}
    failed = [json.loads(line) for line in Path(f"{output}.failed.jsonl").read_text().splitlines()]
    assert [(row["image"], row["text"]) for row in failed] == [
        (f"in/0{number}.png", "output 'p' has only NaN as scores") for number in (0, 3)
    ]


def test_a_picture_that_contradicts_the_options_fails_alone_once_others_could_be_read(
    run: Run, fake_server: FakeServer, tmp_path: Path
) -> None:
    fake_server.add_model(
        "logits",
        lambda image: np.where(image[:, :1, 0, 0] == 1, [[0.25, 0.75]], [[3.0, -1.0]]).astype(np.float32),
        inputs={"image": TensorSpec("uint8", (None, 4, 4, 3))},
        outputs={"p": TensorSpec("float32", (None, 2))},
    )
    options = ("--softmax", "--output", "r.jsonl")
    ran = run(*options, model="logits", images=("in/01.png", "in/02.png"))
    assert (ran.code, "in/01.png: output 'p' has probabilities already" in ran.err) == (2, True)
    for further, done in (("--overwrite", "3 done, 1 failed"), ("--resume", "0 done, 1 failed, 3 skipped")):
        ran = run(*options, further, model="logits")
        assert (ran.code, done in ran.err) == (8, True)
        (failure,) = map(json.loads, (tmp_path / "r.jsonl.failed.jsonl").read_text().splitlines())
        assert failure["image"] == "in/01.png"
        assert failure["text"].startswith("output 'p' has probabilities already")


@pytest.mark.parametrize("kind", ["csv", pytest.param("parquet", marks=pytest.mark.peer)])
def test_the_size_of_the_first_picture_does_not_change_the_columns_of_maps(
    run: Run, fake_server: FakeServer, tmp_path: Path, kind: str
) -> None:
    fake_server.add_model(
        "map",
        lambda image: {"map": np.full(image.shape[:3], 3, np.int64), "p": np.float32([[0.75, 0.25]])},
        inputs={"image": TensorSpec("uint8", (1, None, None, 3))},
        outputs={"map": TensorSpec("int64", (1, None, None)), "p": TensorSpec("float32", (1, 2))},
    )
    Image.new("RGB", (30, 20)).save(tmp_path / "in" / "large.png")  # the others have 6 x 5 pixels
    output = tmp_path / f"r.{kind}"
    assert run("--output", output, model="map").code == 0
    if kind == "csv":
        with output.open(newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0][3:] == [*(f"{what}_{number}" for number in range(1, 6) for what in ("label", "share")), "p"]
        assert [row[3:] for row in rows[1:]] == [["label 3", "1.0", *[""] * 8, "[0.75, 0.25]"]] * 5
        assert run("--output", "p.jsonl", "--output-name", "p", model="map").code == 0
        assert (tmp_path / "p.jsonl").read_text().count('"task": "classify"') == 5
    else:
        assert [(row["labels"], row["shares"]) for row in rows_of(output)] == [(["label 3"], [1.0])] * 5


@pytest.mark.parametrize("asked", [False, True])
def test_boxes_in_files_that_the_model_decodes_need_their_size(
    run: Run, fake_server: FakeServer, tmp_path: Path, asked: bool
) -> None:
    fake_server.add_model(
        "file",
        lambda data: detect(np.full((len(data), 1, 1, 1), 1)),
        inputs={"data": TensorSpec("string", (None,))},
        outputs=OUTPUTS,
    )
    (tmp_path / "in" / "00.png").write_bytes(b"a format that Pillow does not know")
    ran = run("--output", "r.jsonl", *(["--min-score", "0.5"] if asked else []), model="file")
    first, *others = (json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines())
    assert "pictures sent as their files" in ran.err
    assert [row["box"] for row in others[-2:]] == [[3, 0, 6, 1.25]] * 2
    assert (ran.code, first["image"]) == (8, "in/01.png")
    assert "its width and height are unknown" in (tmp_path / "r.jsonl.failed.jsonl").read_text()


# --- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["a", "b", "c"], ("--output-name", "p"), "3"),
        (["background", "a", "b", "c", "d"], ("--output-name", "p"), "--labels-offset 1"),
        (["a", "b", "c", "d"], (), "--output-name"),
        (["a", "b", "c", "d"], ("--output-name", "nope"), "nope"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_anything_is_sent_or_written(
    run: Run, fake_server: FakeServer, tmp_path: Path, names: list[str], options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "names.txt").write_text("\n".join(names))
    ran = run("--labels", "names.txt", "--output", "r.csv", *options, model="floats")
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert sent(fake_server) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "names.txt"]


# --- what happens to pictures ------------------------------------------------------------------------------------


def test_the_preparation_is_shown_once_and_an_assumed_scale_warned_of(run: Run) -> None:
    ran = run(model="floats")
    assert ran.code == 0
    assert ran.err.count("pictures → 4x4 (bilinear, antialiased, stretched), RGB, scale unit") == 1
    assert ran.err.count("tfs-predict: warning: scale unit") == 1
    assert "warning" not in run("--scale", "unit", model="floats").err
    assert run("--quiet", model="floats").err == ""


@pytest.mark.parametrize(
    "options", [("--size", "9x9"), ("--bgr", "--scale", "caffe", "--preset", "vgg16", "--std", "2")]
)
def test_options_that_contradict_the_model_are_refused(
    run: Run, fake_server: FakeServer, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert run(*options, "--output", "r.csv", model="floats").code == 2
    assert sent(fake_server) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


# --- records -----------------------------------------------------------------------------------------------------


def test_a_run_is_not_resumed_with_other_names_or_another_preparation(
    run: Run, fake_server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "same.txt").write_text("a\nb\nc\nd")
    options = ("--output", "r.jsonl", "--output-name", "p", "--resume", "--labels")
    assert run(*options, "names.txt", model="floats").code == 0
    assert run(*options, "same.txt", model="floats").code == 0
    (tmp_path / "names.txt").write_text("a\nb\nd\nc\n")
    ran = run(*options, "names.txt", model="floats")
    assert ran.code == 2
    assert "--labels had other names" in ran.err
    ran = run(*options, "same.txt", "--scale", "tf", "--softmax", model="floats")
    assert ran.code == 2
    assert "--scale was not given and is now 'tf'" in ran.err
    record = json.loads((tmp_path / "r.jsonl.run.json").read_text())
    record["preparation"]["size"] = [5, 5]
    (tmp_path / "r.jsonl.run.json").write_text(json.dumps(record))
    ran = run(*options, "same.txt", model="floats")
    assert ran.code == 2
    assert "prepared otherwise, as the model or a preset has changed: size was [5, 5] and is [4, 4]" in ran.err


def test_an_option_that_an_old_record_lacks_differs_if_it_is_set(run: Run, tmp_path: Path) -> None:
    assert run("--output", "r.jsonl").code == 0
    record = json.loads((tmp_path / "r.jsonl.run.json").read_text())
    for name in ("preparation", "exif", "min_score", "labels_offset", "mean", "task"):
        del record[name]
    (tmp_path / "r.jsonl.run.json").write_text(json.dumps(record))
    ran = run("--output", "r.jsonl", "--resume", "--exif", "off", "--min-score", "0")
    assert ran.code == 2
    assert (
        "other options: --exif was not given and is now off; --min-score was not given and is now 0.0. Use" in ran.err
    )
    assert run("--output", "r.jsonl", "--resume").code == 0


# --- drawings ----------------------------------------------------------------------------------------------------


def test_every_picture_gets_a_drawing_of_its_own_once(run: Run, tmp_path: Path) -> None:
    draw(tmp_path / "other", 2)
    Image.new("RGB", (20, 30), (2, 2, 2)).save(tmp_path / "other" / "00.jpg", exif=oriented(6))
    images = ("in", "other")
    assert run("--output", "r.csv", "--draw", "d/", images=images).code == 0
    drawn = {path.name: path for path in (tmp_path / "d").iterdir()}
    names = ["in/00.png", "in/01.png", "in/02.png", "in/03.png", "other/00.jpg", "other/00.png", "other/01.png"]
    assert sorted(drawn) == sorted(map(file_name, names))
    assert file_name("other/00.jpg").endswith(".jpg")
    with Image.open(drawn[file_name("other/00.jpg")]) as upright:
        assert upright.width > upright.height
    turned = [row for row in rows_of(tmp_path / "r.csv") if row["image"] == "other/00.jpg"]
    assert [turned[0][edge] for edge in ("left", "top", "right", "bottom")] == [15, 0, 30, 5]
    for path in drawn.values():
        os.utime(path, (1, 1))
    draw(tmp_path / "in", 5)
    ran = run("--output", "r.csv", "--draw", "d", "--resume", images=images)
    assert (ran.code, ran.err.strip().endswith("; drawings in d")) == (0, True)
    fresh = [path for path in (tmp_path / "d").iterdir() if path.stat().st_mtime != 1]
    assert [path.name for path in fresh] == [file_name("in/04.png")]
    fresh[0].unlink()
    ran = run("--output", "r.csv", "--draw", "d", "--resume")
    assert "drawings in d, 1 picture of earlier runs not drawn" in ran.err


def test_a_folder_for_drawings_that_is_lost_ends_the_run(run: Run, fake_server: FakeServer, tmp_path: Path) -> None:
    folder = tmp_path / "d"

    def lose(image: np.ndarray) -> dict[str, np.ndarray]:
        if image.max() == 2:
            folder.rename(tmp_path / "elsewhere")
        return detect(image)

    fake_server.add_model("lose", lose, inputs=INPUTS, outputs=OUTPUTS)
    options = ("--output", "r.jsonl", "--draw", "d", "--batch-size", "1", "--in-flight", "1")
    ran = run(*options, model="lose")
    assert ran.code == 1
    assert ran.err.endswith("tfs-predict: --draw: cannot write to the folder 'd': No such file or directory\n")
    assert {row["image"] for row in rows_of(tmp_path / "r.jsonl")} <= {"in/00.png", "in/01.png"}
    assert not (tmp_path / "r.jsonl.failed.jsonl").exists()


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def test_a_drawing_that_fails_is_a_failure_of_its_picture(run: Run, tmp_path: Path) -> None:
    (tmp_path / "d" / file_name("in/01.png")).mkdir(parents=True)  # in the way of a file
    ran = run("--output", "r.jsonl", "--draw", "d", "--overwrite")
    assert ran.code == 8
    (failure,) = map(json.loads, (tmp_path / "r.jsonl.failed.jsonl").read_text().splitlines())
    assert (failure["image"], failure["error"]) == ("in/01.png", "ImageError")
    assert {row["image"] for row in rows_of(tmp_path / "r.jsonl")} == {"in/00.png", "in/02.png", "in/03.png"}
    assert len(list((tmp_path / "d").iterdir())) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--draw", "in/d"), "lies in the folder of pictures 'in'"),
        (("--draw", "full"), "is not empty"),
        (("--draw", "file"), "expected a folder, as there are several pictures"),
        (("--draw", "new.png"), "expected a folder, as there are several pictures"),
        (("--draw", "no/d"), "does not exist"),
        (("--draw", "r.csv"), "a file of the run"),
        (("--draw", "d", "--task", "classify"), "--draw"),
    ],
)
def test_folders_for_drawings_are_checked_first(
    run: Run, fake_server: FakeServer, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    (tmp_path / "file").touch()
    ran = run("--output", "r.csv", *options)
    assert ran.code == 2
    assert message in ran.err
    assert sent(fake_server) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "in"]


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd.png", "a/..\x1b[0m.jpg", "/x/" + "ü" * 300, ".png", "CON:|?.png", "\udcff.png", "a\nb.tif"],
)
def test_names_of_drawings_are_safe(name: str) -> None:
    found = file_name(name)
    assert len(found.encode()) <= 250
    assert found == os.path.basename(found)
    assert not found.startswith((".", "-"))
    assert all(character.isalnum() or character in "._-" for character in found)
    assert found != file_name(f"x/{name}")
