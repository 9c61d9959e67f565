"""Authorities: both transports trust what Python's ssl trusts, in processes with their own environment."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import certificates
from scripted import MODEL, ServerTls, serving, target_of

from tfs_client import TLS, ConfigError, PredictClient
from tfs_client._transports import trusted_authorities

ALL = certificates()
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")

STYLES = ("grpc", "grpc-aio", "rest", "rest-aio")
PROGRAM = """
import json, logging, sys
import numpy as np
from calling import calling
from tfs_client import ConfigError, UnavailableError

logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stdout)
for style, target in json.loads(sys.argv[1]).items():
    for _ in range(2):
        try:
            with calling(style, target, model=sys.argv[2], tls=True, timeout=30) as client:
                print(style, client.predict({"x": np.float32([1])}).array.tolist())
        except (ConfigError, UnavailableError) as error:
            print(style, type(error).__name__, str(error).replace(chr(10), " "))
"""
TRUSTED = "".join(f"{style} [2.0]\n" for style in STYLES for _ in range(2))


def said(environment, tls=ALL.server, prefix=()):
    """What clients with tls=True say of servers, two of each style, in a process with this environment."""
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    here = Path(__file__).parent
    clean["PYTHONPATH"] = os.pathsep.join([str(here.parent), str(here.parent.parent)])
    with serving("grpc", tls=ServerTls(tls)) as grpc, serving("rest", tls=ServerTls(tls)) as rest:
        ports = {style: (grpc if style.startswith("grpc") else rest).port for style in STYLES}
        targets = {style: target_of(style, port, secure=True) for style, port in ports.items()}
        ran = subprocess.run(
            [*prefix, sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(targets), MODEL],
            env=clean | {name: str(value) for name, value in environment.items()},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def refused(out, words):
    """Whether every client said so."""
    return sum(re.match(rf"\S+ {words}", line) is not None for line in out.splitlines()) == 2 * len(STYLES)


@pytest.fixture
def bundle(tmp_path):
    """A file with an authority of ours among others, and what else such files hold."""
    path = tmp_path / "bundle.pem"
    broken = b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
    path.write_bytes("# Ström\n".encode() + ALL.foreign_ca + broken + b"\nsubject=Trusted\n" + ALL.ca)
    return path


@pytest.fixture
def hashed(tmp_path):
    """A folder as c_rehash makes it."""
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "README").write_text("no certificate")
    (folder / "ours.pem").write_bytes(ALL.ca)
    (folder / f"{_subject_hash(folder / 'ours.pem')}.0").symlink_to("ours.pem")
    return folder


def _subject_hash(path):
    try:
        ran = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", path], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl here to hash a certificate's name")
    return ran.stdout.strip()


def test_ssl_cert_file_names_the_authorities(bundle):
    assert said({"SSL_CERT_FILE": bundle}, tls=ALL.foreign) == TRUSTED


def test_ssl_cert_dir_names_folders_of_authorities(hashed):
    environment = {"SSL_CERT_DIR": f"{hashed.parent / 'nowhere'}{os.pathsep}{hashed}"}
    assert said(environment) == TRUSTED


def test_other_authorities_are_not_trusted():
    assert refused(said({}), r"UnavailableError .*TLS\(ca=FILE\)")


def test_a_file_without_certificates_is_a_config_error(tmp_path):
    path = tmp_path / "nowhere"
    assert refused(said({"SSL_CERT_FILE": path}), f"ConfigError SSL_CERT_FILE names {str(path)!r}: expected")


def test_grpcs_own_variable_takes_precedence_over_grpc(tmp_path):
    (tmp_path / "ours.pem").write_bytes(ALL.ca)
    (tmp_path / "other.pem").write_bytes(ALL.foreign_ca)
    out = said({"SSL_CERT_FILE": tmp_path / "other.pem", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": tmp_path / "ours.pem"})
    assert out.startswith("".join(TRUSTED.splitlines(keepends=True)[:4]))
    assert out.count("UnavailableError") == 4


def can_unshare():
    try:
        return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    except (AttributeError, OSError):
        return False


@pytest.mark.skipif(not can_unshare(), reason="takes root, and unshare")
class TestInAnotherSystem:
    """With other authorities in the places where the system has its own."""

    def within(self, commands):
        return ["unshare", "-m", "bash", "-c", f'{commands} && exec "$@"', "-"]

    def places(self):
        paths = ssl.get_default_verify_paths()
        return os.path.realpath(paths.openssl_cafile), os.path.realpath(paths.openssl_capath)

    def test_authorities_added_to_the_system_are_trusted(self, bundle):
        file, _ = self.places()
        if not os.path.isfile(file):
            pytest.skip("the system has no file of authorities")
        assert said({}, prefix=self.within(f"mount --bind {bundle} {file}")) == TRUSTED

    def test_a_system_without_authorities_falls_back_to_other_lists_and_says_so_once(self, tmp_path):
        file, folder = self.places()
        (tmp_path / "empty").write_text("")
        hidden = [f"mount --bind {tmp_path / 'empty'} {file}"] if os.path.isfile(file) else []
        hidden += [f"mount -t tmpfs none {folder}"] if os.path.isdir(folder) else []
        if not hidden:
            pytest.skip("the system has no authorities anyway")
        out = said({}, prefix=self.within(" && ".join(hidden)))
        for whose in ("gRPC", "certifi"):
            assert (
                len(re.findall(f"tfs_client.trust: no certificate authorities found .*bundled with {whose}", out)) == 1
            )
        assert out.count("UnavailableError") == 2 * len(STYLES)


def test_a_changed_file_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "own.pem"
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    path.write_bytes(ALL.ca + ALL.ca)
    first = trusted_authorities.system_roots()
    assert first.count(b"BEGIN") == 1  # each once
    assert trusted_authorities.system_roots() is not None
    path.write_bytes(ALL.ca + ALL.foreign_ca)
    os.utime(path, (1, 1))
    assert trusted_authorities.system_roots().count(b"BEGIN") == 2
    assert trusted_authorities.grpc_roots() == trusted_authorities.system_roots()
    assert trusted_authorities.rest_context(shared=True) is trusted_authorities.rest_context(shared=True)
    assert trusted_authorities.rest_context(shared=True) is not trusted_authorities.rest_context(shared=False)
    assert len(trusted_authorities.rest_context(shared=True).get_ca_certs()) == 2


def test_a_folder_without_certificates_is_a_config_error(tmp_path, monkeypatch):
    if os.path.isfile(ssl.get_default_verify_paths().openssl_cafile):
        pytest.skip("the system's own file is read besides")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="SSL_CERT_DIR names"):
        trusted_authorities.system_roots()


def test_the_users_authorities_do_not_require_the_systems(tmp_path, monkeypatch):
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere"))
    for target in ("localhost:1", "https://localhost:1"):
        PredictClient(target, tls=TLS(ca=ALL.ca)).close()
        with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
            PredictClient(target, tls=True)
