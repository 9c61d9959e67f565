"""Fakes of TensorFlow Lite models, from files of TensorFlow's converter, against the server with TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from peers.exported import quiet
from peers.lite_files import load, signature_def, sum_file

from tfs_client import PredictClient
from tfs_client.server.backends import tflite
from tfs_client.server.fakes import read_path
from tfs_client.testing import FakeServer

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A converted model with a variable first axis, and an input of fixed size."""
    import tensorflow as tf

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x"), tf.TensorSpec([3], tf.int64, "ids")])
        def call(self, x, ids):
            return {"y": tf.reduce_sum(x, 1) + tf.cast(tf.reduce_sum(ids), tf.float32)}

    model = Model()
    path = tmp_path_factory.mktemp("models") / "lite" / "2"
    path.mkdir(parents=True)
    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([model.call.get_concrete_function()], model)
        (path / tflite.FILE).write_bytes(converter.convert())
    return path


def test_a_converted_model_has_the_signatures_that_the_server_derives(folder):
    found, served = read_path(folder.parent), tflite.load(str(folder))
    assert (found.name, found.version) == ("lite", 2)
    assert found.signatures.keys() == served.signatures.keys()
    for name, signature in found.signatures.items():
        for side in ("inputs", "outputs"):
            have, want = getattr(signature, side), getattr(served.signatures[name], side)
            assert have.keys() == want.keys()
            for alias, spec in want.items():
                assert have[alias].dtype == spec.dtype
                assert have[alias].tensor_name == spec.tensor_name
                assert tuple(1 if size is None else size for size in have[alias].shape) == spec.shape
    served.close()


def test_variable_sizes_stay_open_in_a_fake(folder):
    (signature,) = read_path(folder).signatures.values()
    (alias,) = [alias for alias, spec in signature.inputs.items() if spec.dtype == np.float32]
    assert signature.inputs[alias].shape == (None, 2)
    (ids,) = [each for each in signature.inputs if each != alias]
    with (
        FakeServer.from_saved_model(folder.parent) as server,
        PredictClient(server.target, model="lite", timeout=20) as client,
    ):
        found = client.predict({alias: np.ones((5, 2), np.float32), ids: np.ones(3, np.int64)})
    assert found.array.tolist() == [0] * 5


@pytest.mark.parametrize("options", [{}, {"signature_defs": {"mine": signature_def({"p": "a", "q": "b"}, {"r": "y"})}}])
def test_signatures_in_the_metadata_are_those_that_the_server_reads(tmp_path, options):
    served = load(tmp_path, sum_file(**options))
    assert read_path(tmp_path / tflite.FILE).signatures == served.signatures
    served.close()
