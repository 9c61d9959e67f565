"""--engine ray without Ray installed; tests/peers/test_ray.py runs it with Ray."""

from __future__ import annotations

import sys

import pytest

from tfs_client.cli.predict.command import main


def test_without_ray_the_extra_is_named_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "ray.exceptions", raising=False)
    monkeypatch.delitem(sys.modules, "tfs_client.cli.predict.bulk.ray_engine", raising=False)
    command = ["--image", "examples/pupper.jpg", "--embedded", "--engine", "ray", "--output", str(tmp_path / "r.jsonl")]
    assert main(command) == 2
    assert "pip install 'tfs-client[ray]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_the_engines(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--engine {local,ray}" in capsys.readouterr().out
