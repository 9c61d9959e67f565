"""Where a client's options come from: arguments, the environment, a profile, in this order."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Awaited
from certificates import certificates
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import TLS, AsyncPredictClient, ConfigError, Keepalive, PredictClient, RetryPolicy, TensorSpec
from tfs_client._flows.configuration.resolved import Configuration
from tfs_client.options import UNSET
from tfs_client.ray import Predictor
from tfs_client.testing import FakeServer

CLIENTS = (PredictClient, AsyncPredictClient)
NONSENSE = {
    "TFS_SERVER": "no server at all",
    "TFS_MODEL": "\x00",
    "TFS_TIMEOUT": "soon",
    "TFS_TOKEN": "two\nlines",
    "TFS_CA": "/no/such/file",
    "TFS_PROFILE": "no/such/profile",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder with the file of profiles, which a test writes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "tfs_client").mkdir()
    return tmp_path / "tfs_client"


def write(folder: Path, text: str, name: str = "profiles.toml") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def settings_of(*arguments: Any, **options: Any) -> Any:
    """The settings of a client."""
    with PredictClient(*arguments, **options) as client:
        return client._settings


@pytest.mark.parametrize("client", CLIENTS)
def test_with_a_target_nothing_is_read(client: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = settings_of("localhost:8500", **dict.fromkeys(("model", "token", "tls", "retry")))
    write(folder, "not TOML")
    for name, text in NONSENSE.items():
        if name != "TFS_MODEL":  # the environment of a process cannot hold a NUL
            monkeypatch.setenv(name, text)
    made = client("localhost:8500")
    assert made._settings == expected
    assert made._settings.defaults.token is None
    assert made._settings.defaults.timeout == 30.0
    assert repr(made) == f"{client.__name__}('localhost:8500')"
    closing = made.close()
    if closing is not None:
        asyncio.run(closing)
    with pytest.raises(ConfigError) as caught:
        client()
    for name in ("TFS_SERVER", "TFS_TIMEOUT", "TFS_TOKEN", "TFS_CA", "TFS_PROFILE"):
        assert name in str(caught.value)
    assert "lines" not in str(caught.value)


@pytest.mark.parametrize("client", CLIENTS)
def test_without_any_server_the_error_says_what_to_do(client: Any, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        client(model="m")
    assert str(caught.value) == (
        "no server is configured: pass a target such as 'localhost:8500', set TFS_SERVER, or set "
        f"server = 'host:port' in the table [default] of {folder / 'profiles.toml'}"
    )


def test_the_environment_configures_a_client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "token").write_text("from-file\n")
    (folder / "ca.pem").write_bytes(certificates().ca)
    monkeypatch.setenv("TFS_SERVER", "a:8500,b:8500")
    monkeypatch.setenv("TFS_MODEL", "resnet")
    monkeypatch.setenv("TFS_TIMEOUT", "2.5")
    monkeypatch.setenv("TFS_TOKEN", f"@{folder / 'token'}")
    monkeypatch.setenv("TFS_CA", str(folder / "ca.pem"))
    found = settings_of()
    assert found.connection.target.addresses == ("a:8500", "b:8500")
    assert found.defaults.spec.name == "resnet"
    assert found.defaults.timeout == 2.5
    assert found.defaults.token == "from-file"
    assert found.connection.tls == TLS(ca=str(folder / "ca.pem"))
    own = settings_of(model=None, timeout=None, token=None, tls=None)
    assert (own.defaults.spec.name, own.defaults.timeout, own.defaults.token, own.connection.tls) == (
        "",
        None,
        None,
        None,
    )
    for name in ("TFS_MODEL", "TFS_TIMEOUT", "TFS_TOKEN", "TFS_CA", "TFS_PROFILE"):
        monkeypatch.setenv(name, "")
    assert settings_of() == settings_of(["a:8500", "b:8500"])  # empty variables count as unset


PROFILE = """
server = "grpcs://gateway:443"
model = "resnet"
label = "stable"
signature = "scores"
timeout = 5
token = "secret-token"
metadata = { x-team = "vision", x-tenant = "blue" }
compression = "gzip"
validate = true
cast = true
request_id = true
proxy = "http://me:secret@proxy:3128"
max_reply_bytes = 1000
max_inflated_bytes = false
authority = "tfs.internal"

