"""Models that need TensorFlow, where it is not installed."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from tfs_client import FailedPreconditionError, NotFoundError, UnimplementedError
from tfs_client.server.backends import saved_model, tflite
from tfs_client.server.lifecycle.platforms import PlatformOptions, Platforms

BACKENDS = [(saved_model, "saved_model.pb"), (tflite, "model.tflite")]


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch):
    """Make an import of TensorFlow fail, whether it is installed or not."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.mark.parametrize(("backend", "file"), BACKENDS, ids=["saved_model", "tflite"])
def test_the_error_says_what_to_install(backend, file, tmp_path):
    (tmp_path / file).touch()
    with pytest.raises(FailedPreconditionError, match=r"pip install 'tfs-client\[tensorflow\]'"):
        backend.load(str(tmp_path))


@pytest.mark.parametrize(("backend", "file"), BACKENDS, ids=["saved_model", "tflite"])
def test_a_missing_model_is_reported_first(backend, file, tmp_path):
    with pytest.raises(NotFoundError, match=file.replace(".", r"\.")):
        backend.load(str(tmp_path))


def test_a_saved_model_in_chunks_is_not_found(tmp_path):
    (tmp_path / "saved_model.cpb").touch()
    with pytest.raises(NotFoundError, match=r"should have a file called `saved_model\.pb`"):
        saved_model.load(str(tmp_path))


def test_a_tensorflow_without_tensorflow_lite(tmp_path, monkeypatch):
    package = ModuleType("tensorflow")
    package.__version__ = "3.0"
    monkeypatch.setitem(sys.modules, "tensorflow", package)
    (tmp_path / tflite.FILE).touch()
    with pytest.raises(FailedPreconditionError, match=r"TensorFlow 3\.0 does not have tf\.lite"):
        tflite.load(str(tmp_path))


def test_session_bundles_are_refused(tmp_path):
    (tmp_path / "export.meta").touch()
    with pytest.raises(UnimplementedError, match=r"Session Bundle is deprecated and removed\."):
        saved_model.load(str(tmp_path))


def test_op_libraries_need_tensorflow():
    with pytest.raises(FailedPreconditionError, match=r"op library 'anything' \(--op_library\) needs TensorFlow: pip"):
        Platforms(PlatformOptions(op_libraries=["anything"]))


def test_a_session_config_file_does_not(tmp_path):
    (tmp_path / "session").write_text("allow_soft_placement: true")
    with Platforms(PlatformOptions(session_config_file=str(tmp_path / "session"))) as platforms:
        assert platforms.loads
