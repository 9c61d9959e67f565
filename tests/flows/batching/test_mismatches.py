"""Examples that do not fit the model's signature: all of them fail, and each batch costs one request."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from batch_models import BAD, many

from tfs_client import MicroBatcher, PredictClient, Prediction
from tfs_client.errors import InvalidArgumentError, SignatureError, TFServingError

FITS = np.zeros(3, np.float32)


def predicts(server):
    return [call for call in server.calls if call.method == "Predict"]


@pytest.mark.parametrize(
    ("example", "options"),
    [
        ({"x": np.zeros(3)}, {}),
        ({"X": FITS}, {}),
        ({"x": np.zeros(4, np.float32)}, {}),
        ({"x": np.zeros((1, 3), np.float32)}, {}),
        ({"x": FITS}, {"signature": "classify"}),
        ({"x": FITS}, {"outputs": ["z"]}),
    ],
    ids=["dtype", "alias", "shape", "rank", "signature", "output"],
)
def test_a_mismatch_of_all_rows_costs_one_request_per_batch(any_client, models, example, options):
    models.clear_calls()
    found = many(any_client, [example] * 40, batch_size=10, on_error="return", model="threes", **options)
    assert len(predicts(models)) <= 4
    assert len(models.calls) <= 2 * 4
    assert [error.mismatch for error in found] == [True] * 40
    assert [error.example for error in found] == list(range(40))


def test_a_bad_value_is_not_a_mismatch(any_client):
    (error,) = many(any_client, [{"x": np.float32(BAD)}], on_error="return", model="picky")
    assert isinstance(error, InvalidArgumentError)
    assert error.mismatch is False


def test_a_model_with_another_number_of_rows_is_still_detected(any_client):
    examples = [{"x": np.full(3, number, np.float32)} for number in range(8)]
    found = many(any_client, examples, batch_size=8, model="pairs")
    assert [result["y"].tolist() for result in found] == [[2.0 * number] * 3 for number in range(8)]


@pytest.mark.parametrize("wrong", [FITS[:2], np.zeros((1, 3), np.float32)], ids=["shape", "batch axis"])
@pytest.mark.parametrize("named", [True, False], ids=["mappings", "bare values"])
def test_validate_checks_examples_before_anything_is_sent(any_client, models, wrong, named):
    models.clear_calls()
    examples = [{"x": value} if named else value for value in [FITS, wrong, wrong, FITS]]
    found = many(any_client, examples, batch_size=2, on_error="return", validate=True, model="threes")
    assert [type(result) for result in found] == [Prediction, SignatureError, SignatureError, Prediction]
    assert [error.mismatch for error in found[1:3]] == [True, True]
    assert len(predicts(models)) == 1


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_a_batcher_checks_examples_and_sends_none_in_halves(models, style):
    target = models.rest_url if style == "rest" else models.target
    with (
        PredictClient(target, model="threes") as client,
        MicroBatcher(client, max_batch_size=8, max_delay=3600.0) as batcher,
        MicroBatcher(client, max_batch_size=1, validate=True) as checking,
    ):
        models.clear_calls()
        for value in ({"x": FITS[:2]}, FITS[:2]):
            with pytest.raises(SignatureError, match="the inputs do not fit"):
                checking.predict(value)
        assert predicts(models) == []
        futures = [batcher.submit({"x": FITS.astype(np.float64)}) for _ in range(8)]
        assert [future.exception(20).mismatch for future in futures] == [True] * 8
        assert len(predicts(models)) <= 1


# --- positions of examples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
def test_results_and_errors_have_the_position_of_their_example(any_client, ordered):
    examples = [{"x": np.float32(BAD if number % 7 == 3 else number)} for number in range(30)]
    examples[5] = {"x": None}
    options = {"batch_size": 4, "in_flight": 3, "ordered": ordered, "on_error": "return", "model": "picky"}
    found = many(any_client, examples, **options)
    assert sorted(result.example for result in found) == list(range(30))
    for result in map(pickle.loads, map(pickle.dumps, found)):
        if isinstance(result, TFServingError):
            assert result.example % 7 == 3 or result.example == 5
        else:
            assert result["y"] == 2 * result.example


def test_other_results_have_no_example(any_client):
    prediction = any_client.predict({"x": FITS}, model="picky")
    assert prediction.example is None
    with pytest.raises(InvalidArgumentError) as caught:
        any_client.predict({"x": np.zeros(3)}, model="picky")
    assert caught.value.example is None
    assert pickle.loads(pickle.dumps(caught.value)).mismatch is True
