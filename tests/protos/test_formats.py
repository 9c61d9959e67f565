"""JSON and text of messages that hold an ``Any``: as with protobuf's own modules, in this package's pool."""

from __future__ import annotations

import json

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.protobuf import json_format as protobufs_json
from google.protobuf import text_format as protobufs_text

import tfs_client.protos
from tfs_client.protos import json_format, text_format
from tfs_client.protos.tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


@pytest.fixture
def metadata(double):
    """The reply of GetModelMetadata, whose metadata is an Any."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "double"
    with grpc.insecure_channel(double.target) as channel:
        return prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request, timeout=20)


def test_json_shows_what_an_any_holds(metadata):
    shown = json_format.MessageToDict(metadata)
    assert json.loads(json_format.MessageToJson(metadata)) == shown
    packed = shown["metadata"]["signature_def"]
    assert packed["@type"] == URL
    assert packed["signatureDef"]["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"


def test_json_is_read_back(metadata):
    kind = get_model_metadata_pb2.GetModelMetadataResponse
    assert json_format.Parse(json_format.MessageToJson(metadata), kind()) == metadata
    assert json_format.ParseDict(json_format.MessageToDict(metadata), kind()) == metadata


def test_text_shows_what_an_any_holds_and_is_read_back(metadata):
    kind = get_model_metadata_pb2.GetModelMetadataResponse
    text = text_format.MessageToString(metadata)
    assert f"[{URL}]" in text
    for read in (text_format.Parse, text_format.Merge):
        assert read(text, kind()) == metadata


def test_text_is_printed_to_a_file(metadata, tmp_path):
    with (tmp_path / "out").open("w") as out:
        text_format.PrintMessage(metadata, out)
    assert (tmp_path / "out").read_text() == text_format.MessageToString(metadata)


def test_protobufs_own_functions_take_the_pool(metadata):
    pool = tfs_client.protos.pool()
    assert pool is metadata.DESCRIPTOR.file.pool
    shown = protobufs_json.MessageToJson(metadata, descriptor_pool=pool)
    assert shown == json_format.MessageToJson(metadata)
    with pytest.raises(TypeError, match="SignatureDefMap"):
        protobufs_json.MessageToJson(metadata)


def test_arguments_are_protobufs(metadata):
    assert "\n" not in json_format.MessageToJson(metadata, indent=None)
    assert "model_spec" in json_format.MessageToDict(metadata, preserving_proto_field_name=True)
    assert text_format.MessageToString(metadata, as_one_line=True).count("\n") == 0
    read = json_format.ParseDict({"model_spec": {"name": "m"}, "x": 1}, predict_pb2.PredictRequest(), True)
    assert read.model_spec.name == "m"
    with pytest.raises(TypeError, match="SignatureDefMap"):
        json_format.MessageToJson(metadata, descriptor_pool=None)


def test_errors_are_protobufs():
    assert json_format.ParseError is protobufs_json.ParseError
    assert text_format.ParseError is protobufs_text.ParseError
    with pytest.raises(json_format.ParseError):
        json_format.Parse("{", predict_pb2.PredictRequest())
    with pytest.raises(AttributeError):
        _ = json_format.Nothing


def test_messages_of_other_packages_are_accepted():
    message = any_pb2.Any()
    message.Pack(duration_pb2.Duration(seconds=3))
    assert json_format.MessageToDict(message) == protobufs_json.MessageToDict(message)
    assert text_format.Parse(text_format.MessageToString(message), any_pb2.Any()) == message
