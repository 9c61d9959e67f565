"""Signatures derived from recorded predictions."""

from __future__ import annotations

import numpy as np

from tfs_client import TensorSpec
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import StatusCode
from tfs_client.recordings import Episode
from tfs_client.recordings.derived_signatures import derived


def predicted(x, y, spec=None, **more):
    spec = spec or ModelSpec("m")
    reply = predict_messages.write_response(ModelSpec("m", 1), {"y": y})
    return Episode("Predict", spec, predict_messages.write_request(spec, {"x": x}), reply, **more)


def test_axes_that_vary_have_any_size():
    episodes = [
        predicted(np.zeros((1, 2, 5), np.float32), np.int64(1)),
        predicted(np.zeros((9, 2, 6), np.float32), np.int64(1)),
        predicted(np.zeros((1, 7), np.float64), np.zeros(3), ModelSpec("m", signature="other")),
        predicted(np.zeros(4, np.float64), np.zeros(3), ModelSpec("m", signature="other")),
    ]
    found = derived(episodes, ModelSpec("m"))
    assert found["serving_default"].inputs == {"x": TensorSpec("float32", (None, 2, None))}
    assert found["serving_default"].outputs == {"y": TensorSpec("int64", ())}
    assert found["other"].inputs == {"x": TensorSpec("float64", None)}
    assert (found.model, found.version) == ("m", None)


def test_only_successful_predictions_of_the_same_version_count():
    one = np.float32([1])
    episodes = [
        predicted(one, one, ModelSpec("m", 2)),
        predicted(one, one, ModelSpec("n")),
        Episode("Predict", ModelSpec("m"), b"", None, StatusCode.NOT_FOUND),
        Episode("Predict", ModelSpec("m"), b"\xff", b""),
    ]
    assert derived(episodes, ModelSpec("m")) is None
    assert derived(episodes, ModelSpec("m", 2))["serving_default"].inputs == {"x": TensorSpec("float32", (None,))}
