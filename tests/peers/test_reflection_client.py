"""Server reflection, as gRPC's own client for Python sees it."""

from __future__ import annotations

import importlib

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory

from tfs_client.server import Server

pytestmark = pytest.mark.peer


def test_grpcs_own_client_finds_services_and_calls_them():
    database = importlib.import_module("grpc_reflection.v1alpha.proto_reflection_descriptor_database")
    with Server() as server, grpc.insecure_channel(server.target) as channel:
        reflected = database.ProtoReflectionDescriptorDatabase(channel)
        pool = descriptor_pool.DescriptorPool(reflected)
        assert "tensorflow.serving.ModelService" in reflected.get_services()
        for service in reflected.get_services():
            for method in pool.FindServiceByName(service).methods:
                assert message_factory.GetMessageClass(method.input_type)()
                assert message_factory.GetMessageClass(method.output_type)()
        assert list(reflected.FindAllExtensionNumbers("tensorflow.serving.PredictRequest")) == []
        with pytest.raises(KeyError):
            reflected.FindFileContainingSymbol("nope.Nope")

        status = pool.FindServiceByName("tensorflow.serving.ModelService").FindMethodByName("GetModelStatus")
        request = message_factory.GetMessageClass(status.input_type)()
        request.model_spec.name = "nope"
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")(
                request.SerializeToString(), timeout=10
            )
        assert caught.value.details() == "Could not find any versions of model nope"
