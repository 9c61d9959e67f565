"""The arrays and bytes of a row: what clients send and servers answer, and whether a request has the right values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comparison import kserve
from comparison.files import Arrays, Files, same
from comparison.rows import SCORES, Call
from tfs_client._codec import predict_messages, rest_json, tensors
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest

MODEL = "m"


@dataclass(frozen=True)
class Messages:
    """What one row sends and answers.

    Attributes:
        inputs, outputs: the arrays.
        request, reply: TensorFlow Serving's messages, or JSON, for the raw clients.
        kserve_reply: the reply to tritonclient.
    """

    inputs: Arrays
    outputs: Arrays
    request: bytes
    reply: bytes
    kserve_reply: bytes

    def save(self, directory: Path) -> None:
        """Write the files that clients read."""
        with_strings = [{n: _fixed(a) for n, a in arrays.items()} for arrays in (self.inputs, self.outputs)]
        Files(directory).save(*with_strings, self.request, self.reply)


def messages(call: Call) -> Messages:
    """Make the messages of a call, from a fixed seed."""
    x = _input(call)
    if call.server != "grpc":
        value = x.mean(axis=(1, 2, 3))[0] if call.server == "tiny" else 0.5
        y = np.full(SCORES, value, np.float32)
        body = rest_json.write_request({rest_json.UNNAMED: x}, "", row=True)
        return Messages({"x": x}, {"y": y}, body, b"", b"")
    y = x if call.reply != "small" and call.output == SCORES else _scores(call.output)
    reply = predict_messages.write_response(
        ModelSpec(MODEL, 1, None, "serving_default"), {"y": y}, typed=call.reply != "content"
    )
    request = predict_messages.write_request(ModelSpec(MODEL), {"x": x})
    return Messages({"x": x}, {"y": y}, request, reply, kserve.response(MODEL, "y", y))


def wrong_request(call: Call, sent: Messages, got: bytes, kserve_request: bool) -> str | None:
    """Why the request that a server received does not have the values of the row; None if it has."""
    (x,) = sent.inputs.values()
    if kserve_request:
        return None if kserve.is_request(got, MODEL, "x", x) else "another model, input or values"
    if call.server == "grpc":
        request = PredictRequest.FromString(got)
        found = tensors.read(request.inputs["x"].SerializeToString())
        return None if request.model_spec.name == MODEL and same(found, x) else f"got {found.dtype} {found.shape}"
    body = json.loads(got)
    values = body.get("instances", body.get("inputs"))
    if isinstance(values, dict):
        values = values["x"]
    if isinstance(values[0], dict):
        values = [value["x"] for value in values]
    return None if same(np.asarray(values, np.float32), x) else "other values in the JSON"


def _input(call: Call) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(0)
    if call.dtype == "string":
        return np.array([b"word%04d" % n for n in generator.integers(0, 10_000, call.shape)], object)
    if call.dtype == "int64":
        return generator.integers(0, 1000, call.shape)  # classes, as a model answers
    if call.dtype == "uint8":
        return generator.integers(0, 256, call.shape, np.uint8)
    return generator.random(call.shape, np.float32).astype(call.dtype)


def _scores(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).random(shape, np.float32)


def _fixed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype("S") if array.dtype == object else array
