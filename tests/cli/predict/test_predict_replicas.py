"""tfs-predict with several servers: replicas that share the pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tfs_client import TensorSpec
from tfs_client._flows.configuration.keys import replicas
from tfs_client.cli.predict.command import main
from tfs_client.testing import FakeServer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("h1:8500", "h1:8500"),
        ("h1:8500,h2:8500", ["h1:8500", "h2:8500"]),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ("http://user:a,b@host:8501", "http://user:a,b@host:8501"),
    ],
)
def test_servers_are_one_target_or_replicas_with_commas_between_them(text, found):
    assert replicas(text) == found


def test_replicas_share_the_pictures(tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        Image.fromarray(np.full((2, 2, 3), number, np.uint8)).save(folder / f"{number:02}.png")
    with FakeServer() as one, FakeServer() as two:
        for server in (one, two):
            server.add_model(
                "first",
                lambda image: image[:, 0, 0, 0].astype(np.int32),
                inputs={"image": TensorSpec("uint8", (None, 2, 2, 3))},
                outputs={"value": TensorSpec("int32", (None,))},
            )
        monkeypatch.setenv("TFS_SERVER", f"{one.target},{two.target}")
        output = tmp_path / "rows.jsonl"
        command = ["--model", "first", "--image", str(folder), "--batch-size", "1", "--quiet"]
        for _ in range(20):  # until both connections stand, calls go to the one that does
            assert main([*command, "--output", str(output), "--overwrite"]) == 0
            if all(any(call.method == "Predict" for call in server.calls) for server in (one, two)):
                break
        else:
            pytest.fail("one of the replicas got no picture")
    assert len(list(map(json.loads, output.read_text().splitlines()))) == 60
