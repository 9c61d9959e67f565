"""Refusals that must be the same on the tiny server for every way of calling: classes everywhere, texts over gRPC."""

from __future__ import annotations

import numpy as np
import pytest
from calling import GRPC, REST, calling

from tfs_client import (
    CallError,
    ConfigError,
    EncodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    SignatureError,
    TensorSpec,
    UnimplementedError,
    UnknownError,
)

# The server on TensorFlow's stubs is no TensorFlow Serving: its refusals are its own.
pytestmark = pytest.mark.parametrize(
    "called", [("typed", style) for style in (*GRPC, *REST)] + [("content", "grpc")], indirect=True, ids="-".join
)

X = np.float32([1, 2, 5])


@pytest.mark.parametrize(
    ("options", "error", "details", "hint"),
    [
        ({"model": "ghost"}, NotFoundError, "Servable not found for request: Latest(ghost)", "client.status()"),
        (
            {"version": 9},
            NotFoundError,
            "Servable not found for request: Specific(half_plus_two, 9)",
            "client.status()",
        ),
        ({"label": "ghost"}, InvalidArgumentError, "Unrecognized servable version label: ghost", "version_labels"),
        ({"signature": "ghost"}, FailedPreconditionError, 'Serving signature key "ghost" not found.', ""),
        (
            {"outputs": ["ghost"]},
            InvalidArgumentError,
            "output tensor alias not found in signature: ghost Outputs expected to be in the set {y}.",
            "",
        ),
        ({"outputs": ["y", "y"]}, InvalidArgumentError, "duplicate output tensor alias: y", ""),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_refusals_have_their_code_text_and_hint(client, options, error, details, hint, style):
    with pytest.raises(error) as caught:
        client.predict({"x": X}, **options)
    if style in GRPC or "ghost" not in options.get("outputs", []):
        assert caught.value.details == details
    assert hint in caught.value.hint
    assert caught.value.method in ("Predict", "GetModelMetadata")


@pytest.mark.parametrize(
    ("inputs", "hint"),
    [
        ({"x": X, "z": X}, "'z' is not an input"),
        ({"X": X}, "'X' is not an input, but 'x' is"),
        ({"x": X.astype(np.float64)}, "'x' expects float32 (?,), got float64 (3,): wrong dtype"),
        ({"x": ["text"]}, "'x' expects float32 (?,), got string (1,): wrong dtype"),
        ({}, "'x' is missing: float32 (?,)"),
    ],
    ids=["extra", "misspelt", "dtype", "text", "none"],
)
def test_wrong_inputs_are_refused_and_compared_with_the_signature(client, inputs, hint):
    with pytest.raises(InvalidArgumentError) as caught:
        client.predict(inputs)
    assert hint in caught.value.hint
    with pytest.raises(SignatureError) as early:
        client.predict(inputs, validate=True)
    assert hint in str(early.value)


def test_an_error_of_the_model_is_raised_by_the_call(client, server, style):
    def broken(x):
        raise ValueError("I only like even numbers")

    vector = TensorSpec("float32", (None,))
    if ("broken", 1) not in server._models:
        server.add_model("broken", broken, inputs={"x": vector}, outputs={"y": vector})
    with pytest.raises(InvalidArgumentError, match="I only like even numbers"):
        client.predict({"x": X}, model="broken")


def test_a_lossy_cast_is_refused_and_the_error_says_how_to_request_it(client):
    with pytest.raises(SignatureError, match=r"array.astype\('float32'\)"):
        client.predict(np.array([0.1]))


def test_values_that_fit_no_tensor_are_named(client):
    with pytest.raises(EncodeError, match="input 'x'"):
        client.predict({"x": None})


def test_status_and_signatures_of_unknown_models_are_not_found(client):
    with pytest.raises(NotFoundError, match="Could not find any versions of model ghost") as caught:
        client.status(model="ghost")
    assert "client.models() lists" in caught.value.hint
    with pytest.raises(NotFoundError, match="Could not find version 9 of model half_plus_two"):
        client.status(version=9)
    with pytest.raises(NotFoundError, match=r"Servable not found for request: Latest\(ghost\)"):
        client.signatures(model="ghost")


def test_options_are_checked_before_anything_is_sent(client):
    for options in ({"timeout": 0}, {"version": -1}, {"version": 1, "label": "stable"}, {"compression": "zip"}):
        with pytest.raises(ConfigError):
            client.predict({"x": X}, **options)


def test_grpc_only_features_are_refused_over_rest(client, style):
    if style in GRPC:
        assert client.multi_inference is not None
        with pytest.raises(CallError):  # the model's signatures take no examples
            client.multi_inference([{"x": 1.0}], tasks={"serving_default": "regress"})
        return
    with pytest.raises(UnimplementedError, match=r"REST does not have MultiInference\nUse gRPC"):
        client.multi_inference([{"x": 1.0}], tasks={"serving_default": "regress"})
    with pytest.raises(UnimplementedError, match="REST does not have Check"):
        client.health()


def test_the_error_has_the_request_id(server, style):
    with calling(style, server, model="half_plus_two", request_id=lambda: "id-7", timeout=20) as client:
        with pytest.raises(NotFoundError, match="request id-7") as caught:
            client.predict({"x": X}, version=9)
        assert caught.value.request_id == "id-7"
        client.predict({"x": X})
    assert server.calls[-1].metadata["x-request-id"] == "id-7"


def test_an_unexpected_error_of_the_model_keeps_its_text(client, server, style):
    vector = TensorSpec("float32", (None,))
    if ("gone", 1) not in server._models:
        server.add_model("gone", lambda x: {}["y"], inputs={"x": vector}, outputs={"y": vector})
    with pytest.raises(CallError) as caught:
        client.predict({"x": X}, model="gone")
    assert isinstance(caught.value, UnknownError) or style in REST  # HTTP has one status for three codes
    assert "KeyError" in caught.value.details
