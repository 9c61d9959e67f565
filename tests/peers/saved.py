"""Small SavedModels of TensorFlow 1, whose graphs tests write op by op, and calls of loaded ones."""

from __future__ import annotations

import pytest
from peers.exported import quiet

from tfs_client import CallError


def save(tf, path, build, dtype=None, shape=(None,)):
    """A SavedModel with a signature from x to y; ``build`` computes y."""
    v1 = tf.compat.v1
    with quiet(), v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(dtype or tf.float32, shape, name="x")
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": tf.identity(build(x), "y")})
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    return path


def rename_op(path, old, new):
    """Change the type of ops in a SavedModel to another one, which may not exist."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = path / "saved_model.pb"
    proto = SavedModel.FromString(file.read_bytes())
    renamed = [node for node in proto.meta_graphs[0].graph_def.node if node.op == old]
    assert renamed
    for node in renamed:
        node.op = new
        node.attr.clear()
    proto.meta_graphs[0].meta_info_def.ClearField("stripped_op_list")
    file.write_bytes(proto.SerializeToString())


def run(servable, x, signature="serving_default", output="y", alias="x"):
    """The output that a loaded model makes of x."""
    return servable.run(signature, {alias: x}, [output])[output]


def error_of(call, *args, **options):
    """Code and details of the error that a call or a load ends with."""
    with pytest.raises(CallError) as caught:
        call(*args, **options)
    return caught.value.code, caught.value.details
