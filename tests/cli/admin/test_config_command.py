"""tfs-admin config: values, sources and problems. The sessions of docs/configuration.md print what the page shows."""

from __future__ import annotations

import json
import re
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest
from certificates import certificates

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
FOLDER = "/home/ada/.config"


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, with the profiles of the page."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "tfs_client").mkdir()
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "tfs_client" / "profiles.toml"
    path.write_text(text)
    path.chmod(0o600)
    (path.parent / "staging.token").write_text("secret-token")
    (path.parent / "staging.pem").write_bytes(certificates().ca)
    return path


def sessions() -> list[tuple[str, str]]:
    """The commands of the page with their output."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    found = [tuple(block.removeprefix("$ ").split("\n", 1)) for block in blocks]
    assert len(found) == 2
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(("line", "expected"), sessions())
def test_sessions_print_what_the_page_shows(
    run: Any, profiles: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: str
) -> None:
    words = shlex.split(line)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("="))
    assert words.pop(0) == "tfs-admin"
    ran = run(*words)
    home = str(profiles.parents[1])
    text = re.sub(" +", " ", (ran.out + ran.err).replace(home, FOLDER))  # the width of the columns depends on the path
    assert [each.rstrip() for each in text.splitlines()] == re.sub(" +", " ", expected).splitlines()
    assert ran.code == (2 if "soon" in line else 0)


def test_the_defaults_of_the_commands(run: Any) -> None:
    ran = run("config", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)
    assert found["options"].pop("metadata") == {}
    assert {one["source"] for one in found["options"].values()} == {"default"}
    assert found["options"]["server"]["value"] == "localhost:8500"
    assert found["options"]["timeout"]["value"] == 30
    assert found["problems"] == []
    assert found["profile"]["state"] == "missing"
    assert run("config").out.endswith("[default] does not exist\n")


def test_secrets_are_not_shown(run: Any, profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.write_text(
        '[default]\nserver = "http://me:hidden@h:1"\nproxy = "http://me:hidden@p:1"\n'
        'metadata = { authorization = "hidden", x-session = "hidden" }\n'
    )
    for json_option in ((), ("--json",)):
        ran = run("config", *json_option)
        assert ran.code == 2  # the server's user and the metadata contradict each other
        profiles.write_text(profiles.read_text().replace("http://me:hidden@h:1", "http://h:1"))
        ran = run("config", "--metadata", "x-api-token=hidden", *json_option)
        assert ran.code == 0
        assert "hidden" not in ran.out + ran.err
        assert "***" in ran.out
        profiles.write_text(profiles.read_text().replace("http://h:1", "http://me:hidden@h:1"))
    monkeypatch.setenv("TFS_TOKEN", "hidden")
    ran = run("config", "--server", "tfs:8500", "--json")
    assert json.loads(ran.out)["options"]["token"] == {"value": "***", "source": "TFS_TOKEN"}
    assert "hidden" not in ran.out + ran.err


def test_it_shows_what_holds(run: Any, profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFS_SERVER", "grpcs://h:1")
    monkeypatch.setenv("TFS_TIMEOUT", "inf")
    options = "channel_options = { 'grpc.http_proxy' = 'me:hidden@p:1', 'grpc.max_send_message_length' = 5 }"
    profiles.write_text(f"[default]\nmetadata = {{ x-team = 'vision', x-b = '1' }}\n{options}\n")
    ran = run("config", "--signature", "scores", "--metadata", "x-b=2", "--metadata", "x-b=3")
    assert "grpc.http_proxy=***, grpc.max_send_message_length=5" in ran.out
    assert re.search(r"^tls +true +TFS_SERVER$", ran.out, re.MULTILINE)
    assert re.search(r"^timeout +inf +TFS_TIMEOUT$", ran.out, re.MULTILINE)
    assert re.search(r"^signature +scores +argument$", ran.out, re.MULTILINE)
    found = json.loads(run("config", "--metadata", "x-b=2", "--metadata", "x-b=3", "--json").out)["options"]["metadata"]
    assert found["x-team"] == {"value": "***", "source": f"{profiles} [default]"}
    assert found["x-b"] == {"value": ["***", "***"], "source": "argument"}


def test_a_profile_that_cannot_be_named_has_no_line(run: Any) -> None:
    for words in (("--profile", "a.toml#"), ("--profile", "")):
        ran = run("config", *words)
        assert ran.code == 2
        assert ran.line.startswith("tfs-admin: expected a profile as NAME, PATH.toml or PATH.toml#NAME, got ")
    assert "the token: expected a line of printable ASCII text" in run("config", "--token", "").err
    assert "expected host:port" in run("config", "--server", "").err


def test_everything_that_is_wrong_is_listed(run: Any, profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFS_SERVER", "nowhere")
    monkeypatch.setenv("TFS_TIMEOUT", "-1")
    profiles.write_text("[default]\nmodell = 'm'\nversion = 3\nlabel = 'a'\ncompression = 'zip'\n")
    ran = run("config", "--token", "two\nlines")
    assert ran.code == 2
    assert ran.out == ""
    lines = ran.err.splitlines()
    wanted = (
        "the token: ",
        "modell",
        "TFS_SERVER: ",
        "TFS_TIMEOUT: ",
        "compression: ",
        "a version or a label",
        "profile",
    )
    assert len(lines) == len(wanted)
    assert [word for word, line in zip(wanted, lines, strict=True) if word not in line] == []
    again = run("config", "--token", "two\nlines", "--json")
    assert again.code == 2
    assert len(json.loads(again.out)["problems"]) == 6


def test_contradictions_are_problems_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFS_SERVER", "http://h:1")
    ran = run("config", "--tls")
    assert ran.code == 2
    assert "write https:// (server: TFS_SERVER, tls: argument)" in ran.err


def test_it_does_not_connect(run: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        assert run("config", "--server", f"127.0.0.1:{listener.getsockname()[1]}").code == 0
        with pytest.raises(BlockingIOError):
            listener.accept()
