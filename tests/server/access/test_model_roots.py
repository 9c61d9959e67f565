"""Model roots: from which directories a reload may load models, on which ports, and what a link does not change."""

from __future__ import annotations

import logging

import pytest
from certificates import certificates
from model_dirs import put
from served_models import Starter

from tfs_client import ConfigError, ModelConfig, ModelServerConfig, PermissionDeniedError
from tfs_client.server import ServerConfig
from tfs_client.server.access.addresses import is_loopback
from tfs_client.server.access.model_roots import ModelRoots
from tfs_client.server.access.security import ServerTLS


@pytest.fixture
def serve(tmp_path):
    starter = Starter(tmp_path / "models")
    yield starter
    starter.close()


@pytest.fixture
def evil(tmp_path):
    """A model outside of everything that was configured."""
    put(tmp_path / "elsewhere" / "evil", 1)
    return tmp_path / "elsewhere" / "evil"


def listed(served, path, platform="tensorflow", name="evil"):
    return served.config.add(ModelConfig(name, str(path), platform=platform))


def refuses(served, config):
    """The text of the refusal, which changes nothing."""
    with pytest.raises(PermissionDeniedError) as caught:
        served.reload(config)
    assert served.said() == "1"
    assert served.states("evil") == {}
    assert not [path for path in served.platform.loads if "evil" in path]
    return caught.value.details


@pytest.mark.parametrize("platform", ["tensorflow", "python", "other"])
def test_a_reload_loads_models_of_any_platform_only_from_the_roots(serve, tmp_path, evil, platform):
    roots = [tmp_path / "allowed", tmp_path / "other"]
    served = serve(serve.model("m", 1), model_roots=roots, allow_python_reload=True)
    text = refuses(served, listed(served, evil, platform))
    assert text == (
        "Model 'evil': a reload may load models only from base paths of the server's own configuration, or from "
        f"below '{roots[0]}', '{roots[1]}'; got '{evil}'. Allow more with --model_roots=DIR,... or "
        "ServerConfig(model_roots=[...])"
    )
    put(tmp_path / "allowed" / "good", 3)
    served.reload(listed(served, tmp_path / "allowed" / "good", platform, name="good"))
    assert served.said("good") == "3"


def test_python_code_inside_the_roots_still_needs_its_own_permission(serve, tmp_path):
    served = serve(serve.model("m", 1), model_roots=[tmp_path])
    put(tmp_path / "evil", 1)
    assert "allow_python_reload" in refuses(served, listed(served, tmp_path / "evil", "python"))


WAYS_OUT = [
    "{allowed}/../elsewhere/evil",
    "/{allowed}/../elsewhere/evil",
    "file://{allowed}/../elsewhere/evil",
    "file:///{elsewhere}/evil",
    "file://host{elsewhere}/evil",
    "{allowed}-not/evil",
    "{allowed}/out",
    "{allowed}/out/../evil",
    "{base}/out/../m",  # written like a configured base path, and leading elsewhere
]


def test_paths_that_escape_the_roots_are_refused(serve, tmp_path, evil):
    served = serve(serve.model("m", 1), model_roots=[tmp_path / "allowed"])
    put(tmp_path / "allowed-not" / "evil", 1)
    put(evil.parent / "m", 1)
    (tmp_path / "allowed").mkdir()
    for folder in (tmp_path / "allowed", served.base):
        (folder / "out").symlink_to(evil)
    names = {"allowed": tmp_path / "allowed", "elsewhere": evil.parent, "base": served.base}
    for path in WAYS_OUT:
        refuses(served, listed(served, path.format(**names)))


def test_a_version_that_is_a_link_out_of_the_roots_refuses_the_reload(serve, tmp_path, evil):
    served = serve(serve.model("m", 1), model_roots=[tmp_path / "allowed"])
    put(tmp_path / "allowed" / "evil", 1)
    (tmp_path / "allowed" / "evil" / "2").symlink_to(evil / "1")
    assert "a link that leads out of them" in refuses(served, listed(served, tmp_path / "allowed" / "evil"))


@pytest.mark.parametrize("what", ["version", "base path"])
def test_a_link_that_appears_after_the_reload_is_not_followed_out_of_the_roots(serve, tmp_path, evil, what):
    served = serve(serve.model("m", 1), model_roots=[tmp_path / "allowed"], max_num_load_retries=5)
    base = tmp_path / "allowed" / "n"
    put(base, 1, "inside")
    served.reload(listed(served, base, name="n"))
    if what == "version":
        (base / "2").symlink_to(evil / "1")
    else:
        put(evil, 2)
        base.rename(tmp_path / "gone")
        base.symlink_to(evil)
    served.until({1: "AVAILABLE", 2: "END"}, "n")  # at once: another attempt would be of no use
    (status, _) = served.client.status(model="n").versions
    assert (status.code.name, served.said("n")) == ("PERMISSION_DENIED", "inside")
    assert not [path for path in served.platform.loads if "evil" in path]


