"""tfs-predict for one picture: the line that says what was sent, the warning, and the answer by task."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from tfs_client import TensorSpec
from tfs_client.cli import exits
from tfs_client.cli.predict import command
from tfs_client.cli.predict.bulk.answer_rows import detection_rows
from tfs_client.cli.predict.report import answer_for_machines
from tfs_client.images import Detection, Detections
from tfs_client.images.decoders import specs_of
from tfs_client.testing import FakeServer

PIXELS = {"image": TensorSpec("float32", (None, 4, 6, 3))}
FILES = {"image": TensorSpec("string", (None,))}
UNIT = "scale unit (assumed: give --scale or --preset)"
WARNING = (
    "tfs-predict: warning: scale unit (0..1) was assumed for the float input 'image': give --scale or --preset, such "
    "as --preset mobilenet_v2 or --scale tf; docs/images.md says how to find out\n"
)


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.lines = out.splitlines()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], fake_server: FakeServer) -> Any:
    """Run the command with the model "m"."""

    def run(*arguments: object) -> Ran:
        code = command.main(["--server", fake_server.target, "--model", "m", *map(str, arguments)])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (10, 8), (200, 30, 30)).save(path, exif=exif)
    return path


def serve(server: FakeServer, outputs: dict[str, Any], inputs: Any = None) -> None:
    """Serve a model "m" that always returns these outputs, each a batch of one."""
    arrays = {alias: np.asarray(value)[np.newaxis] for alias, value in outputs.items()}
    specs = {
        alias: TensorSpec("string" if array.dtype.kind == "O" else array.dtype.name, (None, *array.shape[1:]))
        for alias, array in arrays.items()
    }
    server.add_model("m", lambda **_: arrays, inputs=inputs or PIXELS, outputs=specs)


SCORES = {"scores": np.array([0.125, 0.75, 0.125], np.float32)}


def test_the_line_comes_after_the_rows_and_the_warning_goes_to_stderr(
    run: Any, fake_server: FakeServer, picture: Path
) -> None:
    serve(fake_server, SCORES)
    ran = run("--image", picture)
    assert ran.code == 0
    assert ran.lines[1:6] == [
        "  class 1  0.7500",
        "  class 0  0.1250",
        "  class 2  0.1250",
        "scores are probabilities",
        f"picture 8x10 → 6x4 (bilinear, antialiased, stretched), RGB, {UNIT}, float32 nhwc",
    ]
    assert ran.lines[6].startswith("encode ")
    assert ran.err == WARNING


def test_json_has_the_line_and_the_fields_of_the_preparation(run: Any, fake_server: FakeServer, picture: Path) -> None:
    serve(fake_server, SCORES)
    ran = run("--image", picture, "--json", "--preset", "mobilenet_v2", "--exif", "off")
    found = json.loads(ran.out)
    assert ran.err == ""
    assert found["picture"].startswith("picture 10x8 → 6x4 (bilinear, antialiased, stretched), RGB (EXIF ignored)")
    assert found["picture"].endswith(", scale tf, float32 nhwc, preset mobilenet_v2 (made for 224x224)")
    fields = found["preparation"]
    assert (fields["size"], fields["scale"], fields["dtype"], fields["layout"]) == ([6, 4], "tf", "float32", "nhwc")
    assert (fields["exif"], fields["preset"], fields["assumed"]) == (False, "mobilenet_v2", [])
    assert found["task"] == "classify"
    assert found["top"][0] == {"label": "class 1", "score": 0.75}


def test_quiet_prints_neither_line_nor_warning(run: Any, fake_server: FakeServer, picture: Path) -> None:
    serve(fake_server, SCORES)
    ran = run("--image", picture, "--quiet")
    assert (ran.code, ran.err) == (0, "")
    assert "picture" not in ran.out
    assert ran.lines[1] == "  class 1  0.7500"
    ran = run("--image", picture, "--quiet", "--json")
    assert ran.err == ""
    assert json.loads(ran.out)["preparation"]["assumed"] == ["scale"]


def test_a_scale_that_is_given_is_not_warned_of(run: Any, fake_server: FakeServer, picture: Path) -> None:
    serve(fake_server, SCORES)
    ran = run("--image", picture, "--scale", "unit")
    assert ran.err == ""
    assert ", scale unit, " in ran.out


def test_an_assumed_layout_is_warned_of(run: Any, fake_server: FakeServer, picture: Path) -> None:
    serve(fake_server, SCORES, {"image": TensorSpec("float32", (None,) * 4)})
    start, end = "tfs-predict: warning:", "docs/images.md says how to find out\n"
    ran = run("--image", picture, "--scale", "raw")
    assert ran.lines[-2].endswith("float32 nhwc (assumed: give --layout)")
    assert ran.err == f"{start} layout nhwc was assumed for the float input 'image': give --layout; {end}"
    assert run("--image", picture, "--scale", "raw", "--layout", "nhwc").err == ""
    both = "scale unit (0..1) and layout nhwc were assumed for the float input 'image': give --scale or --preset, and"
    assert run("--image", picture).err == (
        f"{start} {both} --layout, such as --preset mobilenet_v2 or --scale tf; {end}"
    )


@pytest.mark.parametrize(("dtype", "shape"), [("uint8", (None, 4, 6, 3)), ("string", (None, 1))])
def test_inputs_with_an_axis_for_one_value_get_one_value(
    run: Any, fake_server: FakeServer, picture: Path, dtype: str, shape: Any
) -> None:
    one = TensorSpec("int32", (None, 1))
    serve(fake_server, SCORES, {"image": TensorSpec(dtype, shape), "width": one, "height": one})
    assert run("--image", picture).code == 0
    [sent] = [call.inputs for call in fake_server.calls if call.method == "Predict"]
    assert (sent["width"].tolist(), sent["height"].tolist()) == (
        ([[6]], [[4]]) if dtype == "uint8" else ([[10]], [[8]])
    )
    if dtype == "string":
        assert sent["image"].tolist() == [[picture.read_bytes()]]


def test_the_line_of_a_file_that_is_sent_as_it_is(run: Any, fake_server: FakeServer, picture: Path) -> None:
    serve(fake_server, SCORES, FILES)
    size = picture.stat().st_size
    ran = run("--image", picture)
    assert ran.err == ""
    assert (
        ran.lines[-2] == f"picture 10x8 sent as its file ({size} bytes, JPEG, EXIF orientation 6 is left to the model)"
    )
    found = json.loads(run("--image", picture, "--json").out)
    assert (found["picture"], found["preparation"]) == (ran.lines[-2], None)


def test_a_file_that_only_the_model_can_read(run: Any, fake_server: FakeServer, tmp_path: Path) -> None:
    serve(fake_server, SCORES, FILES)
    (tmp_path / "a.xyz").write_bytes(b"secret format")
    ran = run("--image", tmp_path / "a.xyz")
    assert ran.code == 0
    assert ran.lines[-2] == "picture sent as its file (13 bytes, unknown format)"


def test_tensors_have_no_line(run: Any, fake_server: FakeServer) -> None:
    serve(fake_server, SCORES, {"x": TensorSpec("float32", (None,))})
    ran = run("--input", "x=[1]")
    assert (ran.lines[1], ran.lines[4], ran.err) == ("  class 1  0.7500", "scores are probabilities", "")
    assert ran.lines[5].startswith("encode ")
    found = json.loads(run("--input", "x=[1]", "--json").out)
    assert (found["picture"], found["preparation"]) == (None, None)


@pytest.mark.parametrize(
    ("values", "extra", "kind"),
    [
        ([0.2, 0.5, 0.3], [], "scores are probabilities"),
        ([-3.0, 4.0, 2.0], [], "scores are not probabilities (--softmax turns logits into probabilities)"),
        ([-3.0, 4.0, 2.0], ["--softmax"], "scores are probabilities"),
        ([0.9, 0.8, 0.9], [], "scores are not probabilities"),
    ],
)
def test_scores_are_only_called_probabilities_if_they_are(
    run: Any, fake_server: FakeServer, picture: Path, values: list[float], extra: list[str], kind: str
) -> None:
    serve(fake_server, {"scores": np.array(values, np.float32)})
    ran = run("--image", picture, "--scale", "unit", *extra)
    assert ran.lines[4] == kind
    found = json.loads(run("--image", picture, "--scale", "unit", "--json", *extra).out)
    assert found["probabilities"] is (kind == "scores are probabilities")


def test_labels_that_do_not_fit_are_refused_before_the_picture_is_sent(
    run: Any, fake_server: FakeServer, picture: Path, tmp_path: Path
) -> None:
    serve(fake_server, SCORES)
    names = tmp_path / "names.txt"
    names.write_text("background\ncat\ndog\nfox\n")
    ran = run("--image", picture, "--labels", names)
    assert (ran.code, ran.out) == (2, "")
    assert "3" in ran.err
    assert "4" in ran.err
    assert not [call for call in fake_server.calls if call.method == "Predict"]
    ran = run("--image", picture, "--labels", names, "--labels-offset", 1)
    assert ran.lines[1] == "  dog  0.7500"


def test_errors_of_label_files_name_the_option(run: Any, fake_server: FakeServer, picture: Path) -> None:
    serve(fake_server, SCORES)
    ran = run("--image", picture, "--labels", "missing.txt")
    assert ran.code == 2
    assert ran.err.startswith("tfs-predict: --labels: cannot read 'missing.txt': No such file")


def test_of_several_outputs_with_scores_one_must_be_named(
    run: Any, fake_server: FakeServer, picture: Path, tmp_path: Path
) -> None:
    serve(fake_server, {**SCORES, "other": np.ones(8, np.float32)})
    ran = run("--image", picture)
    assert ran.code == 0
    assert "other: float32 (1, 8)" in ran.out
    assert json.loads(run("--image", picture, "--json").out)["task"] is None
    before = len(fake_server.calls)
    ran = run("--image", picture, "--top", 1)
    assert ran.code == 2
    assert "--output-name" in ran.err
    assert len(fake_server.calls) == before
    ran = run("--image", picture, "--top", 1, "--output-name", "scores")
    assert ran.lines[1:3] == ["  class 1  0.7500", "scores are probabilities"]


def test_an_embedding(run: Any, fake_server: FakeServer, picture: Path) -> None:
    serve(fake_server, {"vector": np.array([3, 4, 0, 0, 0, 0, 0, 0], np.float32)})
    ran = run("--image", picture, "--task", "embed")
    assert ran.lines[1:3] == [
        "embedding of 8 values, norm 5.0000",
        "  3.0000 4.0000 0.0000 0.0000 0.0000 0.0000 ...",
    ]
    found = json.loads(run("--image", picture, "--task", "embed", "--json").out)
    assert (found["task"], found["top"]) == ("embed", [])
    assert found["embedding"] == {"output": "vector", "length": 8, "norm": 5.0}


def test_several_examples_have_no_single_answer(run: Any, fake_server: FakeServer) -> None:
    rows = np.full((2, 3), 1 / 3, np.float32)
    inputs, outputs = {"x": TensorSpec("float32", (None,))}, {"scores": TensorSpec("float32", (None, 3))}
    fake_server.add_model("m", lambda x: rows, inputs=inputs, outputs=outputs)
    assert "scores: float32 (2, 3)" in run("--input", "x=[1, 2]").out
    ran = run("--input", "x=[1, 2]", "--top", 2)
    assert ran.code == 2
    assert "expected the outputs for one example, got 2 rows in output 'scores'" in ran.err


def test_values_of_several_examples_do_not_pass_for_classes(run: Any, fake_server: FakeServer) -> None:
    numbers = {"x": TensorSpec("float32", (None,))}
    fake_server.add_model("m", lambda x: x / 2, inputs=numbers, outputs={"y": TensorSpec("float32", (None,))})
    ran = run("--input", "x=[1, 2]", "--top", 1)
    assert (ran.code, ran.out) == (2, "")
    assert "its 2 values may be those of examples or of classes: use --task classify" in ran.err
    assert run("--input", "x=[1, 2]", "--task", "classify", "--top", 1).lines[1] == "  class 1  1.0000"
    assert "y: float32 (2,) [0.5 1. ]" in run("--input", "x=[1, 2]").out


def test_an_answer_that_cannot_be_drawn_is_refused_before_the_picture_is_sent(
    run: Any, fake_server: FakeServer, picture: Path, tmp_path: Path
) -> None:
    serve(fake_server, SCORES)
    ran = run("--image", picture, "--draw", tmp_path / "out.png")
    assert ran.code == 2
    assert "--draw draws detections and label maps, and the outputs are a classification" in ran.err
    assert not [call for call in fake_server.calls if call.method == "Predict"]
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(("encoding", "arrow"), [("ascii", "->"), ("latin-1", "->"), ("utf-8", "→")])
def test_the_arrow_is_printed_on_any_terminal(monkeypatch: Any, encoding: str, arrow: str) -> None:
    for name, show in (("stdout", exits.show), ("stderr", exits.show_note)):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding))
        show("picture 8x10 → 6x4")
        getattr(sys, name).flush()
        assert raw.getvalue().decode(encoding).rstrip() == f"picture 8x10 {arrow} 6x4"


BOXES = {
    "detection_boxes": np.array([[0.25, 0.5, 0.75, 1.0], [0, 0, 0.5, 0.5], [0, 0, 1, 1]], np.float32),
    "detection_scores": np.array([0.875, 0.5, 0.125], np.float32),
    "detection_classes": np.array([1, 2, 1], np.float32),
    "num_detections": np.float32(3),
}
CORNERS = "label, score; left, top, right, bottom in pixels"


def test_detections_are_rows_in_pixels_of_the_upright_picture(
    run: Any, fake_server: FakeServer, picture: Path, tmp_path: Path
) -> None:
    serve(fake_server, BOXES)
    names = tmp_path / "names.json"
    names.write_text('{"1": "shield", "2": "horn"}')
    options = ("--image", picture, "--labels", names, "--scale", "unit")
    ran = run(*options)
    assert ran.lines[1:4] == [
        f"2 detections ({CORNERS})",
        "  shield  0.8750  4.0  2.5  8.0  7.5",
        "  horn    0.5000  0.0  0.0  4.0  5.0",
    ]
    assert run(*options, "--max-detections", 1).lines[1] == f"1 detection ({CORNERS})"
    assert run(*options, "--min-score", 0.9).lines[1] == "no detections"
    found = json.loads(run(*options, "--json").out)
    assert (found["task"], found["top"], found["draw"]) == ("detect", [], None)
    drawing = str(tmp_path / "out.png")
    assert json.loads(run(*options, "--json", "--draw", drawing).out)["draw"] == drawing
    refused = run(*options, "--top", 3, "--task", "detect").err
    assert "--top does not apply to detections: leave it out; --max-detections limits them" in refused
    assert found["detections"][1] == {"label": "horn", "class": 2, "score": 0.5, "box": [0.0, 0.0, 4.0, 5.0]}


def test_boxes_in_files_have_three_decimals() -> None:
    found = Detections([Detection("cat", 0.5, 1, (63.999998569488525, 0.0, 64.12345, 9.0))], (80, 60), "yolov8")
    box = [64.0, 0.0, 64.123, 9.0]
    assert [row.box for row in detection_rows(found)] == [tuple(box)]
    [item] = cast(list[dict[str, object]], answer_for_machines(found)["detections"])
    assert item["box"] == box


def test_names_whose_start_was_assumed_are_warned_of(
    run: Any, fake_server: FakeServer, picture: Path, tmp_path: Path
) -> None:
    serve(fake_server, BOXES)
    names = tmp_path / "names.txt"
    names.write_text("shield\nhorn\n")
    options = ("--image", picture, "--labels", names, "--scale", "unit")
    ran = run(*options)
    assert ran.lines[2].startswith("  shield")
    [warning] = ran.err.splitlines()
    assert warning.startswith("tfs-predict: warning: the names in ")
    assert warning.endswith(
        "'shield', as models of this layout count from 1: --labels-offset -1 confirms it; if the model counts from 0, "
        "use --labels-offset 0"
    )
    assert json.loads(run(*options, "--json").out)["assumed"] == [warning.removeprefix("tfs-predict: warning: ")]
    assert run(*options, "--quiet").err == ""
    for offset, label in ((-1, "shield"), (0, "horn")):
        given = run(*options, "--labels-offset", offset, "--json", "--max-detections", 1)
        assert (given.err, json.loads(given.out)["assumed"]) == ("", [])
        assert json.loads(given.out)["detections"][0]["label"] == label


def test_a_scalar_input_leaves_open_whether_outputs_have_a_batch_axis(
    run: Any, fake_server: FakeServer, picture: Path
) -> None:
    files = {"image": TensorSpec("string", ())}
    for version, first in ((1, None), (2, 1)):
        boxes = {alias: np.asarray(array)[None] for alias, array in BOXES.items()}
        specs = {alias: TensorSpec(array.dtype.name, (first, *array.shape[1:])) for alias, array in boxes.items()}
        fake_server.add_model("m", lambda image, boxes=boxes: boxes, inputs=files, outputs=specs, version=version)
        ran = run("--image", picture, "--max-detections", 1)
        assert ran.lines[1] == f"1 detection ({CORNERS})"
    fake_server.add_model("m", lambda image: BOXES, inputs=files, outputs=specs_of(BOXES), version=3)
    assert run("--image", picture, "--max-detections", 1).lines[1] == f"1 detection ({CORNERS})"
    scores = {"scores": np.float32([0.25, 0.75])}
    fake_server.add_model("m", lambda image: scores, inputs=files, outputs=specs_of(scores), version=4)
    assert run("--image", picture).lines[1] == "  class 1  0.7500"


def test_boxes_in_a_padded_picture_are_those_of_the_picture(run: Any, fake_server: FakeServer, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "square.png")  # 4 x 4 in the middle of the 6 x 4 pixels
    whole = {**BOXES, "detection_boxes": np.array([[0, 1 / 6, 1, 5 / 6]] * 3, np.float32)}
    serve(fake_server, whole)
    ran = run("--image", tmp_path / "square.png", "--scale", "unit", "--fit", "pad", "--max-detections", 1, "--json")
    np.testing.assert_allclose(json.loads(ran.out)["detections"][0]["box"], [0, 0, 40, 40], atol=1e-4)


@pytest.mark.parametrize(
    ("outputs", "options"),
    [
        (BOXES, ["--softmax"]),
        (BOXES, ["--top", "3"]),
        (SCORES, ["--min-score", "0.5"]),
        (SCORES, ["--max-detections", "3"]),
    ],
)
def test_options_of_another_task_are_refused(
    run: Any, fake_server: FakeServer, picture: Path, outputs: Any, options: list[str]
) -> None:
    serve(fake_server, outputs)
    ran = run("--image", picture, *options)
    assert (ran.code, ran.out) == (2, "")
    assert options[0] in ran.err
    assert not [call for call in fake_server.calls if call.method == "Predict"]


def test_boxes_for_a_file_of_unknown_size_are_refused(run: Any, fake_server: FakeServer, tmp_path: Path) -> None:
    serve(fake_server, BOXES, FILES)
    (tmp_path / "a.xyz").write_bytes(b"secret format")
    ran = run("--image", tmp_path / "a.xyz")
    assert ran.code == 0
    assert "detection_boxes: float32 (1, 3, 4)" in ran.out
    ran = run("--image", tmp_path / "a.xyz", "--task", "detect")
    assert ran.code == 2
    assert "width and height are unknown" in ran.err


def test_outputs_that_only_look_like_an_answer_are_printed_with_a_warning(
    run: Any, fake_server: FakeServer, picture: Path
) -> None:
    broken = {**BOXES, "detection_boxes": np.full((3, 4), np.nan, np.float32)}
    serve(fake_server, broken)
    ran = run("--image", picture, "--scale", "unit")
    if ran.err:
        assert ran.code == 0
        assert ran.err.startswith("tfs-predict: warning: the outputs are printed as they are: ")
        assert "detection_boxes: float32 (1, 3, 4)" in ran.out
    assert run("--image", picture, "--scale", "unit", "--task", "detect").code == 1


@pytest.mark.parametrize("flag", ["--draw", "--save-mask"])
def test_detections_are_drawn_on_the_upright_picture(
    run: Any, fake_server: FakeServer, picture: Path, tmp_path: Path, flag: str
) -> None:
    serve(fake_server, BOXES)
    ran = run("--image", picture, "--scale", "unit", flag, tmp_path / "out.png")
    assert ran.lines[-1] == f"drawing saved as {tmp_path / 'out.png'}"
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size[0] * 10 == drawn.size[1] * 8  # small pictures are enlarged, so that names are readable
        assert (np.asarray(drawn.convert("RGB"), int) != (200, 30, 30)).any()


def test_a_report_of_one_picture(run: Any, fake_server: FakeServer, picture: Path, tmp_path: Path) -> None:
    serve(fake_server, SCORES)
    ran = run("--image", picture, "--scale", "unit", "--html", tmp_path / "out.html")
    assert ran.lines[-1] == f"report saved as {tmp_path / 'out.html'}"
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "class 1" in page
    assert "picture 8x10 → 6x4 (bilinear, antialiased, stretched), RGB, scale unit, float32 nhwc" in page
    (tmp_path / "other.html").write_text("<p>mine</p>")
    ran = run("--image", picture, "--scale", "unit", "--html", tmp_path / "other.html")
    assert ran.code == 2
    assert (tmp_path / "other.html").read_text() == "<p>mine</p>"
