"""ONNX models that the package onnx writes: the signatures are those that it reads."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tfs_client import PredictClient, Signature, TensorSpec
from tfs_client._codec import onnx_file
from tfs_client.errors import DecodeError
from tfs_client.server.fakes import read_path
from tfs_client.testing import FakeServer

pytestmark = pytest.mark.peer

onnx = pytest.importorskip("onnx")


UNKNOWN = {"UNDEFINED", "FLOAT8E8M0", "FLOAT6E2M3", "FLOAT6E3M2"}  # to TensorFlow


def small(inputs, outputs, weights=()):
    """A model with one node."""
    node = onnx.helper.make_node("Identity", [inputs[0].name], [outputs[0].name])
    graph = onnx.helper.make_graph([node], "graph", inputs, outputs, weights)
    return onnx.helper.make_model(graph)


def test_every_element_type_has_the_dtype_of_onnx():
    for name, number in onnx.TensorProto.DataType.items():
        value = onnx.helper.make_tensor_value_info("x", number, ["batch", 3, None])
        data = small([value], [value]).SerializeToString()
        if name in UNKNOWN:
            with pytest.raises(
                DecodeError, match=rf"an element type of TensorFlow, got (number {number}|{name}, which)"
            ):
                onnx_file.read(io.BytesIO(data))
            continue
        row, shape, _ = onnx_file.read(io.BytesIO(data))[0]["x"]
        assert shape == (None, 3, None)
        if row.name != "string":
            want = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
            assert row.dtype == want, name


def test_a_model_with_weights_in_another_file_is_served_as_a_fake(tmp_path):
    float_ = onnx.TensorProto.FLOAT
    shapes = {"x": ["n", 2], "w": [2, 3]}
    inputs = [onnx.helper.make_tensor_value_info(name, float_, shape) for name, shape in shapes.items()]
    output = onnx.helper.make_tensor_value_info("y", float_, ["n", 3])
    weights = [onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "w")]
    path = tmp_path / "dense" / "4" / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(
        small(inputs, [output], weights), str(path), save_as_external_data=True, location="weights", size_threshold=0
    )
    (path.parent / "weights").unlink()
    found = read_path(path)
    assert (found.name, found.version) == ("dense", 4)
    specs = {"x": TensorSpec("float32", (None, 2))}, {"y": TensorSpec("float32", (None, 3))}
    assert found.signatures == {"serving_default": Signature(*specs)}
    with (
        FakeServer.from_saved_model(tmp_path / "dense") as server,
        PredictClient(server.target, model="dense", timeout=20) as client,
    ):
        assert client.predict({"x": np.ones((5, 2), np.float32)})["y"].tolist() == [[0] * 3] * 5
