"""Profiles: which file and table a name selects, how values are read, and what is wrong with them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from certificates import certificates
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import ConfigError, PredictClient
from tfs_client._flows.configuration import profiles
from tfs_client._flows.configuration.resolved import Configuration


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "tfs_client").mkdir()
    return tmp_path / "tfs_client"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def read(profile: Any = None, **options: Any) -> Configuration:
    return Configuration({}, profile, **{"environment": {}, **options})


def problem(profile: Any = None, **options: Any) -> str:
    (text,) = read(profile, **options).problems
    return text


NAMED = """
[default]
server = "default:1"
[staging]
server = "staging:1"
["with.dot#and hash"]
server = "quoted:1"
"""


def test_a_name_selects_a_table_of_the_users_file(folder: Path) -> None:
    path = write(folder / "profiles.toml", NAMED)
    assert read().target == "default:1"
    assert read("staging").target == "staging:1"
    assert read("with.dot#and hash").target == "quoted:1"
    assert read(environment={"TFS_PROFILE": "staging"}).target == "staging:1"
    assert read("default", environment={"TFS_PROFILE": "staging"}).target == "default:1"
    assert read("staging").found["server"].source == f"{path} [staging]"
    assert "server" not in read(environment=None).found


def test_a_path_selects_a_file_and_perhaps_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "own.toml", f'server = "top:1"\n{NAMED}')
    assert read(path).target == "top:1"
    assert read(str(path)).target == "top:1"
    assert read(f"{path}#staging").target == "staging:1"
    assert read(f"{path}#staging").found["server"].source == f"{path} [staging]"
    assert profiles.profile_of(f"{path}#staging").name == f"{path}#staging"


def test_a_missing_default_profile_is_none(folder: Path) -> None:
    assert not read().problems
    write(folder / "profiles.toml", '[staging]\nserver = "a:1"\n')
    found = read()
    assert found.looked_at is not None
    assert (found.problems, found.looked_at.state) == ([], "missing")


@pytest.mark.parametrize(
    ("profile", "text", "words"),
    [
        ("nope", "[a]\n[b]", "no table [nope]; the file has [a], [b]"),
        ("nope", None, "profile 'nope': expected a table of {0}/profiles.toml, which does not exist"),
        ("x.tml", None, "profile 'x.tml': expected a table of {0}/profiles.toml, which does not exist"),
        ("{0}/own.toml#zz", "server = 'a:1'\n[retry]\n[b]\n", "own.toml: no table [zz]; the file has [b]"),
        ("{0}/own.toml#server", "server = 'a:1'", "own.toml: no table [server]; the file has no profiles in tables"),
        ("{0}/own.toml", "[x]\n", "before the first table, got only the tables [x]"),
        ("{0}/none.toml", "", "none.toml: the file with the profile does not exist"),
        ("{0}/profiles.toml", "[a]\nserver='a:1'", "before the first table, got only the tables [a]"),
        ("{0}/profiles.toml", "server='a:1'\n[metdata]\nx='1'", "unknown key 'metdata': did you mean 'metadata'?"),
        ("a/b", "", "expected a profile as NAME, PATH.toml or PATH.toml#NAME, got 'a/b'"),
        ("{0}/profiles.toml#", "", "expected a profile as NAME, PATH.toml or PATH.toml#NAME"),
        ("", "", "expected a profile as NAME, PATH.toml or PATH.toml#NAME, got ''"),
        (5, "", "expected a profile as NAME, PATH.toml or PATH.toml#NAME, got 5"),
        ("a", "server = 'x:1'\n[a]", "expected tables such as [default], got the key 'server' before the first one"),
        ("a", "a = [", "profiles.toml: invalid TOML: "),
        ("a", "[a]\nb = " + "[" * 100_000, "profiles.toml: invalid TOML: nested too deeply"),
        ("a", "#" * (1 << 20) + "\n", "{0}/profiles.toml: expected a file of at most 1048576 bytes"),
        ("{0}", "", "expected a profile as NAME, PATH.toml or PATH.toml#NAME"),
    ],
)
def test_profiles_that_cannot_be_found_or_read(folder: Path, profile: Any, text: str | None, words: str) -> None:
    if text is not None:
        write(folder / ("own.toml" if "own" in str(profile) else "profiles.toml"), text)
    if isinstance(profile, str):
        profile = profile.format(folder)
    assert words.format(folder) in problem(profile)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.toml").mkdir()
    assert "p.toml: cannot read the file: Is a directory" in problem(tmp_path / "p.toml")


def test_a_profile_of_a_variable_is_named_with_it(folder: Path) -> None:
    assert problem(environment={"TFS_PROFILE": "nope"}).endswith("does not exist (TFS_PROFILE)")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("servr = 'a:1'", "unknown key 'servr': did you mean 'server'?"),
        ("zzz = 1", "unknown key 'zzz': known keys are server, model, version"),
        ("server = 5", "server: expected a target such as 'host:8500', or a list of them, got 5"),
        ("server = ''", "server: expected a target such as 'host:8500', or a list of them, got an empty text"),
        ("server = 'host'", "server: expected host:port"),
        ("server = []", "server: expected host:port"),
        ("server = 'http://me:secret@host:x'", "server: expected http://host:port, got 'http://host:x'"),
        ("model = 3", "model: expected the name of a model, got 3"),
        ("version = '3'", "version: expected a version number, got str"),
        ("version = true", "version: expected a version number, got True"),
        ("version = -1", "version: expected a version number, got -1"),
        ("timeout = '3'", "timeout: expected seconds above 0, or inf for no limit, got '3'"),
        ("timeout = 0", "timeout: expected seconds above 0, or inf for no limit, got 0"),
        ("timeout = true", "timeout: expected seconds above 0, or inf for no limit, got True"),
        ("timeout = nan", "timeout: expected seconds above 0, or inf for no limit, got nan"),
        ("token = 12345", "token: expected a token, or @FILE, got 12345"),
        ('token = "secret\\nsecret"', "token: expected a line of printable ASCII text"),
        ("token = '@files/token'", "token: cannot read"),
        ("token_file = 'none'", "token_file: cannot read"),
        ("ca = 'none.pem'", "ca: cannot read the PEM file"),
        ("tls = 'yes'", "tls: expected true or false, got str"),
        ("metadata = 'a=b'", "metadata: expected a table of texts, got str"),
        ("metadata = { x = 1 }", "metadata: 'x': expected text, got int"),
        ("metadata = { X = 'secret' }", "metadata: expected a metadata key of lower-case letters"),
        ('metadata = { x = "secret\\n" }', "metadata: metadata 'x': expected printable ASCII text"),
        ("retry = 3", "retry: expected true, false or a table, got 3"),
        ("retry = { attemps = 3 }", "retry: unknown key 'attemps': did you mean 'attempts'?"),
        ("retry = { wait_for_ready = 'no' }", "retry: expected wait_for_ready to be True or False, got 'no'"),
        ("keepalive = { idle = 'no' }", "keepalive: expected keepalive idle to be True or False, got 'no'"),
        ("retry = { attempts = 1 }", "retry: expected 2 to 5 attempts, got 1"),
        (
            "retry = { codes = 'UNAVAILABLE' }",
            "retry: expected codes as a list of names such as 'UNAVAILABLE', got str",
        ),
        ("retry = { codes = ['GONE'] }", "retry: expected the name of a status code such as 'UNAVAILABLE', got 'GONE'"),
        ("keepalive = { interval = 0 }", "keepalive: expected keepalive interval of 1 second to a day, got 0"),
        ("compression = 'zstd'", "compression: expected compression 'gzip', 'deflate' or None, got 'zstd'"),
        ("compression = true", "compression: expected compression 'gzip' or 'deflate', or false, got True"),
        ("rest_format = 'rows'", "rest_format: expected 'auto', 'row' or 'columnar', got 'rows'"),
        ("max_reply_bytes = 0", "max_reply_bytes: expected max_reply_bytes in bytes, 1 or more"),
        ("max_inflated_bytes = '1'", "max_inflated_bytes: expected bytes, 1 or more, or false for no limit, got str"),
        ("channel_options = { x = [1] }", "channel_options: expected channel options from str to int"),
        ("channel_options = { x = ['secret'] }", "channel_options: expected channel options from str to int, str or"),
    ],
)
def test_a_bad_value_is_named_with_its_file_and_key(tmp_path: Path, line: str, words: str) -> None:
    path = write(tmp_path / "p.toml", line)
    text = problem(path)
    assert text.startswith(str(path))
    assert words in text
    assert "secret" not in text


def test_a_missing_token_file_is_named_once(tmp_path: Path) -> None:
    path = write(tmp_path / "p.toml", "token_file = 'none'")
    cause = f"cannot read {str(tmp_path / 'none')!r}: No such file or directory"
    assert problem(path) == f"{path}, token_file: {cause}"


def test_all_problems_are_raised_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "p.toml", "server = 'a'\nversion = -1\nzzz = 1")
    monkeypatch.setenv("TFS_TIMEOUT", "0")
    with pytest.raises(ConfigError) as caught:
        PredictClient(profile=path)
    assert str(caught.value).count("\n") == 3
    assert "TFS_TIMEOUT: expected seconds above 0, or inf for no limit, got '0'" in str(caught.value)


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(tmp_path)
    (inner / "ca.pem").write_bytes(certificates().ca)
    (inner / "token").write_text("abc\n")
    write(inner / "p.toml", "server = 'a:1'\nca = 'ca.pem'\ntoken_file = 'token'")
    with PredictClient(profile="inner/p.toml") as client:
        assert client._settings.defaults.token == "abc"
        monkeypatch.chdir("/")  # files are read when a connection is made
        assert client._settings.connection.tls.pem("ca") == certificates().ca
    monkeypatch.chdir(tmp_path)
    found = read("inner/p.toml").found
    assert found["token"].source == "inner/p.toml"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("token = 'abc'", r"\(token\): run chmod 600 .*p\.toml, or replace token by token_file$"),
        ("proxy = 'http://me:abc@h:1'", r"\(proxy\): run chmod 600 .*p\.toml$"),
        ("metadata = { x-api-key = 'abc' }", r"\(metadata 'x-api-key'\): run chmod 600 .*p\.toml$"),
    ],
)
def test_secrets_that_others_can_read_are_warned_about_once(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path / "p.toml", text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(path).problems == []
    path.chmod(0o644)
    with pytest.warns(UserWarning, match=r"other users can read secrets in .*p\.toml " + words) as caught:
        PredictClient("a:1", profile=path).close()
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(path)
        other = write(tmp_path / "other.toml", "token_file = 'token'\nmetadata = { x-team = 'a' }")
        other.chmod(0o644)
        read(other)


SCALARS = st.text(max_size=9) | st.integers() | st.booleans() | st.floats()
TABLES = st.dictionaries(st.text(max_size=5) | st.sampled_from(["attempts", "interval", "codes"]), SCALARS, max_size=2)


@settings(max_examples=50)
@given(SCALARS | st.lists(SCALARS, max_size=2) | TABLES)
def test_values_of_any_type_are_read_or_refused(value: object) -> None:
    from tfs_client._flows.configuration.keys import KEYS

    for reader in KEYS.values():
        with contextlib.suppress(ConfigError):
            reader(value, "/nowhere")
            continue
        with pytest.raises(ConfigError, match=r"expected|cannot read|unknown key"):
            reader(value, "/nowhere")


def test_without_a_parser_of_toml_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "p.toml", "server = 'a:1'")
    for name in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, name, None)
    assert problem(path) == f"{path}: profiles on Python 3.10 need tomli: pip install 'tfs-client[profiles]'"


def test_toml_is_imported_only_where_a_file_is_read(tmp_path: Path) -> None:
    code = (
        "import sys; from tfs_client import PredictClient; PredictClient('a:1').close(); "
        "early = [m for m in sys.modules if m.startswith(('tomllib', 'tfs_client._flows.configuration'))]; "
        "import os; os.environ['TFS_SERVER'] = 'a:1'; PredictClient().close(); print(early, 'tomllib' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "[] False\n"
