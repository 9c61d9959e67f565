"""Metadata of models with their own SignatureDefs: they are returned unchanged over both ports."""

from __future__ import annotations

import httpx
import pytest

from tfs_client import TensorSpec
from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tfs_client.server import FunctionServable, FunctionSignature, Server, ServerConfig
from tfs_client.server.batching import BatchingServable


def odd() -> SignatureDef:
    """What no Signature can hold: a named dimension, a tensor without shape, a sparse and a composite one."""
    proto = SignatureDef(method_name="tensorflow/serving/predict")
    proto.inputs["x"].name, proto.inputs["x"].dtype = "x:0", 1
    proto.inputs["x"].tensor_shape.dim.add(size=-1, name="batch")
    proto.outputs["plain"].name, proto.outputs["plain"].dtype = "y:0", 101
    sparse = proto.outputs["sparse"]
    sparse.dtype, sparse.coo_sparse.values_tensor_name, sparse.coo_sparse.indices_tensor_name = 1, "v:0", "i:0"
    composite = proto.outputs["composite"].composite_tensor
    composite.type_spec.type_spec_class_name = "RaggedTensorSpec"
    composite.components.add(name="r:0", dtype=9).tensor_shape.unknown_rank = True
    return proto


class Kept(FunctionServable):
    """A servable whose model has a SignatureDef."""

    def __init__(self) -> None:
        spec = TensorSpec("float32", (None,))
        super().__init__({"serving_default": FunctionSignature(lambda x: x, {"x": spec}, {"y": spec})})
        self.signature_defs = {"serving_default": odd().SerializeToString()}


@pytest.fixture(scope="module", params=["alone", "batched"])
def server(request):
    servable = Kept() if request.param == "alone" else BatchingServable(Kept())
    with Server(ServerConfig(rest_port=0)) as server:
        server.add_model("m", servable)
        yield server
    if request.param == "batched":
        servable.close()


def test_metadata_over_grpc_is_complete(server, connect):
    found = SignatureDefMap()
    connect(server.target).metadata({"name": "m"}).metadata["signature_def"].Unpack(found)
    assert dict(found.signature_def) == {"serving_default": odd()}


def test_over_rest_every_kind_of_tensor_is_shown(server):
    reply = httpx.get(f"{server.rest_url}/v1/models/m/metadata", timeout=20).json()
    signature = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    shape = {"dim": [{"size": "-1", "name": "batch"}], "unknown_rank": False}
    assert signature["inputs"] == {"x": {"name": "x:0", "dtype": "DT_FLOAT", "tensor_shape": shape}}
    outputs = signature["outputs"]
    assert outputs["plain"] == {"name": "y:0", "dtype": "DT_FLOAT_REF"}
    names = {"values_tensor_name": "v:0", "indices_tensor_name": "i:0", "dense_shape_tensor_name": ""}
    assert outputs["sparse"] == {"coo_sparse": names, "dtype": "DT_FLOAT"}
    composite = outputs["composite"]["composite_tensor"]
    assert composite["type_spec"]["type_spec_class_name"] == "RaggedTensorSpec"
    (component,) = composite["components"]
    assert component["tensor_shape"] == {"dim": [], "unknown_rank": True}