def test_a_link_within_the_roots_is_followed_and_the_directory_behind_it_is_loaded(serve, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    real = put(tmp_path / "real" / "n-v1", 1)
    (tmp_path / "real" / "n").symlink_to("n-v1")
    served = serve(serve.model("m", 1), model_roots=[tmp_path / "link"])
    served.reload(listed(served, tmp_path / "link" / "n", name="n"))
    assert served.said("n") == "1"
    assert str(real) in served.platform.loads


def test_the_servers_own_configuration_is_not_limited_to_the_roots(serve, tmp_path, evil):
    """Neither by links, nor in a reload that names it again."""
    served = serve(serve.model("m", 1), ModelConfig("own", f"{evil}/"), model_roots=[tmp_path / "allowed"])
    (evil / "2").symlink_to(put(tmp_path / "far", 7, "far"))
    served.until_available(2, model="own")
    served.reload(ModelServerConfig())
    served.reload(ModelServerConfig([ModelConfig("again", str(evil)), *served.config]))
    assert served.said("again") == "far"


def test_without_roots_a_server_on_loopback_accepts_any_path(serve, evil):
    served = serve(serve.model("m", 1))
    served.reload(listed(served, evil))
    assert served.said("evil") == "1"


OPEN = {"host": "0.0.0.0"}


def test_an_open_port_accepts_siblings_of_the_configured_models(serve, evil, caplog):
    served = serve(serve.model("m", 1), **OPEN)
    assert f"Anyone who can reach the gRPC port may call the models, and load others from {served.base}" in (
        caplog.text
    )
    text = refuses(served, listed(served, evil))
    assert "Model 'evil': on an unprotected port a reload may " in text
    assert "--model_roots=DIR" in text
    served.reload(served.config.add(serve.model("n", 5)))
    assert served.said("n") == "5"


def test_an_open_port_with_a_token_accepts_any_path(serve, evil, caplog):
    caplog.set_level(logging.WARNING)
    served = serve(serve.model("m", 1), token="secret", **OPEN)
    served.server.core.reload(listed(served, evil))
    assert served.server.manager.is_available("evil", 1)
    assert "Anyone who can reach the gRPC port" not in caplog.text


def test_an_open_server_without_configured_models_accepts_no_path(serve, evil):
    served = serve(**OPEN)
    with pytest.raises(PermissionDeniedError, match="or from below no other directory"):
        served.reload(listed(served, evil))


def test_the_root_of_the_file_system_is_never_a_default_root():
    roots = ModelRoots(None, exposed=True)
    assert roots.roots(["/top", "/models/m", "file:///models//n/", "/models/x/../m"]) == ("/models",)
    assert ModelRoots(["/"], exposed=True).allowed("/a/b", []) == "/a/b"


@pytest.mark.parametrize(
    ("options", "exposed"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "127.9.9.9"}, False),
        ({"host": "::ffff:127.0.0.1"}, False),
        ({"host": "::"}, True),
        ({"host": "0.0.0.0"}, True),
        ({"host": "192.0.2.1"}, True),
        ({"host": "no-such-host.invalid"}, True),
        ({"host": "0.0.0.0", "token": "t"}, False),
        ({"host": "0.0.0.0", "port": None, "grpc_socket_path": "sock"}, False),
        ({"host": "0.0.0.0", "grpc_socket_path": "sock"}, True),
    ],
)
def test_which_addresses_count_as_exposed(options, exposed):
    assert ServerConfig(**options).is_exposed() is exposed


def test_client_certificates_protect_a_port_and_tls_alone_does_not():
    known = certificates()
    server = {"certificate": known.server.certificate, "key": known.server.key}
    assert ServerConfig(tls=ServerTLS(**server), **OPEN).is_exposed()
    assert not ServerConfig(tls=ServerTLS(ca=known.ca, client_verify=True, **server), **OPEN).is_exposed()


def test_loopback_in_other_spellings():
    assert is_loopback("127.1")
    assert not is_loopback("")
    assert not is_loopback("a\0b")


@pytest.mark.parametrize("roots", ["/models", b"/models", 5, [""], [5], ["s3://b"], ["/a\0"], [b"/a"]])
def test_invalid_roots_are_refused(roots):
    with pytest.raises(ConfigError, match="expected model_roots as"):
        ServerConfig(model_roots=roots)


def test_missing_roots_are_warned_of(tmp_path, caplog):
    (tmp_path / "file").touch()
    ModelRoots([tmp_path, tmp_path / "none", tmp_path / "file"], exposed=False)
    assert caplog.messages == [
        f"model_roots: '{tmp_path}/{name}' is not a directory; reloads can load nothing from it"
        for name in ("none", "file")
    ]


def test_relative_roots_are_resolved_when_the_server_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ServerConfig(model_roots=["models"]).model_roots == (str(tmp_path / "models"),)
