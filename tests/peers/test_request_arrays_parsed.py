"""TensorFlow's own protobuf reads requests whose arrays lie in their bytes."""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client._codec.dtypes import ROWS, STRING, ArrayShape
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.request_arrays import RequestArrays

pytestmark = pytest.mark.peer

FIXED = [row for row in ROWS if row.field is not None and row is not STRING and (row.spec or row.name == "bfloat16")]


@pytest.mark.parametrize("row", FIXED, ids=lambda row: row.name)
@pytest.mark.parametrize("name", ["m", "a much longer name of a model"])
def test_tensorflow_reads_every_dtype(row, name):
    tf = pytest.importorskip("tensorflow")
    from tensorflow_serving.apis import predict_pb2

    shapes = {"x": ArrayShape(row, (3, 5)), "second": ArrayShape(row, (7,)), "none": ArrayShape(row, (0, 2))}
    arrays = RequestArrays(ModelSpec(name, 2), shapes, ["y"])
    for number, array in enumerate(arrays.values(), 1):
        array.reshape(-1).view(np.uint8)[:] = number if row.name != "bool" else 1
    request = predict_pb2.PredictRequest.FromString(arrays.request(ModelSpec(name, 2), ["y"]))
    assert (request.model_spec.name, request.model_spec.version.value, *request.output_filter) == (name, 2, "y")
    assert set(request.inputs) == set(shapes)
    for alias, array in arrays.items():
        found = tf.make_ndarray(request.inputs[alias])
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()
