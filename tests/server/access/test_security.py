"""TLS of the gRPC port, its UNIX socket, and the token that calls must bring."""

from __future__ import annotations

import logging
import os
import tempfile

import httpx
import pytest
import trustme

from tfs_client import TLS, ConfigError, PredictClient, TensorSpec, UnauthenticatedError, UnavailableError
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.access.security import ServerTLS, check_caller

ONE = {"serving_default": FunctionSignature(lambda: 1, {}, {"y": TensorSpec("int32", ())})}


def asked(target, **options):
    with PredictClient(target, model="m", retry=None, timeout=10, **options) as client:
        return client.predict({}).array.item()


def served(**options):
    server = Server(ServerConfig(**options))
    server.add_model("m", ONE)
    return server


# --- TLS -------------------------------------------------------------------------------------------------------------


class Papers:
    """An authority, a server's certificate, and those of two clients, one of another authority."""

    def __init__(self):
        authority, other = trustme.CA(), trustme.CA()
        self.ca = authority.cert_pem.bytes()
        self.server = self._pair(authority.issue_cert("127.0.0.1"))
        self.client = self._pair(authority.issue_cert("client"))
        self.stranger = self._pair(other.issue_cert("client"))

    def _pair(self, leaf):
        return {
            "certificate": b"".join(blob.bytes() for blob in leaf.cert_chain_pems),
            "key": leaf.private_key_pem.bytes(),
        }


@pytest.fixture(scope="module")
def papers():
    return Papers()


def test_calls_over_tls(papers, caplog):
    with caplog.at_level(logging.INFO), served(tls=ServerTLS(**papers.server)) as server:
        assert asked(server.target, tls=TLS(ca=papers.ca)) == 1
        assert asked(server.target, tls=TLS(ca=papers.ca, **papers.stranger)) == 1  # nobody asks for it
        with pytest.raises(UnavailableError):
            asked(server.target, tls=False)
    assert "Using SSL credentials" in caplog.messages
    assert "Using InsecureServerCredentials" not in caplog.messages


def test_client_certificates_can_be_required(papers):
    with served(tls=ServerTLS(**papers.server, ca=papers.ca, client_verify=True)) as server:
        assert asked(server.target, tls=TLS(ca=papers.ca, **papers.client)) == 1
        for options in ({}, papers.stranger):
            with pytest.raises(UnavailableError):
                asked(server.target, tls=TLS(ca=papers.ca, **options))


def test_an_authority_alone_does_not_require_client_certificates(papers):
    with served(tls=ServerTLS(**papers.server, ca=papers.ca)) as server:
        assert asked(server.target, tls=TLS(ca=papers.ca)) == 1


def test_certificates_may_be_files_and_are_read_at_the_start(papers, tmp_path):
    files = {name: tmp_path / name for name in papers.server}
    for name, file in files.items():
        file.write_bytes(papers.stranger[name])
    server = served(tls=ServerTLS(**files))
    for name, file in files.items():
        file.write_bytes(papers.server[name])
    with server:
        assert asked(server.target, tls=TLS(ca=papers.ca)) == 1


def test_a_key_of_another_certificate_cannot_be_served(papers):
    pair = papers.server | {"key": papers.client["key"]}
    with pytest.raises(ConfigError, match="the certificate and the key do not match"):
        served(tls=ServerTLS(**pair)).start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"certificate": b"no pem"}, "expected certificate in PEM form"),
        ({"key": "/nowhere/key.pem"}, "expected key as a PEM file"),
        ({"ca": 5}, "expected ca as a PEM file"),
        ({"client_verify": True}, "expected ca, the authorities that issue client certificates"),
        ({"client_verify": 1}, "expected client_verify to be True or False"),
    ],
)
def test_invalid_certificates_and_keys_are_refused(papers, options, message):
    with pytest.raises(ConfigError, match=message):
        ServerTLS(**papers.server | options)


def test_a_key_is_not_shown(papers):
    assert "PRIVATE" not in repr(ServerTLS(**papers.server))


def test_a_socket_can_be_added_to_the_port_or_replace_it(papers, tmp_path, caplog):
    socket = tmp_path / "s"
    with served(grpc_socket_path=socket) as server:
        assert asked(server.target) == asked(f"unix:{socket}") == 1
    with caplog.at_level(logging.INFO), served(port=None, grpc_socket_path=str(socket)) as server:
        assert server.target == f"unix:{socket}"
        assert asked(server.target) == 1
        with pytest.raises(ConfigError, match="the server has no port"):
            _ = server.port
    assert f"Running gRPC ModelServer at UNIX socket {socket} ..." in caplog.messages
    with pytest.raises(ConfigError, match="cannot listen at unix:/nowhere/s: No such file or directory"):
        served(port=None, grpc_socket_path="/nowhere/s").start()


def test_a_relative_socket_path_is_resolved_once(monkeypatch):
    with tempfile.TemporaryDirectory() as folder:  # a short path, which pytest's are not
        monkeypatch.chdir(folder)
        server = served(port=None, grpc_socket_path="s")
        monkeypatch.chdir("/")
        with server:
            assert server.target == f"unix:{os.path.realpath(folder)}/s"
            assert asked(server.target) == 1


# --- the token -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("brought", ["Bearer secret", "bearer secret", b"Bearer secret"])
def test_the_right_token_is_accepted(brought):
    check_caller("secret", {"authorization": brought})


@pytest.mark.parametrize("metadata", [{}, {"authorization": "Bearer other"}, {"authorization": "anything"}])
def test_without_a_configured_token_calls_need_none(metadata):
    check_caller(None, metadata)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "expected the metadata 'authorization: Bearer <token>'"),
        ({"authorization": ""}, "expected the metadata"),
        ({"authorization": "secret"}, "expected the metadata"),
        ({"authorization": "Bearer "}, "expected the metadata"),
        ({"authorization": "Basic secret"}, "invalid token"),
        ({"authorization": "Bearer Secret"}, "invalid token"),
        ({"authorization": "Bearer secret "}, "invalid token"),
        ({"authorization": "Bearer \u00e9\udcff"}, "invalid token"),
        ({"authorization": b"Bearer \xff"}, "invalid token"),
    ],
)
def test_anything_but_the_token_is_refused(metadata, message):
    with pytest.raises(UnauthenticatedError, match=message):
        check_caller("secret", metadata)


def test_calls_need_the_token_over_grpc():
    with served(token="secret", enable_grpc_healthcheck_service=True) as server:
        assert asked(server.target, metadata={"authorization": "Bearer secret"}) == 1
        with PredictClient(server.target, model="m") as client:
            for call in (lambda: client.predict({}), client.signatures, client.status):
                with pytest.raises(UnauthenticatedError, match="expected the metadata"):
                    call()
            assert client.health().name == "SERVING"


def test_calls_need_the_token_over_rest():
    with served(token="secret", rest_port=0) as server:
        url = f"{server.rest_url}/v1/models/m"
        assert httpx.get(url).status_code == 401
        assert "authorization: Bearer" in httpx.get(url).json()["error"]
        assert httpx.get(url, headers={"Authorization": "Bearer secret"}).status_code == 200
