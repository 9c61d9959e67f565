"""Paths that are not regular files: pipes, devices, directories; and files of absurd size."""

from __future__ import annotations

import os
import sys

import pytest
from model_dirs import put

from tfs_client import CallError, ConfigError
from tfs_client._codec import regular_files
from tfs_client.cli.serve import flag_files
from tfs_client.errors import DataLossError
from tfs_client.server import ServerConfig
from tfs_client.server.access.security import ServerTLS
from tfs_client.server.backends import meta_graphs
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.files import proto_files
from tfs_client.server.files.file_errors import file_error
from tfs_client.server.lifecycle import model_list
from tfs_client.server.lifecycle.warmup import FILE, warm_up

READERS = {
    "model config": model_list.read_file,
    "batching": BatchingParameters.from_file,
    "metrics": flag_files.metrics_path,
    "tls": flag_files.tls,
    "token": flag_files.token,
    "saved model": lambda path: meta_graphs._saved_model(str(path)),
}


@pytest.fixture
def odd(tmp_path):
    """Create something other than a regular file, or a sparse file of a terabyte."""

    def make(kind, path=tmp_path / "file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
        else:
            with open(path, "wb") as file:
                file.truncate(1 << 40)
        return path

    return make


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("kind", "text"),
    [("pipe", "got a named pipe"), ("device", "got a character device"), ("folder", "; Is a directory")],
)
def test_a_path_that_is_not_a_regular_file_is_an_error_at_once(odd, reader, kind, text, monkeypatch):
    if reader == "saved model":
        monkeypatch.setitem(sys.modules, "tensorflow.core.protobuf.saved_model_pb2", Messages)
    with pytest.raises((CallError, IsADirectoryError)) as caught:
        READERS[reader](odd(kind))
    error = caught.value if isinstance(caught.value, CallError) else file_error(caught.value, "")
    assert text in error.details


class Messages:
    """In place of TensorFlow's module; nothing comes so far as to read one."""

    SavedModel = staticmethod(lambda: None)


@pytest.mark.parametrize(
    ("reader", "limit"),
    [("model config", 16 << 20), ("metrics", 16 << 20), ("tls", 16 << 20), ("batching", 16 << 20), ("token", 1 << 16)],
)
def test_an_endless_file_uses_no_memory(odd, reader, limit):
    with pytest.raises(CallError, match=f"expected a file of at most {limit} bytes, got a larger one"):
        READERS[reader](odd("huge"))


def test_a_saved_model_larger_than_any_message(odd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow.core.protobuf.saved_model_pb2", Messages)
    monkeypatch.setattr(meta_graphs, "MAX_BYTES", 10)
    with pytest.raises(DataLossError, match="expected a file of at most 10 bytes"):
        meta_graphs._saved_model(str(odd("huge")))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_warmup_requests_that_are_not_a_file_fail_the_load(odd, tmp_path, kind):
    version = put(tmp_path / "m", 1)
    odd(kind, version / FILE)
    with pytest.raises(CallError, match="expected a regular file"):
        warm_up(None, str(version))


def test_certificates_that_are_not_files(odd, tmp_path):
    with pytest.raises(ConfigError, match=r"expected certificate as a PEM file or its bytes: .* got a named pipe"):
        ServerTLS(certificate=odd("pipe"), key=b"-----BEGIN ")


def test_files_are_closed(odd, tmp_path):
    """Also those that are refused: a ResourceWarning would fail this."""
    odd("pipe")
    for _ in range(3):
        with pytest.raises(CallError):
            regular_files.read(tmp_path / "file", 1)


def test_a_config_file_path_survives_a_change_of_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cert", "key"):
        (tmp_path / name).write_text("-----BEGIN ")
    config = ServerConfig(model_config_file="models.config", tls=ServerTLS(certificate="cert", key="key"))
    assert config.model_config_file == str(tmp_path / "models.config")
    assert (config.tls.certificate, config.tls.key) == (str(tmp_path / "cert"), str(tmp_path / "key"))


def test_a_path_with_nul():
    with pytest.raises(ConfigError, match="expected model_config_file as a path without NUL"):
        ServerConfig(model_config_file="a\0b")


def test_endlessly_nested_text_is_refused(tmp_path):
    (tmp_path / "file").write_text("a {" * 100_000)
    with pytest.raises(CallError, match="Invalid protobuf file"):
        proto_files.check_syntax(tmp_path / "file", "tensorflow.ConfigProto")


def test_a_number_of_thousands_of_digits(tmp_path, caplog):
    version = f"specific {{ versions: {'9' * 50_000} }}"
    (tmp_path / "file").write_text(f"model_config_list {{ config {{ model_version_policy {{ {version} }} }} }}")
    with pytest.raises(CallError, match="Invalid protobuf file"):
        model_list.read_file(tmp_path / "file")
    assert len(caplog.text) < 5000
