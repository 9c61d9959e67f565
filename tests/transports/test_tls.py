"""TLS in every way of calling: valid certificates work, refused ones raise errors that name the cause."""

from __future__ import annotations

import gc
import time
import warnings
from dataclasses import replace

import pytest
from calling import STYLES, at_once, calling
from certificates import certificates
from scripted import MODEL, ServerTls, serving, target_of
from tcp import listening, silence

from tfs_client import TLS, ConfigError, RetryPolicy, UnavailableError
from tfs_client.errors import DeadlineExceededError

ALL = certificates()
TRUSTING = TLS(ca=ALL.ca)
MUTUAL = replace(TRUSTING, certificate=ALL.client.certificate, key=ALL.client.key)
OURS = ServerTls(ALL.server)
OURS_MUTUAL = ServerTls(ALL.server, client_ca=ALL.ca)

GET_CA = r"TLS\(ca=FILE\)"
GET_CERTIFICATE = r"TLS\(certificate=FILE, key=FILE\)"
GET_NAME = r"TLS\(authority=NAME\)"


@pytest.fixture(params=["grpc", "grpc-futures", "grpc-aio", "rest", "rest-aio"])
def style(request):
    return request.param


def predict(style, port, *, host="localhost", secure=True, **options):
    target = target_of(style, port, host=host, secure=secure)
    with calling(style, target, model=MODEL, **{"timeout": 20, **options}) as client:
        return client.predict({"x": [1.0]}).array.tolist()


def refused(style, port, **options):
    """The error of a call, which must be there long before its deadline."""
    started = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        predict(style, port, **options)
    assert time.monotonic() - started < 10
    assert caught.value.transport_error is not None or style.endswith("futures")
    return str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_from_the_given_authority_is_trusted(style, host):
    with serving(style, tls=OURS) as server:
        assert predict(style, server.port, host=host, tls=TRUSTING) == [2]


def test_certificates_and_keys_are_bytes_or_files(style, tmp_path):
    files = {"ca": ALL.ca, "certificate": ALL.client.certificate, "key": ALL.client.key}
    for name, pem in files.items():
        (tmp_path / name).write_bytes(pem)
    with serving(style, tls=OURS_MUTUAL) as server:
        assert predict(style, server.port, tls=TLS(**files)) == [2]
        assert predict(style, server.port, tls=TLS(**{name: tmp_path / name for name in files})) == [2]
        assert predict(style, server.port, tls=TLS(**{name: str(tmp_path / name) for name in files})) == [2]


def test_the_authority_option_replaces_the_name_checked_in_the_certificate(style):
    with serving(style, tls=ServerTls(ALL.renamed)) as server:
        assert predict(style, server.port, tls=replace(TRUSTING, authority="other.example")) == [2]
        hint = refused(style, server.port, tls=replace(TRUSTING, authority="third.example"))
        assert "is for another name" in hint


@pytest.mark.parametrize("hosts", [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")])
@pytest.mark.parametrize("style", ["grpc", "grpc-aio"])
def test_replicas_are_verified_by_the_name_of_the_first(style, hosts):
    with serving(style, tls=OURS) as one, serving(style, tls=OURS) as two:
        targets = [f"{host}:{server.port}" for host, server in zip(hosts, (one, two), strict=True)]
        with calling(style, targets, model=MODEL, tls=TRUSTING) as client:
            for _ in range(20):
                assert client.predict({"x": [1.0]}).array.tolist() == [2]
        assert one.calls
        assert two.calls


@pytest.mark.parametrize(
    ("server_tls", "tls", "hint"),
    [
        pytest.param(ServerTls(ALL.foreign), TRUSTING, GET_CA, id="unknown authority"),
        pytest.param(OURS, TLS(), GET_CA, id="an authority that the system does not know"),
        pytest.param(ServerTls(ALL.renamed), TRUSTING, GET_NAME, id="another name"),
        # gRPC 1.60 does not tell an old certificate from an unknown one.
        pytest.param(ServerTls(ALL.expired), TRUSTING, f"expired or not yet valid|{GET_CA}", id="expired"),
        pytest.param(OURS_MUTUAL, TRUSTING, GET_CERTIFICATE, id="no client's certificate"),
        pytest.param(
            OURS_MUTUAL,
            replace(TRUSTING, certificate=ALL.foreign_client.certificate, key=ALL.foreign_client.key),
            GET_CERTIFICATE,
            id="a client's certificate from an unknown authority",
        ),
        pytest.param(None, TRUSTING, "does not speak TLS", id="TLS to a port in the clear"),
        pytest.param(OURS, None, "TLS|https://", id="in the clear to a TLS port"),
    ],
)
def test_a_refused_handshake_is_unavailable_and_the_hint_names_the_remedy(style, server_tls, tls, hint):
    with serving(style, tls=server_tls) as server:
        text = refused(style, server.port, tls=tls, secure=tls is not None)
        assert not server.calls
    import re

    assert re.search(hint, text.partition("\n")[2]), text


@at_once(*STYLES)
def test_calls_that_wait_for_the_server_end_at_their_deadline_and_say_what_to_do(style):
    with serving(style, tls=ServerTls(ALL.foreign)) as server:
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError) as caught:
            predict(style, server.port, tls=TRUSTING, retry=RetryPolicy(), timeout=1)
        assert 0.9 < time.monotonic() - started < 10
    assert caught.value.unreached
    assert "TLS(ca=FILE)" in caught.value.hint


def test_a_handshake_that_is_cut_off_leaves_no_connection(style):
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with listening(silence) as port, pytest.raises(DeadlineExceededError):
            predict(style, port, tls=TRUSTING, timeout=0.2)
        gc.collect()
    assert [str(one.message) for one in caught if "socket" in str(one.message).lower()] == []


BROKEN = b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("tls", "named"),
    [
        (TLS(ca=BROKEN), "ca"),
        (TLS(ca=ALL.client.key), "ca"),
        (replace(MUTUAL, certificate=BROKEN), "certificate"),
        (replace(MUTUAL, key=BROKEN), "key"),
        (replace(MUTUAL, key=ALL.foreign_client.key), "a certificate and its key"),
        (replace(MUTUAL, certificate=ALL.client.key, key=ALL.client.certificate), "certificate"),
    ],
    ids=["no ca", "a key as ca", "no certificate", "no key", "another's key", "swapped"],
)
def test_certificates_that_cannot_be_used_are_refused_before_a_server_is_called(style, tls, named):
    with pytest.raises(ConfigError, match=f"expected .*{named}.* PEM form"):
        predict(style, 1, tls=tls)


def test_an_encrypted_key_prompts_for_no_password(style):
    encrypted = encrypted_key(ALL.client.key)
    with pytest.raises(ConfigError, match="not encrypted"):
        predict(style, 1, tls=replace(MUTUAL, key=encrypted))


def encrypted_key(key):
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
