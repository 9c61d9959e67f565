"""Targets grpc://host:port and grpcs://host:port, and TLS by TFS_CA."""

from __future__ import annotations

import pytest
from calling import GRPC, calling
from certificates import certificates
from scripted import MODEL, ServerTls, serving
from tcp import nobody

from tfs_client import TLS, ConfigError, PredictClient, UnavailableError
from tfs_client._transports.targets import Target, checked_target

ALL = certificates()
OURS = ServerTls(ALL.server)


def predict(style, target, **options):
    with calling(style, target, model=MODEL, timeout=20, **options) as client:
        assert repr(client if not hasattr(client, "client") else client.client)
        return client.predict({"x": [1.0]}).array.tolist()


def test_the_scheme_says_whether_tls_is_used():
    assert checked_target("grpc://a:1") == Target(("a:1",), scheme="grpc://")
    assert checked_target(["grpcs://a:1", "grpcs://[::1]:2"]) == Target(("a:1", "[::1]:2"), scheme="grpcs://")
    assert str(checked_target(["grpcs://a:1", "grpcs://b:2"])) == "grpcs://a:1, grpcs://b:2"
    assert [checked_target(f"{scheme}a:1").secure for scheme in ("", "grpc://", "grpcs://")] == [False, False, True]
    assert checked_target("GRPC://A:1") == Target(("A:1",), scheme="grpc://")
    assert checked_target(["Grpcs://a:1"]) == checked_target("grpcs://a:1")
    assert checked_target("HTTPS://a:1").secure
    assert checked_target("grpcs://a:1").hosts == (("a", 1),)


@pytest.mark.parametrize("style", GRPC)
def test_calls_with_and_without_tls(style):
    with serving(style) as plain, serving(style, tls=OURS) as secure:
        assert predict(style, f"grpc://localhost:{plain.port}") == [2]
        assert predict(style, f"grpcs://localhost:{secure.port}", tls=TLS(ca=ALL.ca)) == [2]
        assert predict(
            style, [f"grpcs://{host}:{secure.port}" for host in ("localhost", "127.0.0.1")], tls=TLS(ca=ALL.ca)
        ) == [2]
        with pytest.raises(UnavailableError) as caught:
            predict(style, f"grpcs://localhost:{secure.port}")  # the system does not trust our authority
        assert "TLS(ca=FILE)" in str(caught.value)


@pytest.mark.parametrize("style", GRPC)
def test_errors_show_the_target_as_the_user_wrote_it(style):
    with nobody() as port, pytest.raises(UnavailableError) as caught:
        predict(style, f"grpc://localhost:{port}")
    assert f"grpc://localhost:{port}" in str(caught.value)
    assert "does it require TLS (grpcs://)?" in str(caught.value)
    with serving(style) as plain, pytest.raises(UnavailableError) as caught:
        predict(style, f"grpcs://localhost:{plain.port}")
    assert "does not speak TLS: write grpc://, or use the server's TLS port" in str(caught.value)


@pytest.mark.parametrize(("target", "tls"), [("grpc://a:1", True), ("grpc://a:1", TLS()), ("grpcs://a:1", False)])
def test_a_scheme_and_tls_that_contradict_each_other(target, tls):
    with pytest.raises(
        ConfigError, match=r"grpc://a:1 is without TLS, .*: write grpcs://|grpcs://a:1 requires TLS, .* write grpc://"
    ):
        PredictClient(target, tls=tls)
    with PredictClient([target]) as client:
        assert repr(client) == f"PredictClient({target!r})"


def test_tfs_ca_secures_a_grpc_target(tmp_path, monkeypatch):
    (tmp_path / "ca.pem").write_bytes(ALL.ca)
    monkeypatch.setenv("TFS_CA", str(tmp_path / "ca.pem"))
    with serving("grpc", tls=OURS) as server:
        for scheme in ("", "grpcs://"):
            monkeypatch.setenv("TFS_SERVER", f"{scheme}localhost:{server.port}")
            with PredictClient(model=MODEL, timeout=20) as client:
                assert client.predict({"x": [1.0]}).array.tolist() == [2]
    monkeypatch.setenv("TFS_SERVER", "grpc://localhost:1")
    with pytest.raises(ConfigError, match=r"write grpcs:// \(server: TFS_SERVER, ca: TFS_CA\)"):
        PredictClient()
