"""The commands read variables and profiles as the library does, and say where a wrong value comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfs_client import TensorSpec
from tfs_client.cli.admin.command import main as admin
from tfs_client.cli.predict.command import main as predict
from tfs_client.recordings import RecordingFile
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None, 2))
INPUT = ("--input", "x=[[1, 2]]", "--json")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        for version in (1, 2):
            server.add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR}, version=version)
        server.add_model("other", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        yield server


@pytest.fixture
def profile(tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, with a profile of the server."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "tfs_client").mkdir()
    path = tmp_path / "tfs_client" / "profiles.toml"
    path.write_text(
        f'[here]\nserver = "grpc://{server.target}"\nmodel = "m"\nversion = 1\nmetadata = {{ x-a = "b" }}\n'
    )
    return path


def test_a_profile_replaces_the_options(profile: Path, server: FakeServer, capsys: Any, tmp_path: Path) -> None:
    named = ("--profile", "here")
    assert admin(["status", *named]) == 0
    assert capsys.readouterr().out == "m  1  AVAILABLE\n"
    assert admin(["signatures", *named]) == 0
    assert "m version 1" in capsys.readouterr().out
    assert admin(["wait", *named, "--model", "m", "--model", "other"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["m is ready", "other is ready"]
    assert admin(["typed-client", "m", "-o", str(tmp_path / "typed.py"), *named]) == 0
    assert "m at grpc://" in capsys.readouterr().out
    assert predict([*named, *INPUT]) == 0
    assert '"version": 1' in capsys.readouterr().out
    assert predict([*named, "--model", "other", *INPUT]) == 0
    assert [call.model for call in server.calls if call.method == "Predict"] == ["m", "other"]
    assert {dict(call.metadata).get("x-a") for call in server.calls + server.lookups} == {"b"}


def test_the_profile_without_a_name_does_not_apply_to_a_named_server(
    profile: Path, server: FakeServer, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile.write_text(profile.read_text().replace("[here]", "[default]") + 'token = "secret"\n')
    profile.chmod(0o600)
    assert predict([*INPUT]) == 0
    other = server.target.replace("127.0.0.1", "localhost")
    assert predict([*INPUT, "--server", other, "--model", "m"]) == 0
    assert predict([*INPUT, "--server", server.target, "--profile", "default"]) == 0  # its own server
    tokens = [dict(call.metadata).get("authorization") for call in server.calls]
    assert tokens == ["Bearer secret", None, "Bearer secret"]
    assert admin(["status", "--server", other, "--model", "m"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["m  2  AVAILABLE", "m  1  AVAILABLE"]
    assert admin(["config", "--server", other]) == 0
    reason = f"its server is grpc://{server.target}, and the server in use is {other} (argument)"
    left = "left out: model, version, metadata, token"
    assert capsys.readouterr().out.endswith(f"[default] does not apply: {reason}; {left}\n")
    for run in (lambda *more: admin(["status", *more]), lambda *more: predict([*INPUT, *more])):
        assert run("--server", other, "--profile", "default") == 2
        text = capsys.readouterr().err
        assert f"{profile} [default]: its credentials (token, metadata) are for its own server only; {reason}" in text
        assert "or pass your own --token and your own --metadata of the same keys" in text
        assert "secret" not in text


def test_variables_set_the_time_limit_and_the_profile(
    profile: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFS_PROFILE", "here")
    assert admin(["status"]) == 0
    for run in (lambda *more: admin(["status", *more]), lambda *more: predict([*INPUT, *more])):
        monkeypatch.setenv("TFS_TIMEOUT", "0")
        assert run() == 2
        assert "TFS_TIMEOUT: expected seconds above 0, or inf for no limit, got '0'" in capsys.readouterr().err
        assert run("--timeout", "20") == 0
    monkeypatch.setenv("TFS_TIMEOUT", "0.05")
    assert admin(["wait", "--model", "unknown"]) == 5


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "soon"])
def test_a_time_limit_of_a_command_is_above_zero(capsys: Any, limit: str) -> None:
    error = f"argument --timeout: expected seconds above 0, or inf for no limit, got '{limit}'"
    assert admin(["health", f"--timeout={limit}"]) == 2
    assert error in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        predict([*INPUT, f"--timeout={limit}"])
    assert caught.value.code == 2
    assert error in capsys.readouterr().err


def test_bulk_runs_use_the_profile(profile: Path, server: FakeServer, tmp_path: Path, capsys: Any) -> None:
    from PIL import Image

    server.add_model(
        "look",
        lambda image: {"y": np.ones((len(image), 2), np.float32)},
        inputs={"image": TensorSpec("uint8", (None, 4, 4, 3))},
        outputs={"y": VECTOR},
    )
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png")
    pictures = ("--image", str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    assert predict([*pictures, "--profile", "here", "--model", "look", "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert {dict(call.metadata)["x-a"] for call in server.calls} == {"b"}


@pytest.mark.parametrize("command", ["status", "health", "reload", "record"])
def test_replicas_are_refused_where_one_server_is_meant(
    command: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFS_SERVER", "a:1,b:1")
    (tmp_path / "c").write_text("model_config_list {}")
    more = {"reload": ["--config", str(tmp_path / "c"), "--yes"], "record": ["-o", str(tmp_path / "calls")]}
    assert admin([command, *more.get(command, [])]) == 2
    refusal = f"{command} needs a single server, got 2 replicas: choose one with --server host:port"
    assert refusal in capsys.readouterr().err


def test_contradictions_name_the_sources(profile: Path, capsys: Any) -> None:
    assert admin(["status", "--profile", "here", "--tls"]) == 2
    assert f"write grpcs:// (server: {profile} [here], tls: argument)" in capsys.readouterr().err


def test_commands_without_a_server_take_no_profile(capsys: Any, tmp_path: Path) -> None:
    RecordingFile.write(str(tmp_path / "calls"), [])
    for words in (["warmup", "d", "--check"], ["cassette", "show", str(tmp_path / "calls")]):
        with pytest.raises(SystemExit):
            admin_parsed(["--profile", "here", *words])
        assert "calls no server: leave --profile out" in capsys.readouterr().err
    assert predict(["--embedded", "--profile", "here", *INPUT]) == 2
    assert "--embedded and --profile cannot be combined" in capsys.readouterr().err
    assert admin(["signatures", str(tmp_path), "--profile", "here"]) == 2
    assert "--profile is for a served model" in capsys.readouterr().err


def admin_parsed(words: list[str]) -> object:
    from tfs_client.cli.admin.arguments import parse

    return parse(words)
