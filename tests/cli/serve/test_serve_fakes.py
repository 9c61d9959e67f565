"""tfs-serve --fake: which models it serves, what they answer, and which fail the start."""

from __future__ import annotations

import logging

import numpy as np
import onnx_files
import pytest
import tflite_bytes
from exported_signatures import export

from tfs_client import InvalidArgumentError, PredictClient, Signature, TensorSpec
from tfs_client.cli.serve import command
from tfs_client.cli.serve.fake_paths import Fakes, name_and_path
from tfs_client.cli.serve.fakes import add_fakes
from tfs_client.cli.serve.flags import FLAGS, read
from tfs_client.cli.serve.server_options import NOT_FOR_FAKES, setup
from tfs_client.server import Server

X = np.ones((3, 2), np.float32)
CONTRACT = """{"model": "m", "version": 5, "signatures": {"serving_default": {
    "inputs": {"x": {"dtype": "float32", "shape": [null, 2]}},
    "outputs": {"y": {"dtype": "int64", "shape": [null]}}}}}"""


@pytest.fixture
def folder(tmp_path):
    """The folder of the model net with version 3, and a contract of the model m."""
    (tmp_path / "net" / "3").mkdir(parents=True)
    content = onnx_files.model([onnx_files.value("x")], [onnx_files.value("y")])
    (tmp_path / "net" / "3" / "model.onnx").write_bytes(content)
    (tmp_path / "contract.json").write_text(CONTRACT)
    return tmp_path


def test_paths_may_be_repeated_listed_and_named(folder):
    made = setup(read([f"--fake={folder}/net,n={folder}/net", f"--fake= {folder}/contract.json ,"]))
    assert made.fakes.paths == (f"{folder}/net", f"n={folder}/net", f"{folder}/contract.json")
    assert setup(read(["--embedded"])).fakes.paths == ()


def test_an_existing_path_is_not_split(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("a,b", "date=2024", "n=a", "net,n=a"):
        (folder / name).symlink_to(folder / "net")
    given = (f"{folder}/a,b", f"n={folder}/a,b", "date=2024/3", "n=a", f"{folder}/net,date=2024")
    fakes = setup(read([f"--fake={value}" for value in given])).fakes
    assert fakes.paths == (*given[:4], f"{folder}/net", "date=2024")
    named = [
        ("", given[0]),
        ("n", f"{folder}/a,b"),
        ("", given[2]),
        ("", "n=a"),
        ("", f"{folder}/net"),
        ("", "date=2024"),
    ]
    assert [name_and_path(path) for path in fakes.paths] == named


def test_flags_that_choose_the_model_apply_to_fakes(folder):
    made = setup(read([f"--fake={folder}/net", "--saved_model_tags=serve,gpu", "--prefer_tflite_model"]))
    assert (made.fakes.tags, made.fakes.prefer_tflite) == ({"serve", "gpu"}, True)
    export(folder / "both" / "1", {"serving_default": Signature({"x": TensorSpec("float32")}, {})})
    (folder / "both" / "1" / "model.tflite").write_bytes(
        tflite_bytes.model([tflite_bytes.tensor("lite", shape=(2,))], [0], [0])
    )
    for prefer in (False, True):
        with Server() as server, PredictClient(server.target, model="both", timeout=20) as client:
            add_fakes(server, Fakes((f"{folder}/both",), prefer_tflite=prefer))
            assert list(client.signatures()["serving_default"].inputs) == ["lite" if prefer else "x"]
    with Server() as server, pytest.raises(InvalidArgumentError, match="expected a graph with the tags 'gpu', 'serve'"):
        add_fakes(server, Fakes((f"{folder}/both",), frozenset({"gpu", "serve"})))


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        (["--fake=m.json"], []),
        (["--fake=m.json", "--port=1", "--enable_signature_method_name_check", "--saved_model_tags=serve"], []),
        (
            ["--fake=m.json", "--model_name=m"],
            ["--model_name has no effect without --model_base_path; --fake=NAME=PATH names a fake"],
        ),
        (["--embedded", "--model_platform=python"], ["--model_platform has no effect without --model_base_path"]),
        (
            ["--fake=m.json", "--enable_batching", "--num_tflite_pools=2"],
            ["No effect on fakes: --enable_batching, --num_tflite_pools"],
        ),
        (["--fake=m.json", "--model_base_path=/m", "--model_name=m", "--enable_batching"], []),
    ],
)
def test_flags_without_effect_on_fakes_are_logged(caplog, flags, lines):
    setup(read(flags))
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == lines


def test_every_flag_that_has_no_effect_on_fakes_is_a_flag():
    assert {flag.name for flag in FLAGS} >= NOT_FOR_FAKES


def test_fakes_answer_zeros_and_check_shapes(folder, caplog):
    with Server() as server, caplog.at_level(logging.WARNING):
        add_fakes(server, Fakes((f"{folder}/net", f"a b={folder}/net/3", f"{folder}/contract.json")))
        with PredictClient(server.target, timeout=20) as client:
            for model, version in (("net", 3), ("a b", 3), ("m", 5)):
                prediction = client.predict({"x": X}, model=model)
                assert prediction.model.version == version
                assert not prediction["y"].any()
            with pytest.raises(InvalidArgumentError, match="Cannot feed value of shape"):
                client.predict({"x": np.ones(3, np.float32)}, model="net")
    line = f"Model net version 3 is a fake made of {folder}/net: it checks requests and returns zeros"
    assert line in caplog.messages


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--fake={}/none"], "--fake: '{}/none' cannot be read as a model: No such file or directory"),
        (["--fake=", "--embedded"], "--fake: expected PATH or NAME=PATH, got an empty value"),
        (["--fake= ,"], "--fake: expected PATH or NAME=PATH, got ' ,'"),
        (
            ["--fake={}/net,{}/none"],
            "--fake: '{}/none' cannot be read as a model: No such file or directory; a value that",
        ),
        (
            ["--fake=date=none/m"],
            "--fake: 'none/m' cannot be read as a model: No such file or directory; a value that is",
        ),
        (["--fake={}"], "--fake: '{}' cannot be read as a model: expected saved_model.pb or model.onnx or"),
        (["--fake={}/net,{}/net/3"], "--fake: model 'net' version 3 is given twice; write NAME={}/net/3 to rename one"),
        (["--fake=digits={}/net", "--embedded"], "--fake: the server has a model 'digits' already; write NAME="),
    ],
)
def test_what_cannot_be_served_fails_the_start(folder, capsys, flags, text):
    assert command.main([flag.replace("{}", str(folder)) for flag in flags]) == 255
    out = capsys.readouterr().out.replace(str(folder), "{}")
    assert out.startswith(f"Failed to start server. Error: INVALID_ARGUMENT: {text}")
    assert "--embedded serves demo models" not in out
