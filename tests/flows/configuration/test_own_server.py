"""The credentials of a profile go only to the profile's own server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from certificates import certificates

from tfs_client import ConfigError, PredictClient
from tfs_client._flows.configuration.resolved import Configuration

CREDENTIALS = {
    "token": "token = 'abc-secret'",
    "token_file": "token_file = 'token'",
    "metadata": "metadata = { x-key = 'abc-secret' }",
    "certificate, key": "certificate = 'cert.pem'\nkey = 'key.pem'",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    inner = tmp_path / "tfs_client"
    inner.mkdir()
    (inner / "token").write_text("abc-secret")
    ours = certificates()
    (inner / "cert.pem").write_bytes(ours.client.certificate)
    (inner / "key.pem").write_bytes(ours.client.key)
    return inner


def write(folder: Path, text: str) -> Path:
    path = folder / "profiles.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("name", CREDENTIALS)
@pytest.mark.parametrize("by", ["argument", "TFS_SERVER"])
def test_a_named_profile_with_credentials_refuses_another_server(folder: Path, name: str, by: str) -> None:
    path = write(folder, f"[staging]\nserver = 'a:1'\n{CREDENTIALS[name]}")
    arguments = {"server": "b:2"} if by == "argument" else {}
    for environment, profile in (({}, "staging"), ({"TFS_PROFILE": "staging"}, None)):
        if by == "TFS_SERVER":
            environment["TFS_SERVER"] = "b:2"
        (problem,) = Configuration(arguments, profile, environment=environment).problems
        option = "token" if name == "token_file" else name
        assert f"{path} [staging]: its credentials ({option}) are for its own server only" in problem
        assert f"its server is a:1, and the server in use is b:2 ({by})" in problem
        instead = {"certificate, key": "tls"}.get(option, option)
        assert problem.endswith(f"put them into a profile without server, or pass your own {instead}=")


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_profile_without_a_name_does_not_apply_to_another_server(folder: Path, name: str) -> None:
    write(folder, f"[default]\nserver = 'a:1'\nmodel = 'm'\nunknown = 1\n{CREDENTIALS[name]}")
    found = Configuration({}, environment={"TFS_SERVER": "b:2", "TFS_TIMEOUT": "3"})
    assert (found.problems, set(found.found), found.metadata) == ([], {"server", "timeout"}, ())
    assert found.looked_at is not None
    assert found.looked_at.state == "left out"
    assert "its server is a:1, and the server in use is b:2 (TFS_SERVER); left out: model, " in found.looked_at.reason


@pytest.mark.parametrize(
    ("own", "used"),
    [
        ("'a:1'", "a:1"),
        ("'a:1'", "grpcs://a:1"),
        ("['a:1', 'b:1']", "b:1"),
        ("['a:1', 'b:1']", "b:1,a:1"),
        ("'grpc://a:1'", "a:1"),
        ("'http://a:1/'", "HTTP://a:1"),
    ],
)
def test_the_own_server_named_again_gets_the_credentials(folder: Path, own: str, used: str) -> None:
    write(folder, f"[default]\nserver = {own}\ntoken = 'abc'")
    for profile in (None, "default"):
        found = Configuration({}, profile, environment={"TFS_SERVER": used})
        assert (found.problems, found.found["token"].value) == ([], "abc")


@pytest.mark.parametrize(
    ("own", "used"),
    [
        ("'grpcs://a:1'", "a:1"),
        ("'grpcs://a:1'", "grpc://a:1"),
        ("'https://a:1'", "http://a:1"),
        ("'a:1'", "a:1,b:1"),
        ("'a:1'", "http://a:1"),
        ("'not a server'", "a:1"),
    ],
)
def test_the_same_host_reached_otherwise_is_another_server(folder: Path, own: str, used: str) -> None:
    write(folder, f"[default]\nserver = {own}\ntoken = 'abc'")
    assert "token" not in Configuration({}, environment={"TFS_SERVER": used}).found
    problems = Configuration({}, "default", environment={"TFS_SERVER": used}).problems
    assert any("its credentials (token) are for its own server only" in problem for problem in problems)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("token", {"token": "mine"}),
        ("token_file", {"token": None}),
        ("metadata", {"metadata": {"x-key": "mine"}}),
        ("metadata", {"metadata": None}),
        ("certificate, key", {"tls": True}),
    ],
)
def test_own_credentials_replace_those_of_the_profile(folder: Path, name: str, own: dict[str, Any]) -> None:
    write(folder, f"[staging]\nserver = 'a:1'\nmodel = 'm'\n{CREDENTIALS[name]}")
    with PredictClient((one for one in ["b:2"]), profile="staging", **own) as client:
        assert repr(client) == "PredictClient('b:2', model='m')"
        assert "secret" not in repr(client._settings)
    with pytest.raises(ConfigError, match="are for its own server only"):
        PredictClient("b:2", profile="staging")


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_profile_without_a_server_is_for_any(folder: Path, name: str) -> None:
    write(folder, f"[default]\nmodel = 'm'\n{CREDENTIALS[name]}")
    found = Configuration({"server": "b:2"}, environment={})
    assert (found.problems, found.found["model"].value) == ([], "m")
    assert found.metadata or "token" in found.found or {"certificate", "key"} <= set(found.found)


def test_a_contradiction_names_the_values_that_cause_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, "[default]\nmodel = 'm'\nretry = true\nrest_format = 'row'\n")
    monkeypatch.setenv("TFS_TIMEOUT", "5")
    monkeypatch.setenv("TFS_SERVER", "a:1")
    with pytest.raises(ConfigError) as caught:
        PredictClient()
    assert str(caught.value).endswith(f" (server: TFS_SERVER, rest_format: {path} [default])")
    with pytest.raises(ConfigError) as caught:
        PredictClient(rest_format="auto", version=3, label="x")
    assert str(caught.value) == "expected a version or a label, got both: version 3, label 'x'"
    with pytest.raises(ConfigError, match=r"expected keepalive=Keepalive.*got 5$"):
        PredictClient(rest_format="auto", keepalive=5)  # type: ignore[arg-type]
