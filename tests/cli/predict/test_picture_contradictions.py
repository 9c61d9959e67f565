"""tfs-predict drops no option silently: what contradicts or has no effect ends with 2, before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfs_client import TensorSpec
from tfs_client.cli.predict import command
from tfs_client.testing import FakeServer


@pytest.fixture(scope="module")
def server() -> Any:
    """Models for pixels, files, grey pictures, integers, pictures of any size, and text."""
    scores = {"scores": TensorSpec("float32", (None, 3))}

    def answer(**inputs: np.ndarray) -> np.ndarray:
        return np.full((len(next(iter(inputs.values()))), 3), 1 / 3, np.float32)

    with FakeServer() as server:
        for name, inputs in {
            "pixels": {"image": TensorSpec("float32", (None, 4, 6, 3))},
            "grey": {"image": TensorSpec("float32", (None, 4, 6, 1))},
            "bytes": {"image": TensorSpec("string", (None,))},
            "empty": {"image": TensorSpec("float32", (None, 0, 8, 3))},
            "large": {"image": TensorSpec("uint8", (None, 40000, 40000, 3))},
            "endless": {"image": TensorSpec("uint8", (None, 1 << 31, 1 << 31, 3))},
            "whole": {"image": TensorSpec("uint8", (None, None, None, 3))},
            "words": {"text": TensorSpec("string", (None,))},
            "both": {"image": TensorSpec("float32", (None, 4, 6, 3)), "rate": TensorSpec("float32", (None,))},
        }.items():
            server.add_model(name, answer, inputs=inputs, outputs=scores)
        yield server


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    for name in "ab":
        Image.new("RGB", (8, 5), (200, 0, 0)).save(tmp_path / f"{name}.png")
    return [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def sent(server: FakeServer) -> int:
    return sum(call.method == "Predict" for call in server.calls)


PIXELS = "prepares pixels, and the input is string (?,), which gets the file's bytes unchanged"


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("pixels", "--size 5x3", "expected size 6x4, as the input is float32 (?, 4, 6, 3), got 5x3"),
        ("pixels", "--layout nchw", "layout 'nchw' contradicts the input"),
        ("pixels", "--dtype float64", "expected dtype float32"),
        ("pixels", "--encoded", "--encoded sends the file's bytes, for which it expects an input of strings"),
        ("pixels", "--encoded --preset vgg16", "--encoded and --preset cannot be combined"),
        ("pixels", "--encoded --exif off", "--encoded and --exif cannot be combined"),
        ("pixels", "--encoded --pad-value 0", "--encoded and --pad-value cannot be combined"),
        ("pixels", "--preset vgg16 --scale unit", "--scale unit contradicts --preset vgg16 (scale caffe): leave out"),
        ("pixels", "--preset vgg16 --mean 1", "--mean contradicts --preset vgg16"),
        ("pixels", "--pad-value 9", "--pad-value needs --fit pad, got --fit stretch (the default)"),
        ("pixels", "--preset alexnet", "docs/images.md lists all"),
        ("pixels", "--preset resnet51", "did you mean 'resnet5"),
        ("pixels", "--std 0", "expected std without zeros"),
        ("pixels", "--mean 100", "beyond 0..1, the range that is assumed for floats"),
        ("pixels", "--scale torch --std 2", "already includes a std"),
        ("grey", "--scale caffe", "has values for three channels"),
        ("grey", "--bgr", "--bgr needs three channels, the input has one"),
        ("grey", "--preset vgg16", "--preset vgg16 (scale caffe) needs three channels, the input has one"),
        ("whole", "--preset vgg16 --size 8x8", "--preset vgg16 (scale caffe) makes fractions of pixels, which uint8"),
        ("grey", "--mean 1,2,3", "expected mean as one number"),
        ("whole", "--scale unit", "are fractions, which uint8 cannot hold"),
        ("whole", "--mean 3", "mean makes fractions of pixels"),
        ("whole", "--fit pad", "fit and resize need a size"),
        ("whole", "--resize area", "fit and resize need a size"),
        *(("bytes", option, f"{option.split()[0]} {PIXELS}") for option in (
            "--preset vgg16", "--size 6x4", "--scale raw", "--layout nhwc", "--dtype uint8", "--resize area",
            "--fit pad", "--pad-value 0", "--exif on", "--exif off", "--alpha drop", "--bgr", "--mean 0", "--std 1",
        )),
        ("empty", "", "an input of shape (?, 0, 8, 3) does not take pictures"),
        ("large", "", "the input takes 40000 x 40000 pixels, expected at most 120000000"),
        ("whole", "--size 9x9 --max-pixels 80", "the input takes 9 x 9 pixels, expected at most 80"),
        ("endless", "--scale raw", "expected width and height of at most 2147483647 pixels"),
        ("pixels", "--scale unit --std 1e-50", "with this std, pixels have values that float32 cannot hold"),
        ("pixels", "--image-input nope", "unknown input 'nope'"),
        ("pixels", "--labels-offset 1", "--labels-offset shifts class names: use --labels too"),
        ("pixels", "--output-name nope", "unknown output 'nope'"),
        ("both", "", "'rate' is missing: float32 (?,)"),
        ("both", "--input rate=[[1]]", "'rate' expects float32 (?,), got float32 (1, 1)"),
    ],
)  # fmt: skip
def test_options_that_contradict_the_model_are_refused_alike_for_one_picture_and_for_several(
    server: FakeServer, pictures: list[str], capsys: Any, model: str, options: str, words: str
) -> None:
    before = sent(server)
    for images in (pictures[:1], pictures):
        code = command.main(["--server", server.target, "--model", model, "--image", *images, *options.split()])
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1
    assert sent(server) == before


@pytest.mark.parametrize(
    "option",
    [
        "--preset vgg16", "--size 6x4", "--scale raw", "--layout nhwc", "--dtype uint8", "--resize area", "--fit pad",
        "--pad-value 0", "--exif on", "--alpha drop", "--bgr", "--mean 0", "--std 1", "--formats png",
        "--max-pixels 9", "--encoded", "--image-input image", "--draw out.png", "--html out.html", "--task detect",
        "--task segment",
    ],
)  # fmt: skip
def test_options_for_pictures_without_a_picture_are_refused(server: FakeServer, capsys: Any, option: str) -> None:
    code = command.main(["--server", server.target, "--model", "words", "--input", 'text=["a"]', *option.split()])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert f"{option if 'task' in option else option.split()[0]} applies to pictures: use --image too" in err


@pytest.mark.parametrize("option", ["--formats png", "--max-pixels 9"])
def test_limits_on_decoding_are_refused_for_a_file_that_is_not_decoded(
    server: FakeServer, pictures: list[str], capsys: Any, option: str
) -> None:
    before = sent(server)
    code = command.main(["--server", server.target, "--model", "bytes", "--image", pictures[0], *option.split()])
    assert (code, sent(server)) == (2, before)
    assert f"{option.split()[0]} limits how pictures are decoded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--draw", "out.xyz"], "expected a file whose suffix names a picture format, such as .png, got 'out.xyz'"),
        (["--draw", "."], "expected a file such as out.png for a single picture, got the folder '.'"),
        (["--draw", "nowhere/x.png"], "--draw: cannot write 'nowhere/x.png': the folder "),
        (["--draw", "new/"], "expected a file such as out.png for a single picture, got the folder 'new/'"),
        (["--draw", "out.png", "--task", "classify"], "which --task classify does not give"),
        (["--draw", "out.png", "--task", "embed"], "which --task embed does not give"),
        (["--draw", "out.html", "--html", "out.html"], "--draw and --html: expected different files"),
    ],
)
def test_drawings_that_cannot_be_made_are_refused(
    server: FakeServer, pictures: list[str], capsys: Any, options: list[str], words: str
) -> None:
    before = sent(server)
    code = command.main(["--server", server.target, "--model", "pixels", "--image", pictures[0], *options])
    assert (code, sent(server)) == (2, before)
    assert words in capsys.readouterr().err


def test_a_drawing_does_not_replace_the_picture_itself(server: FakeServer, pictures: list[str], capsys: Any) -> None:
    before = Path(pictures[0]).read_bytes()
    code = command.main(["--server", server.target, "--model", "pixels", "--image", pictures[0], "--draw", pictures[0]])
    assert code == 2
    assert "is the picture itself" in capsys.readouterr().err
    assert Path(pictures[0]).read_bytes() == before


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--size", "224", "expected WIDTHxHEIGHT in pixels"),
        ("--size", "99999x99999", "expected at most"),
        ("--mean", "1,2", "expected one number, or three"),
        ("--mean", "nan", "expected one number, or three"),
        ("--std", "a,b,c", "expected one number, or three"),
        ("--pad-value", "256", "expected a whole number from 0 to 255"),
        ("--exif", "yes", "expected on or off"),
        ("--alpha", "red", "invalid choice: 'red'"),
        ("--resize", "cubic", "invalid choice: 'cubic'"),
        ("--fit", "cover", "invalid choice: 'cover'"),
        ("--scale", "0..1", "invalid choice: '0..1'"),
        ("--layout", "chw", "invalid choice: 'chw'"),
        ("--task", "count", "invalid choice: 'count'"),
        ("--top", "-1", "expected a whole number above 0"),
        ("--labels-offset", "1.5", "expected a whole number, got '1.5'"),
        ("--min-score", "1.5", "expected a number from 0 to 1"),
        ("--min-score", "nan", "expected a number from 0 to 1"),
        ("--max-detections", "0", "expected a whole number above 0"),
        ("--max-pixels", "0", "expected a whole number above 0"),
        *((flag, "", "expected a value, got an empty one") for flag in (
            "--labels", "--preset", "--draw", "--html", "--output-name", "--image-input", "--dtype", "--formats",
        )),
    ],
)  # fmt: skip
def test_bad_values_name_the_option_and_what_it_expects(capsys: Any, option: str, value: str, words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--image", "a.png", "--model", "m", option, value])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert option in err
    assert words in err


def test_every_option_is_explained_in_the_help(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    out = capsys.readouterr().out
    examples = out[out.index("examples:") :]
    for flag in ("preset", "size", "scale", "mean", "std", "bgr", "resize", "fit", "pad-value", "exif", "alpha", "task",
                 "output-name", "top", "labels", "labels-offset", "softmax", "min-score", "max-detections", "draw",
                 "html", "json", "quiet"):  # fmt: skip
        assert f"--{flag}" in out[: out.index("examples:")]
        assert f"--{flag}" in examples
