"""tfs-admin signatures PATH: the signatures of an exported model, and their JSON as a contract."""

from __future__ import annotations

import json

import onnx_files
import pytest

from tfs_client import PredictClient
from tfs_client.cli.admin import command
from tfs_client.testing import FakeServer

TABLE = """net version 3
SIGNATURE        METHOD                      SIDE  ALIAS  DTYPE    SHAPE   OPTIONAL
serving_default  tensorflow/serving/predict  in    x      float32  (?, 2)  -
serving_default  tensorflow/serving/predict  out   y      int64    scalar  -
"""


@pytest.fixture
def folder(tmp_path):
    """The folder of the model net with version 3."""
    folder = tmp_path / "net"
    (folder / "3").mkdir(parents=True)
    outputs = [onnx_files.value("y", onnx_files.INT64, ())]
    (folder / "3" / "model.onnx").write_bytes(onnx_files.model([onnx_files.value("x")], outputs))
    return folder


def test_signatures_of_an_exported_model_are_a_table(folder, capsys):
    assert command.main(["signatures", str(folder)]) == 0
    assert capsys.readouterr() == (TABLE, "")


def test_the_json_of_an_exported_and_of_a_served_model_are_the_same_contract(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TFS_MODEL", raising=False)
    assert command.main(["signatures", str(folder), "--json"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "contract.json").write_text(text)
    with FakeServer.from_signatures(tmp_path / "contract.json") as server:
        for target in (server.target, server.rest_url):
            assert command.main(["signatures", "--server", target, "--model", "net", "--json"]) == 0
            assert json.loads(capsys.readouterr().out) == json.loads(text)
        with PredictClient(server.rest_url, model="net", signatures=tmp_path / "contract.json", timeout=20) as client:
            assert client.predict([[1, 2]])["y"] == 0
    assert command.main(["signatures", str(tmp_path / "contract.json"), "--json"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("option", ["--model=m", "--version=3", "--label=a", "--server=h:1", "--timeout=3", "--tls"])
def test_options_of_a_server_are_refused_with_a_path(folder, capsys, option):
    assert command.main(["signatures", str(folder), option]) == 2
    name = option.partition("=")[0]
    assert f"{name} is for a served model, and PATH for an exported one" in capsys.readouterr().err


def test_a_path_without_a_model_ends_with_2(tmp_path, capsys):
    assert command.main(["signatures", str(tmp_path / "none")]) == 2
    assert "none' cannot be read as a model: No such file or directory" in capsys.readouterr().err
