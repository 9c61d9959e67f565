"""Predictions over gRPC, step by step: what is sent, when the signature is asked for, what a refusal leads to."""

from __future__ import annotations

import numpy as np
import pytest
from driving import GRPC, Client, Driven, metadata

from tfs_client import EncodeError, InvalidArgumentError, NotFoundError, Signature, SignatureError, TensorSpec
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.predict import Predict
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import read_request, write_response
from tfs_client.errors import UnavailableError
from tfs_client.options import RetryPolicy

X = np.float32([1, 2])
REPLY = write_response(ModelSpec("m", 1, None, "serving_default"), {"y": X})


def vectors(dtype="float32"):
    spec = TensorSpec(dtype, (None,))
    return Signature({"x": spec}, {"y": spec})


def input_of(send):
    request = read_request(send.body)
    assert send.address == Predict.path
    assert list(request.inputs) == ["x"]
    return request.tensor("x")


def predict(client, inputs, **options):
    return Driven(client.flows.predict(inputs, client.asked(**options)))


def test_named_arrays_are_sent_at_once():
    call = predict(Client(GRPC), {"x": X})
    assert input_of(call.sent).dtype == np.float32
    call.answer(REPLY)
    assert call.result["y"].tolist() == [1.0, 2.0]


def test_a_single_array_gets_its_name_from_the_signature_requested_once():
    client = Client(GRPC)
    call = predict(client, X)
    assert call.sent.address == GetModelMetadata.path
    call.answer(metadata(vectors()))
    assert input_of(call.sent).tolist() == [1.0, 2.0]
    call.answer(REPLY)
    assert call.result.array.tolist() == [1.0, 2.0]
    assert predict(client, X).sent.address == Predict.path


def test_python_numbers_get_their_dtype_from_the_signature():
    call = predict(Client(GRPC), {"x": [1, 2]})
    assert call.sent.address == GetModelMetadata.path
    call.answer(metadata(vectors("float64")))
    assert input_of(call.sent).dtype == np.float64


def test_a_reply_of_another_version_makes_the_next_call_ask_again():
    client = Client(GRPC)
    call = predict(client, [1, 2])
    call.answer(metadata(vectors()))
    call.answer(write_response(ModelSpec("m", 2, None, "serving_default"), {"y": X}))
    assert predict(client, [1, 2]).sent.address == GetModelMetadata.path


def seen(client, dtype):
    """Has the client see a signature of this dtype, in a call that succeeds."""
    call = predict(client, [1, 2])
    call.answer(metadata(vectors(dtype)))
    call.answer(REPLY)
    assert call.step is None


def test_refused_inputs_are_bound_again_when_the_signature_has_changed():
    client = Client(GRPC)
    seen(client, "float32")
    call = predict(client, {"x": [1, 2]})
    assert input_of(call.sent).dtype == np.float32
    call.answer(InvalidArgumentError("expects double", "Predict"))
    assert call.sent.address == GetModelMetadata.path
    call.answer(metadata(vectors("float64"), version=2))
    assert input_of(call.sent).dtype == np.float64
    call.answer(write_response(ModelSpec("m", 2, None, "serving_default"), {"y": X}))
    assert call.result.model.version == 2


def test_refused_inputs_are_not_sent_again_when_the_signature_is_the_same():
    client = Client(GRPC)
    seen(client, "float32")
    call = predict(client, {"x": [1, 2]})
    refusal = InvalidArgumentError("bad values", "Predict")
    call.answer(refusal)
    with pytest.raises(InvalidArgumentError) as caught:
        call.answer(metadata(vectors("float32")))
    assert caught.value is refusal


def test_a_refusal_says_what_the_signature_expects():
    call = predict(Client(GRPC), {"x": np.int32([1])})
    call.answer(InvalidArgumentError("wrong dtype", "Predict"))
    assert call.sent.address == GetModelMetadata.path
    with pytest.raises(InvalidArgumentError) as caught:
        call.answer(metadata(vectors()))
    assert "float32" in caught.value.hint
    assert caught.value.mismatch


def test_a_refusal_is_unchanged_if_the_metadata_is_unavailable():
    call = predict(Client(GRPC), {"x": np.int32([1])})
    refusal = InvalidArgumentError("wrong dtype", "Predict")
    call.answer(refusal)
    with pytest.raises(InvalidArgumentError) as caught:
        call.answer(UnavailableError("gone"))
    assert caught.value is refusal
    assert caught.value.hint == ""


def test_a_missing_model_found_by_the_metadata_call_is_an_error_of_predict():
    call = predict(Client(GRPC), [1, 2])
    with pytest.raises(NotFoundError) as caught:
        call.answer(NotFoundError("Servable not found", "GetModelMetadata"))
    assert caught.value.method == "Predict"


def test_inputs_that_do_not_fit_are_not_sent_when_the_call_validates():
    call = predict(Client(GRPC), {"x": np.int32([1])}, validate=True)
    assert call.sent.address == GetModelMetadata.path
    with pytest.raises(SignatureError, match="float32"):
        call.answer(metadata(vectors()))


def test_a_value_that_cannot_become_a_tensor_is_named_in_the_error():
    call = predict(Client(GRPC), object())
    assert call.sent.address == GetModelMetadata.path
    with pytest.raises(EncodeError, match="input 'x'"):
        call.answer(metadata(vectors()))


def test_a_token_is_requested_after_the_request_is_written():
    client = Client(GRPC, token=lambda: "secret")
    x = X.copy()
    call = predict(client, {"x": x})
    x[:] = 0
    assert call.step.function() == "secret"
    call.answer("secret")
    assert input_of(call.sent).tolist() == [1.0, 2.0]
    assert call.sent.metadata == (("authorization", "Bearer secret"),)


def test_a_failed_prediction_continues_with_a_pause_and_the_same_request():
    client = Client(GRPC, retry=RetryPolicy())
    call = predict(client, {"x": X})
    first = call.sent
    call.answer(UnavailableError("Socket closed"))
    assert 0 < call.slept < 1
    call.answer(None)
    assert call.sent.body == first.body
    call.answer(REPLY)
    assert call.result.array.tolist() == [1.0, 2.0]
