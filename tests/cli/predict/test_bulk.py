"""tfs-predict in bulk: pictures from everywhere, rows into every kind of file, and the code it ends with."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulk_runs import add_look, draw, expected, greys
from PIL import Image

from tfs_client import CancelledError, InvalidArgumentError, TensorSpec
from tfs_client.cli.predict import arguments, command
from tfs_client.cli.predict.bulk.engines import ENGINES
from tfs_client.testing import FakeServer

KINDS = ["jsonl", "csv", "npz", pytest.param("parquet", marks=pytest.mark.peer)]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TFS_SERVER", "TFS_MODEL", "TFS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def names(self) -> list[str]:
        return [row["image"] for row in self.rows]


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], fake_server: FakeServer) -> Run:
    """Run the command on a model that looks at pictures, unless another one is named."""
    add_look(fake_server)

    def run(*arguments: object, model: str = "look") -> Ran:
        server = ["--server", fake_server.target, "--model", model]
        try:
            code = command.main([*server, *map(str, arguments)])
        except SystemExit as error:  # argparse
            code = int(str(error.code))
        return Ran(code, *capsys.readouterr())

    return run


def sent(server: FakeServer) -> list[dict[str, np.ndarray]]:
    return [call.inputs for call in server.calls if call.method == "Predict"]


# --- sources -----------------------------------------------------------------------------------------------------


def test_several_files_give_a_row_each_in_their_order(run: Run, tmp_path: Path) -> None:
    names = draw(tmp_path, 3)
    ran = run("--image", names[2], names[0], "--image", names[1])
    assert ran.code == 0
    assert ran.names == [names[2], names[0], names[1]]
    assert ran.rows[0] == {
        "image": names[2],
        "model": "look",
        "version": 1,
        "signature": "serving_default",
        "task": "classify",
        "probabilities": True,
        "top": [
            {"label": "class 1", "score": pytest.approx(1 - 2 / 255)},
            {"label": "class 0", "score": pytest.approx(2 / 255)},
        ],
        "outputs": {
            "grey": {"dtype": "uint8", "shape": [], "values": 2},
            "scores": {"dtype": "float32", "shape": [2], "values": pytest.approx([2 / 255, 1 - 2 / 255])},
        },
    }


def test_a_folder_gives_its_pictures_and_those_of_its_folders(run: Run, tmp_path: Path) -> None:
    names = draw(tmp_path / "b", 2) + draw(tmp_path / "b" / "a", 1)
    draw(tmp_path / "b" / ".hidden", 1)
    (tmp_path / "b" / ".01.png").write_bytes(Path(names[0]).read_bytes())
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    Path(names[1]).rename(tmp_path / "b" / "01.PNG")
    ran = run("--image", tmp_path / "b")
    assert ran.names == [names[0], str(tmp_path / "b" / "01.PNG"), names[2]]


def test_patterns_are_matched(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "a", 2)
    draw(tmp_path / "a" / "deep" / "er", 1)
    monkeypatch.chdir(tmp_path)
    assert run("--image", "a/*.png").names == ["a/00.png", "a/01.png"]
    assert run("--image", "**/00.png").names == ["a/00.png", "a/deep/er/00.png"]
    assert run("--image", "a/0[1-9].png").names == ["a/01.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(run: Run, tmp_path: Path) -> None:
    odd = tmp_path / "a[1].png"
    odd.write_bytes(Path(draw(tmp_path, 1)[0]).read_bytes())
    assert run("--image", odd, "--batch-size", 1).names == [str(odd)]
    assert run("--image", odd).code == 0


def test_a_list_names_pictures(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "a", 3)
    (tmp_path / "list").write_bytes(b"a/02.png\r\n\n   \na/00.png")
    monkeypatch.chdir(tmp_path)
    assert run("--input-list", "list").names == ["a/02.png", "a/00.png"]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_list_with_nul_bytes_is_separated_by_them(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path(draw(tmp_path / "a", 1)[0]).read_bytes()
    odd = [b"a/new\nline.png", b"a/ \r", b"a/\xff.png", b"\xef\xbb\xbfmark.png"]
    monkeypatch.chdir(tmp_path)
    for name in odd:
        with open(name, "wb") as file:
            file.write(plain)
    (tmp_path / "list").write_bytes(odd[3] + b"\0\0" + b"\0".join(odd[:3]) + b"\0a/gone\n\0")
    ran = run("--input-list", "list")
    assert ran.code == 8
    assert ran.names == ["\ufeffmark.png", "a/new\nline.png", "a/ \r", "a/\\xff.png"]
    assert "tfs-predict: a/gone" in ran.err


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa/00.png\0a/01.png", b"a/00.png\0a/01.png\0", b"a/00.png\na/01.png"])
def test_lists_may_have_a_byte_order_mark_and_need_no_last_separator(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    draw(tmp_path / "a", 2)
    (tmp_path / "list").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert run("--input-list", "list").names == ["a/00.png", "a/01.png"]


def test_standard_input_names_pictures(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = draw(tmp_path, 2)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(names).encode())))
    assert run("--input-list", "-").names == names


def test_sources_can_be_combined_and_a_repeated_name_is_done_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "a", 3)
    (tmp_path / "list").write_text("a/01.png\n./a//02.png\na/01.png\n")
    monkeypatch.chdir(tmp_path)
    ran = run("--image", "a/02.png", "./a", "--input-list", "list", "--image", "a/*")
    assert ran.names == ["a/02.png", "a/00.png", "a/01.png"]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
@pytest.mark.parametrize("kind", KINDS)
def test_names_that_are_not_utf8_are_escaped_and_recognised_on_resume(run: Run, tmp_path: Path, kind: str) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    with open(odd, "wb") as file:
        file.write(Path(draw(tmp_path, 1)[0]).read_bytes())
    with open(os.fsencode(tmp_path) + b"/\xfe.png", "wb") as file:
        file.write(b"no picture")
    output = tmp_path / f"r.{kind}"
    assert run("--image", tmp_path, "--output", output).code == 8
    assert set(greys(output)) == {f"{tmp_path}/00.png", f"{tmp_path}/\\xff.png"}
    assert json.loads(Path(f"{output}.failed.jsonl").read_text(encoding="utf-8"))["image"] == f"{tmp_path}/\\xfe.png"
    assert "0 done, 1 failed, 2 skipped" in run("--image", tmp_path, "--output", output, "--resume").err


# --- requests ----------------------------------------------------------------------------------------------------


def test_pictures_share_requests(run: Run, fake_server: FakeServer, tmp_path: Path) -> None:
    draw(tmp_path, 10)
    assert run("--image", tmp_path, "--batch-size", 4).code == 0
    assert sorted(len(inputs["image"]) for inputs in sent(fake_server)) == [2, 4, 4]


def test_pictures_of_different_sizes_are_sent_separately_and_stay_in_order(run: Run, tmp_path: Path) -> None:
    names = draw(tmp_path, 6)
    for name in names[::2]:
        Image.new("RGB", (9, 9), (int(Path(name).stem),) * 3).save(name)
    ran = run("--image", tmp_path, "--batch-size", 4)
    assert {row["image"]: row["outputs"]["grey"]["values"] for row in ran.rows} == expected(names)
    assert ran.names == names


@pytest.mark.parametrize("in_flight", [1, 3, "auto"])
def test_in_flight_sets_the_number_of_concurrent_requests(run: Run, tmp_path: Path, in_flight: object) -> None:
    names = draw(tmp_path, 20)
    ran = run("--image", tmp_path, "--batch-size", 2, "--in-flight", in_flight, "--output", tmp_path / "r.jsonl")
    assert ran.code == 0
    assert greys(tmp_path / "r.jsonl") == expected(names)


def test_inputs_without_a_batch_axis_are_sent_whole_and_rows_are_sent_with_each_picture(
    run: Run, fake_server: FakeServer, tmp_path: Path
) -> None:
    fake_server.add_model(
        "more",
        lambda image, factor, row, pair: {"y": row[:, 0] * factor + pair.sum()},
        inputs={
            "image": TensorSpec("uint8", (None, 4, 4, 3)),
            "factor": TensorSpec("float32", ()),
            "row": TensorSpec("float32", (None, 2)),
            "pair": TensorSpec("float32", (2,)),
        },
        outputs={"y": TensorSpec("float32", (None,))},
    )
    draw(tmp_path, 3)
    given = ["--input", "factor=2", "--input", "row=[[5, 6]]", "--input", "pair=[1, 2]", "--image-input", "image"]
    ran = run("--image", tmp_path, *given, model="more")
    assert [row["outputs"]["y"]["values"] for row in ran.rows] == [13.0] * 3
    (inputs,) = sent(fake_server)
    assert {alias: array.shape for alias, array in inputs.items()} == {
        "image": (3, 4, 4, 3),
        "factor": (),
        "row": (3, 2),
        "pair": (2,),
    }


@pytest.mark.parametrize(
    ("shape", "options", "requests"),
    [
        ((None,), (), 2),  # a size for each picture of a request; pictures of two sizes
        ((None, 1), (), 2),  # the same, with an axis for the only value
        ((), ("--size", "7x3"), 1),  # one size for all
        ((), (), 4),  # a size for a request: a picture each
    ],
)
def test_height_and_width_are_sent_with_their_pictures(
    run: Run, fake_server: FakeServer, tmp_path: Path, shape: Any, options: tuple[str, ...], requests: int
) -> None:
    fake_server.add_model(
        "sizes",
        lambda image, height, width: {
            "size": np.stack(
                np.broadcast_arrays(height.reshape(-1), width.reshape(-1), image[:, 0, 0, 0].astype(np.int32)), axis=1
            )
        },
        inputs={
            "image": TensorSpec("uint8", (None, None, None, 3)),
            "height": TensorSpec("int32", shape),
            "width": TensorSpec("int32", shape),
        },
        outputs={"size": TensorSpec("int32", (None, 3))},
    )
    names = draw(tmp_path, 4)
    Image.new("RGB", (9, 8), (3, 3, 3)).save(names[3])
    ran = run("--image", tmp_path, *options, model="sizes")
    sizes = [(3, 7)] * 4 if options else [(5, 6)] * 3 + [(8, 9)]
    assert [row["outputs"]["size"]["values"] for row in ran.rows] == [[*size, n] for n, size in enumerate(sizes)]
    assert len(sent(fake_server)) == requests


def test_a_model_that_takes_one_picture_gets_one_at_a_time(run: Run, fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.add_model(
        "one",
        lambda image: {"first": image[..., 0]},
        inputs={"image": TensorSpec("uint8", (1, None, None, 3))},
        outputs={"first": TensorSpec("uint8", (1, None, None))},
    )
    draw(tmp_path, 5)
    ran = run("--image", tmp_path, "--in-flight", 3, model="one")
    assert [row["outputs"]["first"]["values"] for row in ran.rows] == [[[n] * 6] * 5 for n in range(5)]
    assert [len(inputs["image"]) for inputs in sent(fake_server)] == [1] * 5


@pytest.mark.parametrize("shape", [(None,), (None, 1), (), None])
def test_encoded_pictures_are_sent_unchanged(run: Run, fake_server: FakeServer, tmp_path: Path, shape: Any) -> None:
    fake_server.add_model(
        "bytes",
        lambda data: np.array([len(value) for value in data.reshape(-1)], np.int64).reshape(data.shape[:1]),
        inputs={"data": TensorSpec("string", shape)},
        outputs={"length": TensorSpec("int64", None)},
    )
    names = draw(tmp_path, 2)
    (tmp_path / "02.png").write_bytes(b"whatever")  # for the model to judge
    ran = run("--image", tmp_path, model="bytes")
    lengths = [Path(name).stat().st_size for name in names] + [8]
    assert [row["outputs"]["length"]["values"] for row in ran.rows] == lengths


def test_a_rest_server_is_supported(run: Run, fake_server: FakeServer, tmp_path: Path, capsys: Any) -> None:
    names = draw(tmp_path, 5)
    url = ["--server", fake_server.rest_url, "--model", "look", "--batch-size", "2"]
    assert command.main([*url, "--image", str(tmp_path)]) == 0
    assert [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()] == names


# --- outputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_rows_go_into_a_file(run: Run, tmp_path: Path, kind: str) -> None:
    names = draw(tmp_path / "in", 5)
    output = tmp_path / f"r.{kind}"
    ran = run("--image", tmp_path / "in", "--output", output)
    assert (ran.code, ran.out) == (0, "")
    assert list(greys(output).items()) == list(expected(names).items())
    assert "5 pictures: 5 done; " in ran.err
    assert f"pictures/s; rows in {output}" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", output.name, f"{output.name}.run.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_existing_output_is_overwritten_only_on_request(run: Run, tmp_path: Path, kind: str) -> None:
    names = draw(tmp_path / "in", 2)
    output = tmp_path / f"r.{kind}"
    assert run("--image", names[0], "--output", output).code == 0
    before = output.read_bytes()
    ran = run("--image", names[1], "--output", output)
    assert ran.code == 2
    assert "already exists: --resume continues it, --overwrite replaces it" in ran.err
    assert output.read_bytes() == before
    assert run("--image", names[1], "--output", output, "--overwrite").code == 0
    assert greys(output) == {names[1]: 1}


def test_an_existing_list_of_failures_is_overwritten_only_on_request(run: Run, tmp_path: Path) -> None:
    names = draw(tmp_path / "in", 1)
    ran = run("--image", *names, "missing.png", "--failures", names[0])
    assert (ran.code, ran.out) == (2, "")
    with Image.open(names[0]) as kept:
        assert kept.size == (6, 5)
    for extra in ([], ["--overwrite"]):
        ran = run("--image", *names, "missing.png", "--failures", tmp_path / "f", *extra)
        assert (ran.code, ran.names) == (8, names)
        assert (tmp_path / "f").read_text().count("\n") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_does_the_remaining_pictures(
    run: Run, fake_server: FakeServer, tmp_path: Path, kind: str
) -> None:
    names = draw(tmp_path, 6)
    output = tmp_path / f"r.{kind}"
    assert run("--image", *names[:4], "--output", output).code == 0
    fake_server.clear_calls()
    ran = run("--image", tmp_path, "--output", output, "--resume")
    assert "6 pictures: 2 done, 4 skipped" in ran.err
    assert greys(output) == expected(names)
    assert sum(len(inputs["image"]) for inputs in sent(fake_server)) == 2
    assert "0 done, 6 skipped" in run("--image", tmp_path, "--output", output, "--resume").err
    assert greys(output) == expected(names)


def test_a_run_is_not_resumed_with_other_options(run: Run, fake_server: FakeServer, tmp_path: Path) -> None:
    names = draw(tmp_path, 2)
    base = ("--output", tmp_path / "r.jsonl", "--resume", "--image", *names)
    assert run(*base[:-1]).code == 0
    add_look(fake_server, model="other")
    ran = run(*base, "--size", "4x4", model="other")
    assert ran.code == 2
    assert "--model was 'look' and is now 'other'; --size was not given and is now 4x4" in ran.err
    assert run(*base, "--batch-size", 1, "--in-flight", 2, "--quiet").code == 0  # these change no row


def test_the_summary_names_all_versions_that_answered(run: Run, fake_server: FakeServer, tmp_path: Path) -> None:
    names = draw(tmp_path, 2)

    def swap(image: np.ndarray) -> np.ndarray:
        if not image.any():  # the first picture
            fake_server.add_model("swapped", lambda image: image[:, 0, 0, 0], **spec, version=2)
        return image[:, 0, 0, 0]

    spec: dict[str, Any] = {
        "inputs": {"image": TensorSpec("uint8", (None, 4, 4, 3))},
        "outputs": {"y": TensorSpec("uint8", (None,))},
    }
    fake_server.add_model("swapped", swap, **spec)
    ran = run("--image", *names, "--batch-size", 1, "--in-flight", 1, model="swapped")
    assert [row["version"] for row in ran.rows] == [1, 2]
    assert "answered by swapped version 1, swapped version 2" in ran.err


# --- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_bad_pictures_are_named_and_the_rest_is_done(run: Run, tmp_path: Path, kind: str) -> None:
    names = draw(tmp_path / "in", 8)
    bad = [names[0], names[3], names[4], names[7]]
    Path(bad[0]).write_text("no picture")
    Path(bad[1]).write_bytes(Path(names[1]).read_bytes()[:40])
    Path(bad[2]).unlink()
    Path(bad[3]).write_bytes(b"")
    output = tmp_path / f"r.{kind}"
    (tmp_path / "list").write_text("\n".join(names))
    ran = run("--input-list", tmp_path / "list", "--output", output, "--batch-size", 3)
    assert ran.code == 8
    good = [name for name in names if name not in bad]
    assert greys(output) == expected(good)
    failures = [json.loads(line) for line in Path(f"{output}.failed.jsonl").read_text().splitlines()]
    assert [(failure["image"], failure["error"]) for failure in failures] == [(name, "ImageError") for name in bad]
    assert "No such file" in failures[2]["text"]
    assert "8 pictures: 4 done, 4 failed; " in ran.err
    assert ran.err.endswith(f"failures in {output}.failed.jsonl\n")

    draw(tmp_path / "in", 8)  # they are repaired, all but one
    Path(bad[1]).write_text("still none")
    ran = run("--input-list", tmp_path / "list", "--output", output, "--resume")
    assert ran.code == 8
    assert "3 done, 1 failed, 4 skipped" in ran.err
    assert greys(output) == expected([name for name in names if name != bad[1]])
    (failure,) = Path(f"{output}.failed.jsonl").read_text().splitlines()
    assert json.loads(failure)["image"] == bad[1]

    draw(tmp_path / "in", 8)
    assert run("--input-list", tmp_path / "list", "--output", output, "--resume").code == 0
    assert not Path(f"{output}.failed.jsonl").exists()


def test_a_picture_that_the_model_refuses_fails_alone(run: Run, fake_server: FakeServer, tmp_path: Path) -> None:
    def fussy(image: np.ndarray) -> None:
        if 5 in image:
            raise InvalidArgumentError("no fives, please")

    names = draw(tmp_path, 9)
    add_look(fake_server, fussy, model="fussy")
    ran = run("--image", tmp_path, "--failures", tmp_path / "failures", model="fussy")
    assert ran.code == 8
    assert ran.names == names[:5] + names[6:]
    assert json.loads((tmp_path / "failures").read_text()) == {
        "image": names[5],
        "error": "InvalidArgumentError",
        "text": "INVALID_ARGUMENT: no fives, please",
    }


@pytest.mark.parametrize(("most", "code"), [(1, 0), (2, 4)])
def test_pictures_that_the_server_drops_are_retried_once(
    run: Run, fake_server: FakeServer, tmp_path: Path, most: int, code: int
) -> None:
    dropped = []

    def stopping(image: np.ndarray) -> None:
        if 5 in image and len(dropped) < most:
            dropped.append(5)
            raise CancelledError("stopping")

    names = draw(tmp_path, 9)
    add_look(fake_server, stopping, model="stopping")
    ran = run("--image", tmp_path, "--batch-size", 2, model="stopping")
    assert ran.code == code
    assert ran.names == names[:4] + names[6:] + (names[4:6] if code == 0 else [])


def test_a_run_without_any_result_shows_the_first_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("https://example.com/dog.jpg\nmissing.png\n")
    ran = run("--input-list", tmp_path / "list", "--output", tmp_path / "r.csv")
    assert ran.code == 8
    assert "2 pictures: 0 done, 2 failed; " in ran.err
    first = "https:/example.com/dog.jpg: is a URL, expected a file: download it first"
    assert f"r.csv.failed.jsonl (the first: {first})" in ran.err


def test_without_output_files_failures_are_printed(run: Run, tmp_path: Path) -> None:
    names = draw(tmp_path, 1)
    ran = run("--image", *names, "missing.png")
    assert (ran.code, ran.names) == (8, names)
    assert "tfs-predict: missing.png: cannot read it: No such file" in ran.err


def test_quiet_prints_only_failures(run: Run, tmp_path: Path) -> None:
    names = draw(tmp_path, 2)
    assert run("--image", *names, "--quiet").err == ""
    assert run("--image", *names, "missing.png", "--quiet").err.count("\n") == 1


# --- usage -------------------------------------------------------------------------------------------------------


def test_usage_errors_end_with_2_and_leave_nothing(
    run: Run, fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (tmp_path / "blank").write_text("\n\n")
    (tmp_path / "wide").write_text("a.png\n", "utf-16")
    output = tmp_path / "out"
    two = ("--image", *draw(tmp_path / "in", 2))
    for given, message in [
        (("--image", folder), "contains no pictures"),
        (("--image", f"{tmp_path}/*.tiff"), "no file matches"),
        (("--input-list", tmp_path / "none"), "--input-list: cannot read"),
        (("--input-list", tmp_path / "blank"), "expected a path per line"),
        (("--input-list", tmp_path / "wide"), "got UTF-16"),
        (("--batch-size", "4"), "no pictures given"),
        ((*two, "--output", output / "r.txt"), "expected a file with the suffix .jsonl, .csv, .npz or .parquet"),
        ((*two, "--output", output / "r.csv"), "does not exist"),
        ((*two, "--resume"), "use --output too"),
        ((*two, "--overwrite"), "use --output too"),
        ((*two, "--output", f"{output}.csv", "--resume", "--overwrite"), "use one"),
        ((*two, "--json"), "rows are JSON lines without it"),
        (
            (*two, "--output", f"{output}.npz", "--top", "2"),
            "--top says what answers contain, and .npz has",
        ),
        ((*two, "--save-mask", "m.png"), "--draw: expected a folder, as there are several pictures"),
        ((*two, "--output", f"{output}.csv", "--failures", f"{output}.csv"), "expected different files"),
        ((*two, "--image-input", "nope", "--output", f"{output}.csv"), "unknown input 'nope'"),
        ((*two, "--scale", "tf", "--output", f"{output}.csv"), "pixels of scale 'tf' are fractions"),
        ((*two, "--signature", "nope", "--output", f"{output}.csv"), "has no signature 'nope'"),
        ((*two, "--input", "x=1", "--output", f"{output}.csv"), "unknown input 'x'"),
        ((*two, "--engine", "steam"), "invalid choice: 'steam'"),
        ((*two, "--batch-size", "0"), "expected a whole number above 0"),
        ((*two, "--in-flight", "some"), "expected a whole number above 0, or auto"),
    ]:
        ran = run(*given)
        assert ran.code == 2, given
        assert message in ran.err, given
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)  # what Python does if it is closed
        ran = run(*two)
    assert (ran.code, ran.err) == (2, "tfs-predict: standard output, where the rows go, is closed: use --output FILE\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank", "empty", "in", "wide"]


def test_an_unreachable_server_fails_at_once_and_leaves_no_files(run: Run, tmp_path: Path) -> None:
    names = draw(tmp_path / "in", 2)
    with socket.socket() as held:  # bound, not listening: nobody else gets the port meanwhile
        held.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{held.getsockname()[1]}"
        ran = run("--image", *names, "--output", tmp_path / "r.csv", "--server", target)
    assert ran.code == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_every_engine_can_be_selected() -> None:
    assert set(arguments.ENGINES) == set(ENGINES)


def test_without_pyarrow_parquet_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ran = run("--image", *draw(tmp_path / "in", 2), "--output", tmp_path / "r.parquet")
    assert ran.code == 2
    assert "pip install 'tfs-client[parquet]'" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
