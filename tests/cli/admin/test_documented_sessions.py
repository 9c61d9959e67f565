"""The sessions of docs/admin.md with recordings, warmup files and typed clients print what the page shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_signatures import export

from tfs_client import Signature, TensorSpec
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import StatusCode
from tfs_client.recordings import Episode, RecordingFile
from tfs_client.testing import FakeServer

PAGE = Path(__file__).parents[3] / "docs" / "admin.md"
SERVER = "tfs:8500"
INPUTS, OUTPUTS = {"image": TensorSpec("float32", (None, 4))}, {"scores": TensorSpec("float32", (None, 2))}


def call(image: Any, scores: Any, **parts: Any) -> Episode:
    request = predict_messages.write_request(ModelSpec("resnet"), {"image": np.array(image, np.float32)})
    reply = predict_messages.write_response(ModelSpec("resnet", 3), {"scores": np.array(scores, np.float32)})
    user = (("x-user", "ada"),)
    return Episode("Predict", ModelSpec("resnet"), request, reply, metadata=user, seconds=0.0125, **parts)


def failed(image: Any, details: str) -> Episode:
    request = call(image, [[0, 0]]).request
    code = StatusCode.INVALID_ARGUMENT
    return Episode("Predict", ModelSpec("resnet"), request, None, code, details, seconds=0.0031)


def sessions() -> list[tuple[str, str]]:
    """The commands of the page with their output, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = re.findall(
        r"^\$ tfs-admin ((?:cassette|warmup|typed-client) [^\n]*)\n((?:(?!\$ ).*\n)*)", "".join(blocks), re.M
    )
    assert len(lines) >= 7
    return lines


def test_sessions_print_what_the_page_shows(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    export(tmp_path / "models" / "resnet" / "3", {"serving_default": Signature(INPUTS, OUTPUTS)})
    wrong = failed([[1, 2, 3]], "Matrix size-incompatible: In[0]: [1,3], In[1]: [4,2]")
    good = [call([[1, 2, 3, 4]], [[0.25, 0.75]]), call(np.ones((2, 4)), [[0.5, 0.5]] * 2)]
    RecordingFile.write("calls.tfrecord", [*good, wrong])
    RecordingFile.write("new.tfrecord", [good[0], call(np.ones((2, 4)), [[0.5, 0.5], [0.5, 0.625]]), wrong])
    with FakeServer() as server:
        server.add_model(
            "resnet", lambda image: np.zeros((len(image), 2), np.float32), inputs=INPUTS, outputs=OUTPUTS, version=3
        )
        for line, expected in sessions():
            ran = run(*shlex.split(line.replace(SERVER, server.target)))
            printed = (ran.out + ran.err).replace(server.target, SERVER)
            assert [each.rstrip() for each in printed.splitlines()] == expected.splitlines(), line
            if line.startswith("typed-client") and "--check" not in line:  # the next session finds a changed contract
                module = tmp_path / "resnet_client.py"
                module.write_text(module.read_text().replace("(None, 2)", "(None, 1000)"))
