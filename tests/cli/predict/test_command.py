"""tfs-predict: what it prints, and the code it ends with. It runs in this process, against real servers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfs_client import InvalidArgumentError, TensorSpec
from tfs_client.cli.predict import command
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

EXAMPLES = Path(__file__).parents[3] / "examples"
PUPPER = str(EXAMPLES / "pupper.jpg")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFS_SERVER", raising=False)
    monkeypatch.delenv("TFS_MODEL", raising=False)


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command; gives exit code, output and error output."""

    def run(*arguments: object) -> Ran:
        try:
            code = command.main([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse
            code = int(str(error.code))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def echo(fake_server: FakeServer) -> FakeServer:
    """A server with a picture model that answers with what it got: ``seen``, and class scores."""

    def look(image: np.ndarray) -> dict[str, Any]:
        return {"seen": image, "scores": np.array([[0.1, 0.7, 0.2]], np.float32)}

    return fake_server.add_model(
        "look",
        look,
        inputs={"image": TensorSpec("float32", (None, 4, 6, 3))},
        outputs={"seen": TensorSpec("float32", None), "scores": TensorSpec("float32", (None, 3))},
        check_shapes=False,
    )


def test_a_picture_through_an_embedded_model(run: Any) -> None:
    ran = run("--image", PUPPER, "--embedded", "--top", 3)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == "colors version 1, signature serving_default"
    assert len(lines) == 7
    assert lines[4].startswith("scores are")
    assert lines[5] == "picture 640x480 → same size, RGB, scale raw, uint8 nhwc"
    assert lines[-1].startswith("encode ")
    assert "wait " in lines[-1]
    assert "decode " in lines[-1]
    shares = [float(line.split()[-1]) for line in lines[1:4]]
    assert shares == sorted(shares, reverse=True)


def test_a_digit_is_recognised(run: Any) -> None:
    ran = run("--image", EXAMPLES / "digit.png", "--embedded", "--model", "digits", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["top"][0]["label"] == "class 3"


def test_a_segmentation_map_is_summed_up_and_saved(run: Any, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    ran = run("--image", PUPPER, "--embedded", "--model", "segment", "--save-mask", mask)
    assert ran.code == 0
    assert "segmentation map, 640 x 480" in ran.out
    assert f"drawing saved as {mask}" in ran.out
    with Image.open(mask) as saved, Image.open(PUPPER) as original:
        assert saved.size == original.size
        changed = (np.asarray(saved, int) != np.asarray(original.convert("RGB"), int)).any(-1).mean()
    assert 0.1 < changed < 0.6


def test_tensors_from_json_and_npy(run: Any, tmp_path: Path, fake_server: FakeServer) -> None:
    vector = TensorSpec("float32", (None,))
    fake_server.add_model("add", lambda a, b: a + b, inputs={"a": vector, "b": vector}, outputs={"sum": vector})
    np.save(tmp_path / "b.npy", np.array([10, 20], np.float32))
    ran = run(
        "--server",
        fake_server.target,
        "--model",
        "add",
        "--input",
        "a=[1, 2.5]",
        "--input",
        f"b=@{tmp_path}/b.npy",
        "--json",
    )
    assert ran.code == 0
    answer = json.loads(ran.out)
    assert answer["outputs"]["sum"] == {"dtype": "float32", "shape": [2], "values": [11.0, 22.5]}
    assert (answer["model"], answer["version"], answer["signature"]) == ("add", 1, "serving_default")
    assert set(answer["milliseconds"]) == {"encode", "wait", "decode"}


def test_server_and_model_come_from_the_environment(
    run: Any, double: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFS_SERVER", double.target)
    monkeypatch.setenv("TFS_MODEL", "double")
    ran = run("--input", "x=[1, 2]")
    assert ran.code == 0
    assert "y: float32 (2,) [2. 4.]" in ran.out


def test_the_signature_decides_size_dtype_and_scale(run: Any, echo: FakeServer) -> None:
    ran = run("--server", echo.target, "--model", "look", "--image", PUPPER)
    assert ran.code == 0
    (seen,) = [call.inputs["image"] for call in echo.calls if call.method == "Predict"]
    assert seen.shape == (1, 4, 6, 3)
    assert 0 <= seen.min() < seen.max() <= 1


def test_options_that_contradict_the_signature_are_refused(run: Any, echo: FakeServer) -> None:
    ran = run("--server", echo.target, "--model", "look", "--image", PUPPER, "--size", "5x3", "--scale", "raw")
    assert ran.code == 2
    assert "expected size 6x4, as the input is float32 (?, 4, 6, 3), got 5x3" in ran.err
    assert not [call for call in echo.calls if call.method == "Predict"]


def test_labels_name_the_classes(run: Any, echo: FakeServer, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nfox\n")
    ran = run("--server", echo.target, "--model", "look", "--image", PUPPER, "--labels", names, "--top", 2)
    assert [line.split() for line in ran.out.splitlines()[1:3]] == [["dog", "0.7000"], ["fox", "0.2000"]]


def test_encoded_sends_the_files_bytes(run: Any, fake_server: FakeServer) -> None:
    fake_server.add_model(
        "size",
        lambda data: np.array([len(value) for value in data], np.int64),
        inputs={"data": TensorSpec("string", (None,))},
        outputs={"bytes": TensorSpec("int64", (None,))},
    )
    for extra in ([], ["--encoded"]):  # a string input says so by itself
        ran = run("--server", fake_server.target, "--model", "size", "--image", PUPPER, *extra)
        assert f"[{Path(PUPPER).stat().st_size}]" in ran.out


def test_height_and_width_are_filled_in(run: Any, fake_server: FakeServer) -> None:
    fake_server.add_model(
        "shape",
        lambda image, height, width: np.stack([height, width]),
        inputs={
            "image": TensorSpec("uint8", (1, None, None, 3)),
            "height": TensorSpec("int32", ()),
            "width": TensorSpec("int32", ()),
        },
        outputs={"size": TensorSpec("int32", (2,))},
    )
    ran = run("--server", fake_server.target, "--model", "shape", "--image", PUPPER)
    assert "[480 640]" in ran.out


@pytest.mark.parametrize(
    ("shape", "size"), [((None, 3, None, None), "[480 640]"), ((None, None, None), "[480 640]"), (None, "[480 640]")]
)
def test_height_and_width_are_the_pictures_in_any_layout(
    run: Any, fake_server: FakeServer, shape: Any, size: str
) -> None:
    pixels = TensorSpec("int64", (1,))
    fake_server.add_model(
        "shape",
        lambda image, height, width: np.concatenate([height, width]),
        inputs={"image": TensorSpec("uint8", shape), "height": pixels, "width": pixels},
        outputs={"size": TensorSpec("int64", (2,))},
    )
    assert size in run("--server", fake_server.target, "--model", "shape", "--image", PUPPER).out


def test_integers_that_are_not_a_map_are_printed_unchanged(run: Any, fake_server: FakeServer) -> None:
    fake_server.add_model(
        "tokens",
        lambda x: np.arange(160, dtype=np.int64).reshape(10, 16),
        inputs={"x": TensorSpec("int32", ())},
        outputs={"ids": TensorSpec("int64", (10, 16))},
    )
    out = run("--server", fake_server.target, "--model", "tokens", "--input", "x=0").out
    assert "ids: int64 (10, 16)" in out
    assert "segmentation map" not in out


def test_a_file_whose_numbers_would_not_survive_is_refused(run: Any, double: FakeServer, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([0.5, 1e300]))
    ran = run("--server", double.target, "--model", "double", "--input", f"x=@{tmp_path}/x.npy")
    assert ran.code != 0
    assert "1e+300 at [1] cannot be cast to float32 without loss" in ran.err
    assert [call.method for call in double.lookups] == ["GetModelMetadata"]


def test_a_file_of_float64_fits_a_float32_input(run: Any, double: FakeServer, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([0.5, 1.5]))
    ran = run("--server", double.target, "--model", "double", "--input", f"x=@{tmp_path}/x.npy")
    assert "y: float32 (2,) [1. 3.]" in ran.out


def test_embedded_models_ignore_the_environment(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFS_MODEL", "resnet")
    monkeypatch.setenv("TFS_SERVER", "far-away:8500")
    assert run("--embedded", "--image", PUPPER).out.startswith("colors version 1")


def test_versions_labels_and_signatures_are_sent(run: Any, fake_server: FakeServer) -> None:
    number = TensorSpec("int32", ())
    for version in (1, 2):
        for signature in ("serving_default", "other"):
            fake_server.add_model(
                "v",
                lambda x, shift=10 * version + (signature == "other"): x + shift,
                inputs={"x": number},
                outputs={"y": number},
                version=version,
                signature=signature,
            )
    fake_server.set_label("v", "stable", 1)
    base = ("--server", fake_server.target, "--model", "v", "--input", "x=0")
    assert "y: int32 () 20" in run(*base).out
    assert "y: int32 () 10" in run(*base, "--version", 1).out
    assert "y: int32 () 11" in run(*base, "--label", "stable", "--signature", "other").out


def one_line(ran: Ran) -> str:
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("tfs-predict: ")
    return ran.err


def test_usage_errors_end_with_2(run: Any, echo: FakeServer, tmp_path: Path) -> None:
    base = ("--server", echo.target, "--model", "look")
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    np.savez(tmp_path / "two.npz", a=[1], b=[2])
    for arguments, message in [
        ((), "nothing to send"),
        (("--image", PUPPER), "no model given"),
        ((*base, "--image", "missing.jpg"), "'missing.jpg': No such file"),
        ((*base, "--image", "https://example.com/a.jpg"), "'https://example.com/a.jpg' is a URL, expected a file"),
        ((*base, "--image", text), "not a picture in an allowed format"),
        ((*base, "--input", "image"), "expected --input NAME=JSON"),
        ((*base, "--input", "image=[1,"), "is not JSON"),
        ((*base, "--input", "image=@missing.npy"), "cannot read 'missing.npy': No such file"),
        ((*base, "--input", f"image=@{PUPPER}"), "is not a .npy file of numbers"),
        ((*base, "--input", f"image=@{tmp_path}/two.npz"), "is an archive of arrays"),
        ((*base, "--image", PUPPER, "--dtype", "foo"), "expected a dtype, got 'foo'"),
        ((*base, "--image", PUPPER, "--dtype", "string"), "string cannot hold a picture"),
        ((*base, "--image", PUPPER, "--dtype", "uint8", "--scale", "tf"), "expected dtype float32, as the input is"),
        ((*base, "--image", PUPPER, "--embedded"), "use one"),
        ((*base, "--input", "z=1"), "unknown input 'z'; the inputs are: image: float32 (?, 4, 6, 3)"),
        ((*base, "--input", 'image="text"'), "expects float32"),
        ((*base, "--image", PUPPER, "--signature", "nope"), "has no signature 'nope'"),
        ((*base, "--image", PUPPER, "--image-input", "nope"), "unknown input 'nope'"),
        ((*base, "--image", PUPPER, "--version", 1, "--label", "x"), "expected a version or a label"),
        ((*base, "--image", PUPPER, "--labels", "missing.txt"), "cannot read 'missing.txt': No such file"),
        ((*base, "--image", PUPPER, "--timeout", -1), "--timeout: expected seconds above 0, or inf for no limit"),
        ((*base, "--image", PUPPER, "--save-mask", tmp_path / "m.png"), "--draw draws detections and label maps"),
        (("--image", PUPPER, "--embedded", "--version", "9"), "the demo models have version 1 only, got --version 9"),
        (("--image", PUPPER, "--embedded", "--label", "imagenet"), "no version labels (class names: --labels)"),
        (("--image", PUPPER, "--embedded", "--model", "nope"), "unknown embedded model 'nope': expected colors"),
        (("--image", PUPPER, "--model", "m", "--server", "localhost"), "expected host:port"),
        (("--input", "x=1", "--model", "m", "--save-mask", "m.png"), "--draw applies to pictures: use --image too"),
    ]:
        ran = run(*arguments)
        assert ran.code == 2, arguments
        assert message in one_line(ran), arguments


@pytest.mark.parametrize(
    "bad", [("--size", "big"), ("--size", "0x5"), ("--top", "0"), ("--scale", "zoom"), ("--output-nam", "x")]
)
def test_bad_arguments_end_with_2_and_one_line(run: Any, bad: tuple[str, ...]) -> None:
    ran = run("--image", PUPPER, *bad)
    assert ran.code == 2
    assert "(tfs-predict --help shows the options)" in one_line(ran)


@pytest.mark.parametrize(
    ("bad", "hint"),
    [
        (("--maen", "0.5"), "unrecognized arguments: --maen 0.5: did you mean --mean?"),
        (("--images=x.png",), "did you mean --image?"),
        (("--mean", "-1,0,1"), "expected one argument; if the value begins with '-', write --mean=VALUE"),
        (("--save-mask",), "write --draw=VALUE"),
    ],
)
def test_errors_of_arguments_have_hints(run: Any, bad: tuple[str, ...], hint: str) -> None:
    assert hint in one_line(run("--image", PUPPER, *bad))


def test_a_closed_port_ends_with_3(run: Any) -> None:
    with socket.socket() as held:  # bound, not listening: nobody else gets the port meanwhile
        held.bind(("127.0.0.1", 0))
        ran = run("--server", f"127.0.0.1:{held.getsockname()[1]}", "--model", "m", "--image", PUPPER)
    assert ran.code == 3
    assert "UNAVAILABLE" in one_line(ran)


def test_an_unknown_model_ends_with_4(run: Any, echo: FakeServer) -> None:
    ran = run("--server", echo.target, "--model", "nope", "--image", PUPPER)
    assert ran.code == 4
    assert "Servable not found for request: Latest(nope)" in one_line(ran)
    ran = run("--server", echo.target, "--model", "look", "--image", PUPPER, "--label", "imagenet")
    assert "Unrecognized servable version label (for class names, use --labels): imagenet" in one_line(ran)


def test_a_refusing_model_ends_with_4(run: Any, fake_server: FakeServer) -> None:
    def refuse(x: np.ndarray) -> None:
        raise InvalidArgumentError("x is not to my taste")

    number = TensorSpec("int32", ())
    fake_server.add_model("m", refuse, inputs={"x": number}, outputs={"y": number})
    ran = run("--server", fake_server.target, "--model", "m", "--input", "x=1")
    assert ran.code == 4
    assert "INVALID_ARGUMENT: x is not to my taste" in one_line(ran)


def test_a_message_over_the_servers_limit_ends_with_4(run: Any) -> None:
    picture = TensorSpec("uint8", (None, None, None, 3))
    with FakeServer(ServerConfig(channel_arguments={"grpc.max_receive_message_length": 1000})) as server:
        server.add_model("m", lambda image: image, inputs={"image": picture}, outputs={"same": picture})
        ran = run("--server", server.target, "--model", "m", "--image", PUPPER)
    assert ran.code == 4
    assert "RESOURCE_EXHAUSTED" in one_line(ran)
    assert "The server refused the request" in ran.err


def test_an_expired_deadline_ends_with_5(run: Any, fake_server: FakeServer) -> None:
    number = TensorSpec("int32", ())

    def slow(x: np.ndarray) -> np.ndarray:
        time.sleep(1)
        return x

    fake_server.add_model("slow", slow, inputs={"x": number}, outputs={"y": number})
    ran = run("--server", fake_server.target, "--model", "slow", "--input", "x=1", "--timeout", 0.3)
    assert ran.code == 5
    assert "DEADLINE_EXCEEDED" in one_line(ran)


def test_help_shows_examples_and_exit_codes(run: Any) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert "tfs-predict --image pupper.jpg --embedded" in ran.out
    assert "exit codes:" in ran.out


def test_it_imports_only_numpy_and_pillow_in_addition_to_grpc(double: FakeServer) -> None:
    """protobuf and httpx would make every start slower for nothing."""
    script = (
        "import sys; from tfs_client.cli.predict.command import main; "
        f"code = main(['--server', {double.target!r}, '--model', 'double', '--input', 'x=[1]']); "
        "print(code, [m for m in ('google.protobuf', 'httpx', 'PIL', 'rich') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "0 []"


SCRIPT = "from tfs_client.cli.predict.command import script; script()"


@pytest.mark.parametrize("extra", [[], ["--json", "--model", "segment"]], ids=["short", "long"])
def test_a_closed_pipe_ends_it_quietly(extra: list[str]) -> None:
    command = [sys.executable, "-c", SCRIPT, "--embedded", "--image", PUPPER, *extra]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is written
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_one_line_and_1() -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, "--embedded", "--image", PUPPER],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "No space left" in ran.stderr


def test_the_deadline_error_names_the_commands_option() -> None:
    command = [sys.executable, "-c", SCRIPT, "--embedded", "--image", PUPPER, "--timeout", "0.0001"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 5
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.endswith("--timeout S sets another limit.\n")


def test_a_rest_server_is_supported(fake_server, capsys):
    vector = TensorSpec("float32", (None,))
    fake_server.add_model("m", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})
    assert command.main(["--server", fake_server.rest_url, "--model", "m", "--input", "x=[1, 2]", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"]["y"]["values"] == [2.0, 4.0]


def test_token_and_metadata_are_sent(fake_server, tmp_path, monkeypatch, capsys):
    vector = TensorSpec("float32", (None,))
    fake_server.add_model("m", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})
    (tmp_path / "token").write_text("secret\n")
    arguments = ["--server", fake_server.target, "--model", "m", "--input", "x=[1]"]
    assert command.main([*arguments, "--token", f"@{tmp_path / 'token'}", "--metadata", "x-team=vision"]) == 0
    told = fake_server.calls[-1].metadata
    assert (told["authorization"], told["x-team"]) == ("Bearer secret", "vision")
    assert command.main([*arguments, "--ca", "nowhere.pem"]) == 2
    assert "nowhere.pem" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--embedded", "--token", "t"], "--embedded and --token cannot be combined"),
        (["--embedded", "--tls"], "--embedded and --tls"),
        (["--embedded", "--metadata", "a=b"], "--embedded and --metadata"),
        (["--encoded", "--size", "2x2"], "--encoded and --size"),
        (["--encoded", "--dtype", "float32"], "--encoded and --dtype"),
        (["--input", "x=1", "--input", "x=2"], "--input x appears more than once: use it once"),
        (["--input", "x=1", "--image-input", "x"], "--image-input and --input both set 'x'"),
        (["--server", "http://me:secret@localhost:1", "--model", "m", "--token", "t"], "--token (TFS_TOKEN) and"),
        (["--model", "m", "--token", "t", "--metadata", "authorization=x"], "'authorization' in --metadata"),
    ],
)
def test_arguments_that_contradict_each_other(arguments, words, tmp_path, capsys):
    Image.new("RGB", (4, 4)).save(tmp_path / "picture.png")
    assert command.main(["--image", str(tmp_path / "picture.png"), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "secret" not in said
