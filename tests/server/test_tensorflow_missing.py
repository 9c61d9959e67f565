"""Models that need TensorFlow, where it is not installed."""

from __future__ import annotations

import sys

import pytest

from tfs_client import FailedPreconditionError, NotFoundError, UnimplementedError
from tfs_client.server.backends import saved_model, tflite

BACKENDS = [(saved_model, "saved_model.pb"), (tflite, "model.tflite")]


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch):
    """An import of TensorFlow fails, whether it is installed or not."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.mark.parametrize(("backend", "file"), BACKENDS, ids=["saved_model", "tflite"])
def test_the_error_says_what_to_install(backend, file, tmp_path):
    (tmp_path / file).touch()
    with pytest.raises(FailedPreconditionError, match=r"pip install 'tfs-client\[tensorflow\]'"):
        backend.load(str(tmp_path))


@pytest.mark.parametrize(("backend", "file"), BACKENDS, ids=["saved_model", "tflite"])
def test_a_missing_model_is_told_first(backend, file, tmp_path):
    with pytest.raises(NotFoundError, match=file.replace(".", r"\.")):
        backend.load(str(tmp_path))


def test_session_bundles_are_refused(tmp_path):
    (tmp_path / "export.meta").touch()
    with pytest.raises(UnimplementedError, match=r"Session Bundle is deprecated and removed\."):
        saved_model.load(str(tmp_path))
