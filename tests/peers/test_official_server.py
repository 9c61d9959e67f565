"""PredictClient against a server on the published stubs that runs SavedModels with TensorFlow.

Ordinary calls are checked in tests/contract; these tests need TensorFlow itself.
"""

from __future__ import annotations

import numpy as np
import pytest
from peers.arrays import DTYPES, values

from tfs_client import InvalidArgumentError, PredictClient, SignatureError, make_ndarray, make_tensor_proto

pytestmark = pytest.mark.peer


@pytest.fixture
def client(official):
    with PredictClient(official.target, model="half_plus_two", timeout=30) as client:
        yield client


@pytest.mark.parametrize("shape", [(), (1,), (0, 2), (3, 4), (2, 1, 5)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensorflow_returns_the_values_that_were_sent(official, dtype, shape):
    array = values(dtype, shape)
    with PredictClient(official.target, model="identity", timeout=30) as client:
        back = client.predict({"x": array}, signature=dtype).array
        again = client.predict(array, signature=dtype).array
    for got in (back, again):
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("version", [1, 2])
def test_predictions_equal_tensorflows(official, client, version):
    import tensorflow as tf

    x = np.random.default_rng(3).standard_normal(10_000).astype(np.float32)
    own = official.models["half_plus_two"][version].signatures["serving_default"](x=tf.constant(x))["y"].numpy()
    np.testing.assert_array_equal(client.predict({"x": x}, version=version).array, own)
    np.testing.assert_array_equal(client.predict_future(x, version=version).result(30).array, own)


@pytest.mark.parametrize(("model", "version"), [("half_plus_two", 1), ("half_plus_two", 2), ("identity", 1)])
def test_signatures_equal_those_in_the_saved_model(official, client, model, version):
    import tensorflow as tf

    expected = official.signature_def(model, version)
    found = client.signatures(model=model, version=version)
    assert set(found) == set(expected)
    for name, signature in found.items():
        assert signature.method_name == expected[name].method_name
        for specs, infos in ((signature.inputs, expected[name].inputs), (signature.outputs, expected[name].outputs)):
            assert set(specs) == set(infos)
            for alias, spec in specs.items():
                info = infos[alias]
                shape = tf.TensorShape(info.tensor_shape)
                assert spec.tensor_name == info.name
                assert spec.row.number == info.dtype
                assert spec.shape == (None if shape.rank is None else tuple(shape.as_list()))


def test_an_error_of_an_op_keeps_its_code_and_text(client):
    with pytest.raises(InvalidArgumentError) as caught:
        client.predict({"x": np.float64([1])})
    assert "float" in caught.value.details


def test_several_inputs_need_their_names(client):
    with pytest.raises(SignatureError, match=r"the inputs are: a: float32 \(\?,\), text: string \(\?,\)"):
        client.predict([1.0], signature="many")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)], ids=str)
def test_tensor_protos_are_understood_by_both_libraries(official, dtype, shape):
    import tensorflow as tf

    array = values(dtype, shape)
    ours = make_tensor_proto(array)
    theirs = tf.make_tensor_proto(array)
    np.testing.assert_array_equal(make_ndarray(theirs), array)
    np.testing.assert_array_equal(tf.make_ndarray(type(theirs).FromString(ours.SerializeToString())), array)
