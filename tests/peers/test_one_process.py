"""TensorFlow, its serving API and this package in one process, in both import orders, with calls made with both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tfs_client

pytestmark = pytest.mark.peer

OURS = """
import numpy as np
from tfs_client import PredictClient, TensorSpec, make_ndarray, make_tensor_proto
from tfs_client.testing import FakeServer
import tfs_client.protos.tensorflow_serving.apis.prediction_service_pb2_grpc as our_stubs
import tfs_client.protos.tensorflow_serving.apis.predict_pb2 as our_messages
import tfs_client.protos.tensorflow_serving.apis.get_model_status_pb2

server = FakeServer().start()
spec = TensorSpec("float32", (None,))
server.add_model("double", lambda x: 2 * x, inputs={"x": spec}, outputs={"y": spec})


def call_ours():
    with PredictClient(server.target, model="double") as client:
        assert client.predict([1.0, 2.0]).array.tolist() == [2, 4]
        assert client.status().available == (1,)
"""

THEIRS = """
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


def call_theirs(target):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "double"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([3.0]))
    with grpc.insecure_channel(target) as channel:
        reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=20)
    assert tf.make_ndarray(reply.outputs["y"]).tolist() == [6]
    return reply
"""

BOTH = """
reply = call_theirs(server.target)
call_ours()
call_theirs(server.target)
assert make_ndarray(reply.outputs["y"]).tolist() == [6]
same = our_messages.PredictResponse.FromString(reply.SerializeToString())
assert same.model_spec.name == "double"
assert type(same) is not type(reply)
crossed = type(reply.outputs["y"]).FromString(make_tensor_proto([1, 2]).SerializeToString())
assert tf.make_ndarray(crossed).tolist() == [1, 2]
server.stop()
print("both answered")
"""


@pytest.mark.parametrize(
    "script",
    [OURS + "call_ours()\n" + THEIRS + BOTH, THEIRS + OURS + BOTH],
    ids=["ours first", "theirs first"],
)
def test_both_libraries_work_in_one_process(script):
    environment = os.environ | {
        "PYTHONPATH": str(Path(tfs_client.__file__).parents[1]),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "both answered" in done.stdout


FORMATS = """
import grpc
from google.protobuf import json_format, text_format
import tfs_client.protos.json_format as our_json, tfs_client.protos.text_format as our_text


def metadata(root):
    import importlib
    messages = importlib.import_module(root + ".apis.get_model_metadata_pb2")
    stubs = importlib.import_module(root + ".apis.prediction_service_pb2_grpc")
    request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "double"
    with grpc.insecure_channel(server.target) as channel:
        return stubs.PredictionServiceStub(channel).GetModelMetadata(request, timeout=20)


theirs, ours = metadata("tensorflow_serving"), metadata("tfs_client.protos.tensorflow_serving")
shown = json_format.MessageToJson(theirs, sort_keys=True)
assert our_json.MessageToJson(ours, sort_keys=True) == our_json.MessageToJson(theirs, sort_keys=True) == shown
assert our_json.Parse(shown, type(ours)()) == ours
assert our_json.Parse(shown, type(theirs)()) == json_format.Parse(shown, type(theirs)()) == theirs
text = text_format.MessageToString(theirs)
assert our_text.MessageToString(ours) == text
assert our_text.Parse(text, type(ours)()) == ours
server.stop()
print("all alike")
"""


@pytest.mark.parametrize(
    "script", [OURS + THEIRS + FORMATS, THEIRS + OURS + FORMATS], ids=["ours first", "theirs first"]
)
def test_json_and_text_of_an_any_are_the_same_from_both(script):
    environment = os.environ | {"PYTHONPATH": str(Path(tfs_client.__file__).parents[1]), "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all alike" in done.stdout
