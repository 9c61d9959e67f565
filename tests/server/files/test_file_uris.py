"""Names of files: paths and file URIs as tensorflow::Env opens them, and the names of other file systems."""

from __future__ import annotations

import pytest

from tfs_client import CallError
from tfs_client.errors import UnimplementedError
from tfs_client.server import ServerConfig
from tfs_client.server.batching import BatchingParameters
from tfs_client.server.files import file_uris
from tfs_client.server.files.file_uris import local_path

NAMES = {
    "/a/b c": "/a/b c",
    "a/b": "a/b",
    "file:///a/b c": "/a/b c",
    "file://localhost/a": "/a",
    "file:///a%20b": "/a%20b",
    "file:////a/../b": "//a/../b",
    "file://a": "",
    "file://": "",
    "file:/a": "file:/a",
    "c://a": "c://a",
    "+x://a": "+x://a",
    "": "",
}
OTHERS = ["s3://bucket/a", "File:///a", "hdfs://host/a", "v2.x:///a"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_uri_means_its_path(name):
    assert local_path(name) == NAMES[name]


@pytest.mark.parametrize("name", OTHERS)
def test_other_file_systems_are_not_implemented(name):
    scheme = name.partition(":")[0]
    for open_it in (local_path, lambda name: file_uris.read(name, 1)):
        with pytest.raises(UnimplementedError) as caught:
            open_it(name)
        assert caught.value.details == f"File system scheme '{scheme}' not implemented (file: '{name}')"


def _outcome(read):
    """What was read, or the number and text of the error."""
    try:
        return read()
    except Exception as error:
        code = getattr(error, "error_code", None)  # TensorFlow's
        return (error.code.value, error.details) if code is None else (code, error.message)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["{}/a b", "file://{}/a b", "file://host{}/a b", "file:///{}/./a b"])
@pytest.mark.parametrize("missing", ["", "%20", "/c"])
def test_tensorflow_opens_the_same_files(name, missing, tmp_path):
    import tensorflow as tf

    (tmp_path / "a b").write_text("text")
    name = name.replace("{}", str(tmp_path)) + missing
    theirs = _outcome(lambda: tf.io.gfile.GFile(name, "rb").read())
    assert _outcome(lambda: file_uris.read(name, 100)) == theirs
    assert (theirs == b"text") is (not missing)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["file://a", "file://", "file:/a", "c://a", "+x://a"])
def test_tensorflow_finds_nothing_under_the_same_names(name):
    import tensorflow as tf

    theirs = _outcome(lambda: tf.io.gfile.GFile(name, "rb").read())
    assert theirs == (5, f"{name}; No such file or directory")
    assert _outcome(lambda: file_uris.read(name, 100)) == theirs


@pytest.mark.peer
@pytest.mark.parametrize("name", OTHERS)
def test_tensorflow_refuses_the_same_names(name):
    import tensorflow as tf

    with pytest.raises(tf.errors.UnimplementedError) as theirs:
        tf.io.gfile.GFile(name, "rb").read()
    with pytest.raises(UnimplementedError) as ours:
        local_path(name)
    assert ours.value.details == theirs.value.message


def test_a_missing_file_has_the_name_that_was_given(tmp_path):
    with pytest.raises(CallError) as caught:
        BatchingParameters.from_file(f"file://{tmp_path}/none")
    assert str(caught.value) == f"NOT_FOUND: file://{tmp_path}/none; No such file or directory"


def test_a_configuration_named_by_a_uri_keeps_its_name():
    for name in ("file:///models.config", "file://host/models.config", "s3://bucket/models.config"):
        assert ServerConfig(model_config_file=name).model_config_file == name
