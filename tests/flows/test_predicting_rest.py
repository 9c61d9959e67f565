"""Predictions over REST, step by step: signatures, row and columnar form, models that were replaced."""

from __future__ import annotations

import numpy as np
import pytest
from driving import REST, Client, Driven, metadata_json

from tfs_client import EncodeError, InvalidArgumentError, NotFoundError

X = np.float32([1, 2])
PREDICT, METADATA = "POST /v1/models/m:predict", "GET /v1/models/m/metadata"
ROWS, COLUMNS = b'{"instances":[1.0,2.0]}', b'{"inputs":[1.0,2.0]}'
UNEVEN = "Tensor name: y has inconsistent batch size: 3 expecting: 2"


def predict(client, inputs, **options):
    return Driven(client.flows.predict(inputs, client.asked(**options)))


def compact(body):
    return body.replace(b" ", b"").replace(b'{"x":1.0},{"x":2.0}', b"1.0,2.0").replace(b'{"x":[1.0,2.0]}', b"[1.0,2.0]")


def known(**options):
    """A client that has seen the model's signature."""
    client = Client(REST, **options)
    call = predict(client, {"x": X})
    call.answer(metadata_json())
    call.answer(b'{"predictions": [1.0, 2.0]}')
    assert call.step is None
    return client


def test_the_signature_comes_first_and_decides_how_the_reply_is_read():
    call = predict(Client(REST), {"x": X})
    assert call.sent.address == METADATA
    call.answer(metadata_json())
    assert call.sent.address == PREDICT
    assert compact(call.sent.body) == ROWS
    call.answer(b'{"predictions": [3.0, 4.0]}')
    assert call.result["y"].dtype == np.float32
    assert call.result["y"].tolist() == [3.0, 4.0]


def test_a_known_signature_is_not_requested_again():
    assert predict(known(), {"x": X}).sent.address == PREDICT


def test_rows_whose_outputs_have_no_common_batch_size_are_sent_as_columns_from_then_on():
    client = known()
    call = predict(client, {"x": X})
    assert compact(call.sent.body) == ROWS
    call.answer(InvalidArgumentError(UNEVEN, "Predict"))
    assert call.sent.address == PREDICT
    assert compact(call.sent.body) == COLUMNS
    call.answer(b'{"outputs": [1.0, 2.0, 3.0]}')
    assert call.result["y"].tolist() == [1.0, 2.0, 3.0]
    assert compact(predict(client, {"x": X}).sent.body) == COLUMNS


def test_a_form_chosen_by_the_user_is_kept():
    call = predict(known(rest_format="row"), {"x": X})
    call.answer(InvalidArgumentError(UNEVEN, "Predict"))
    assert call.sent.address == METADATA  # the refused inputs are compared with it
    with pytest.raises(InvalidArgumentError, match="inconsistent batch size"):
        call.answer(metadata_json())


def test_outputs_without_a_batch_axis_are_requested_in_columns():
    call = predict(Client(REST), {"x": X})
    call.answer(metadata_json(batch=2))
    assert compact(call.sent.body) == COLUMNS


def test_rows_of_different_lengths_are_refused_when_the_user_chose_rows():
    call = predict(Client(REST, rest_format="row"), {"x": np.float32(1)})
    with pytest.raises(EncodeError, match="row form"):
        call.answer(metadata_json())


def test_inputs_that_do_not_fit_a_known_signature_are_written_with_a_fresh_one():
    call = predict(known(), {"x": np.float64([1, 2])})
    assert call.sent.address == METADATA
    call.answer(metadata_json("DT_DOUBLE", version=2))
    assert call.sent.address == PREDICT


def test_a_reply_that_does_not_match_a_known_signature_is_read_with_a_fresh_one():
    call = predict(known(), {"x": X})
    call.answer(b'{"predictions": [1, 2]}')  # integers where floats were expected
    assert call.sent.address == METADATA
    call.answer(metadata_json("DT_INT32", version=2))
    assert call.result["y"].dtype == np.int32


def test_a_server_that_writes_whole_floats_like_integers_is_asked_for_its_signature_once():
    client = known()
    call = predict(client, {"x": X})
    call.answer(b'{"predictions": [1, 2]}')
    call.answer(metadata_json())  # the same as before
    assert call.result["y"].dtype == np.float32
    again = predict(client, {"x": X})
    again.answer(b'{"predictions": [3, 4]}')
    assert again.result["y"].tolist() == [3.0, 4.0]


def test_a_server_without_metadata_gets_unchanged_inputs():
    call = predict(Client(REST), {"x": X})
    call.answer(NotFoundError("HTTP 404"))
    assert call.sent.address == PREDICT
    call.answer(b'{"predictions": [1.5, 2.5]}')
    assert call.result.array.tolist() == [1.5, 2.5]


def test_digits_are_not_rounded_to_the_dtype_of_a_signature():
    call = predict(Client(REST), [1 / 3])
    call.answer(metadata_json())
    assert b"0.3333333333333333" in call.sent.body
