"""The examples that export a model, serve it and call it: they end by themselves and print what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tfs_client import PredictClient
from tfs_client.server import Server
from tfs_client.server.backends import saved_model

pytestmark = pytest.mark.peer

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = 110  # seconds for one script, which takes a few on an idle machine, and ResNet-50 some twenty


def run(name, *arguments):
    """The output of a script. A script that leaves something unclosed fails."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr, done.stderr
    return done.stdout


def said(printed, way):
    """The rest of the line that begins with a way of calling."""
    (found,) = re.findall(rf"^{way}:? +(.*)$", printed, re.MULTILINE)
    return found


def test_digits_are_classified_alike_over_grpc_and_rest():
    printed = run("digits_mlp.py")
    origin, accuracy = re.search(r"digits: \d+, (.*); ([\d.]+)% ", printed).groups()
    assert origin in ("scikit-learn's", "drawn by this script")
    assert float(accuracy) > 90
    assert "image: float32 (?, 8, 8)" in printed
    assert said(printed, "gRPC") == said(printed, "REST")
    assert re.match(r"(\d ){5}", said(printed, "gRPC"))


def test_a_signature_named_call_is_called_by_its_name():
    printed = run("call_signature.py")
    assert 'Serving signature key "serving_default" not found.' in printed
    assert said(printed, "gRPC") == said(printed, "REST")
    total = float(re.search(r"total \[([\d.]+)", printed)[1])
    assert total == pytest.approx(100 * 1.05**10, rel=1e-5)


def test_a_label_map_has_the_requested_size():
    printed = run("label_map.py")
    assert "weights set by hand" in printed
    assert said(printed, "gRPC") == said(printed, "REST")
    assert said(printed, "gRPC").startswith("int64 (1, 15, 40), sky ")
    rows = [line for line in printed.splitlines() if re.fullmatch("[.:#]{40}", line)]
    assert len(rows) == 15
    assert rows[0] == "." * 40, "the top of the picture is sky"
    assert set(rows[-1]) == {":"}, "and its bottom grass"


def test_resnet50_answers_alike_over_grpc_and_rest():
    printed = run("resnet50.py")
    assert "random weights" in printed
    grpc, rest = (re.findall(r"class (\d+) ([\d.]+)", said(printed, way)) for way in ("gRPC", "REST"))
    assert grpc == rest
    assert len(grpc) == 3


def test_an_examples_export_keeps_old_versions_and_gets_the_next_number(tmp_path):
    base = tmp_path / "interest"
    for _ in range(2):
        run("call_signature.py", base)
    assert sorted(folder.name for folder in base.iterdir()) == ["1", "2"]
    servable = saved_model.load(str(base / "2"))
    with Server() as server, PredictClient(server.target, model="interest") as client:
        server.add_model("interest", servable)
        assert client.predict({"amount": [2.0], "years": 1}, signature="call")["total"].tolist() == [pytest.approx(2.1)]
    servable.close()