[retry]
attempts = 3
codes = ["UNAVAILABLE", "INTERNAL"]

[keepalive]
interval = 30

[channel_options]
"grpc.max_send_message_length" = 1000
"""


def test_a_profile_holds_every_option_that_is_a_plain_value(tmp_path: Path) -> None:
    path = write(tmp_path, PROFILE, "p.toml")
    expected = settings_of(
        "grpcs://gateway:443",
        model="resnet",
        label="stable",
        signature="scores",
        timeout=5,
        token="secret-token",
        metadata={"x-team": "vision", "x-tenant": "blue"},
        compression="gzip",
        validate=True,
        cast=True,
        request_id=True,
        proxy="http://me:secret@proxy:3128",
        max_reply_bytes=1000,
        max_inflated_bytes=None,
        tls=TLS(authority="tfs.internal"),
        retry=RetryPolicy(attempts=3, codes=frozenset({14, 13})),  # type: ignore[arg-type]
        keepalive=Keepalive(interval=30),
        channel_options={"grpc.max_send_message_length": 1000},
    )
    assert settings_of(profile=path) == expected
    assert settings_of(profile=str(path)) == expected


def test_an_argument_of_none_takes_precedence_and_unset_does_not(tmp_path: Path) -> None:
    path = write(tmp_path, PROFILE, "p.toml")
    nothing = dict.fromkeys(
        ("model", "label", "signature", "timeout", "token", "metadata", "compression", "proxy", "retry", "keepalive")
    )
    found = settings_of(profile=path, **nothing)
    assert found.defaults.spec == settings_of("a:1").defaults.spec
    assert (found.defaults.timeout, found.defaults.metadata, found.defaults.token) == (None, (), None)
    connection = found.connection
    assert (connection.compression, connection.proxy, found.defaults.retry, connection.keepalive) == (None,) * 4
    assert settings_of(profile=path, **dict.fromkeys(nothing, UNSET)) == settings_of(profile=path)


def test_with_a_target_the_other_values_of_a_named_profile_apply(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, '[staging]\nserver = "a:1"\nmodel = "m"\ntimeout = 5\n')
    monkeypatch.setenv("TFS_TIMEOUT", "7")
    found = settings_of("b:2", profile="staging")
    assert (found.connection.target.addresses, found.defaults.timeout) == (("b:2",), 5.0)
    assert found.defaults.spec.name == "m"
    assert settings_of(profile="staging").defaults.timeout == 7.0  # without a target, variables come first


VALUES: dict[str, tuple[object, str, str]] = {
    "server": ("argument:1", "variable:2", '"profile:3"'),
    "model": ("argument", "variable", '"profile"'),
    "timeout": (1.5, "2.5", "3.5"),
    "token": ("argument", "variable", '"profile"'),
}
DEFAULTS = {"model": "", "timeout": 30.0, "token": None}
HAVE = st.fixed_dictionaries({key: st.tuples(st.booleans(), st.booleans(), st.booleans()) for key in VALUES})


@settings(max_examples=60)
@given(HAVE)
def test_the_first_source_that_has_a_value_wins(
    tmp_path_factory: Any, have: dict[str, tuple[bool, bool, bool]]
) -> None:
    arguments = {key: VALUES[key][0] for key, (has, _, _) in have.items() if has}
    environment = {f"TFS_{key.upper()}": VALUES[key][1] for key, (_, has, _) in have.items() if has}
    lines = [f"{key} = {VALUES[key][2]}" for key, (_, _, has) in have.items() if has]
    path = write(tmp_path_factory.getbasetemp(), "\n".join(lines), "sources.toml")
    read = Configuration(arguments, path, environment=environment)
    credentials = have["token"] == (False, False, True) and have["server"][2] and any(have["server"][:2])
    assert ["its credentials (token)" in problem for problem in read.problems] == [True] * credentials
    for key, has in have.items():
        values = (VALUES[key][0], VALUES[key][1], VALUES[key][2].strip('"'))
        sources = ("argument", f"TFS_{key.upper()}", str(path))
        winner = next(((value, source) for one, value, source in zip(has, values, sources, strict=True) if one), None)
        found = read.found.get(key)
        assert (found and (str(found.value), found.source)) == (winner and (str(winner[0]), winner[1]))


def test_metadata_of_a_profile_and_of_the_argument_are_joined_by_key(tmp_path: Path) -> None:
    path = write(tmp_path, 'server = "a:1"\nmetadata = { x-a = "1", x-b = "2" }', "p.toml")
    found = settings_of(profile=path, metadata=[("x-b", "3"), ("x-b", "4")])
    assert found.defaults.metadata == (("x-a", "1"), ("x-b", "3"), ("x-b", "4"))


def test_version_label_and_signature_belong_to_the_model_of_their_profile(tmp_path: Path) -> None:
    text = 'server = "a:1"\nversion = 3\nsignature = "s"\n'
    path = write(tmp_path, f'{text}model = "m"', "p.toml")
    assert settings_of(profile=path, model="m").defaults.spec.version == 3
    other = settings_of(profile=path, model="other").defaults.spec
    assert (other.name, other.version, other.signature) == ("other", None, "")
    write(tmp_path, text, "p.toml")
    assert settings_of(profile=path, model="any").defaults.spec.version == 3


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("version = 3\nlabel = 'x'", {}, "got both: version 3 ({0}), label 'x' ({0})"),
        ("tls = false\nauthority = 'x'", {}, "tls = false ({0}) and authority ({0}) contradict each other"),
        (
            "server = 'http://a:1'\ntls = true",
            {},
            "http://a:1 is without TLS, and the options require TLS: write https:// (server: {0}, tls: {0})",
        ),
        ("server = 'http://a:1'\nauthority = 'x'", {}, "write https:// (server: {0}, authority: {0})"),
        (
            "server = 'grpcs://a:1'\ntls = false",
            {},
            "grpcs://a:1 requires TLS, and tls=False turns it off: remove it, or write grpc:// (server: {0}, tls: {0})",
        ),
        ("certificate = 'c'", {}, "expected both certificate and key, got certificate only ({0})"),
        ("token = 'abc'\ntoken_file = 'f'", {}, "{0}: token and token_file contradict each other"),
        ("token = 'abc'\nmetadata.authorization = 'x'", {}, "(token: {0}, metadata 'authorization': {0})"),
    ],
)
def test_contradictions_name_the_sources(tmp_path: Path, text: str, options: dict[str, Any], words: str) -> None:
    path = write(tmp_path, text if "server" in text else f"server = 'a:1'\n{text}", "p.toml")
    with pytest.raises(ConfigError) as caught:
        PredictClient(profile=path, **options)
    assert words.format(path) in str(caught.value)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("given", [{"version": 3}, {"label": "x"}, {"label": None}])
def test_an_argument_replaces_both_version_and_label_of_a_profile(tmp_path: Path, given: dict[str, Any]) -> None:
    for text in ("version = 5", "label = 'stable'"):
        path = write(tmp_path, f"server = 'a:1'\nmodel = 'm'\n{text}", "p.toml")
        spec = settings_of(profile=path, **given).defaults.spec
        assert (spec.version, spec.label) == (given.get("version"), given.get("label"))


def test_the_nearer_source_of_the_authorization_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "[default]\nserver = 'a:1'\nmetadata = { authorization = 'Basic profile', x-a = 'b' }")
    argument = {"authorization": "Basic argument"}
    assert dict(settings_of().defaults.metadata) == {"authorization": "Basic profile", "x-a": "b"}
    found = settings_of(token="argument").defaults
    assert (found.token, found.metadata) == ("argument", (("x-a", "b"),))
    monkeypatch.setenv("TFS_TOKEN", "variable")
    found = settings_of().defaults
    assert (found.token, found.metadata) == ("variable", (("x-a", "b"),))
    found = settings_of(metadata=argument).defaults
    assert (found.token, dict(found.metadata)) == (None, {**argument, "x-a": "b"})
    write(folder, "[default]\nserver = 'a:1'\ntoken = 'profile'")
    monkeypatch.delenv("TFS_TOKEN")
    found = settings_of(metadata=argument).defaults
    assert (found.token, dict(found.metadata)) == (None, argument)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("TFS_TIMEOUT", "5_0", "got '5_0'"),
        ("TFS_TIMEOUT", "\u0663", "expected seconds above 0"),
        ("TFS_TIMEOUT", "nan", "got 'nan'"),
    ],
)
def test_variables_take_numbers_as_toml_does(name: str, text: str, words: str) -> None:
    (problem,) = Configuration({}, environment={name: text}).problems
    assert problem.startswith(f"{name}: ")
    assert words in problem


def test_a_server_of_a_variable_is_split_only_into_hosts() -> None:
    for text, target in (("unix:/tmp/a,b", "unix:/tmp/a,b"), ("GRPC://a:1,grpc://b:1", ["GRPC://a:1", "grpc://b:1"])):
        assert Configuration({}, environment={"TFS_SERVER": text}).target == target


def test_tls_of_an_argument_replaces_all_tls_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ca.pem").write_bytes(certificates().ca)
    write(folder, '[default]\nserver = "a:1"\nca = "ca.pem"\nauthority = "x"')
    ours = str(folder / "ca.pem")
    assert settings_of().connection.tls == TLS(ca=ours, authority="x")
    assert settings_of(tls=True).connection.tls == TLS()
    assert settings_of(tls=False).connection.tls is None
    monkeypatch.setenv("TFS_CA", "/no/such/file")
    assert settings_of(tls=TLS(authority="y")).connection.tls == TLS(authority="y")


def test_a_pickled_client_has_the_values_of_its_maker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, '[default]\nserver = "a:1"\nmodel = "m"\n')
    monkeypatch.setenv("TFS_TIMEOUT", "5")
    with PredictClient() as client:
        pickled = pickle.dumps(client)
        expected = client._settings
    write(folder, '[default]\nserver = "other:1"\n')
    monkeypatch.setenv("TFS_TIMEOUT", "6")
    with pickle.loads(pickled) as copy:
        assert copy._settings == expected
        assert repr(copy) == "PredictClient('a:1', model='m')"


def test_both_clients_call_the_configured_server(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = TensorSpec("float32", (None,))
    fake_server.add_model("half", lambda x: x / 2, inputs={"x": vector}, outputs={"y": vector})
    monkeypatch.setenv("TFS_SERVER", f"grpc://{fake_server.target}")
    monkeypatch.setenv("TFS_MODEL", "half")
    monkeypatch.setenv("TFS_TOKEN", "abc")
    with PredictClient() as client:
        assert repr(client) == f"PredictClient('grpc://{fake_server.target}', model='half')"
        assert client.predict({"x": np.float32([4])}).array.tolist() == [2]
    awaited = Awaited(None)
    assert awaited.predict({"x": np.float32([4])}).array.tolist() == [2]
    awaited.end()
    assert [dict(call.metadata)["authorization"] for call in fake_server.calls] == ["Bearer abc"] * 2


def test_a_predictor_for_tables_is_configured_where_it_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, '[prod]\nserver = ["a:1", "b:1"]\nmodel = "m"\nretry = false\n')
    made = Predictor(profile="prod", inputs="x", timeout=7)
    (folder / "profiles.toml").unlink()
    monkeypatch.setenv("TFS_SERVER", "other:1")
    copy = pickle.loads(pickle.dumps(made))
    assert repr(copy) == "Predictor(['a:1', 'b:1'], model='m', inputs={'': 'x'})"
    with copy._open_client() as client:
        assert client._settings == settings_of(["a:1", "b:1"], model="m", timeout=7)
    monkeypatch.setenv("TFS_SERVER", "grpcs://other:1")
    with pytest.raises(ConfigError, match=r"requires TLS.*\(server: TFS_SERVER, tls: argument\)"):
        Predictor(inputs="x", model="m", tls=False)
