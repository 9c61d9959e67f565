"""Requests with random values, made from a signature."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from tfs_client import Signature, TensorSpec
from tfs_client.cli.bench.query_sources.predictions import PredictQueries
from tfs_client.cli.bench.query_sources.random_inputs import DISTINCT, RandomInputs
from tfs_client.errors import ConfigError
from tfs_client.signatures import Signatures


def model(**inputs: TensorSpec) -> Signatures:
    """A model; its tensors have names, as those of exported models."""
    specs = {alias: TensorSpec(spec.dtype, spec.shape, tensor_name=f"{alias}:0") for alias, spec in inputs.items()}
    return Signatures({"serving_default": Signature(specs, {"y": TensorSpec("float32")})}, model="m", version=1)


def made(signatures: Signatures, **options: Any) -> list[dict[str, Any]]:
    return RandomInputs(**options).requests(signatures, "serving_default", {})


ONE = model(x=TensorSpec("float32", (None, 3)))


def test_requests_have_the_rows_and_the_dtypes_of_the_signature() -> None:
    signatures = model(image=TensorSpec("uint8", (None, 4, 4, 3)), name=TensorSpec("string", (None,)))
    requests = made(signatures, rows=5, distinct=3, integers=256)
    assert len(requests) == 3
    for request in requests:
        assert signatures["serving_default"].mismatch(request) == ""
        assert request["image"].shape == (5, 4, 4, 3)
        assert request["name"].shape == (5,)
        assert all(type(value) is bytes and value for value in request["name"])
    assert max(request["image"].max() for request in requests) > 100
    assert [query.rows for query in PredictQueries(requests).make()] == [5, 5, 5]


def test_one_row_and_a_few_different_requests_are_the_default() -> None:
    requests = made(ONE)
    assert len(requests) == DISTINCT
    assert {request["x"].shape for request in requests} == {(1, 3)}
    assert len({request["x"].tobytes() for request in requests}) == DISTINCT


def test_random_integers_are_zero_or_one_unless_asked_otherwise() -> None:
    signatures = model(ids=TensorSpec("int64", (None, 100)))
    assert set(np.unique(np.concatenate([request["ids"] for request in made(signatures)]))) == {0, 1}
    assert max(request["ids"].max() for request in made(signatures, integers=1000)) > 500


def test_the_seed_decides_the_values() -> None:
    first, again, other = (made(ONE, seed=seed)[0]["x"].tobytes() for seed in (1, 1, 2))
    assert first == again != other


def test_every_process_gets_the_same_queries() -> None:
    queries = PredictQueries(made(ONE))
    copies = pickle.loads(pickle.dumps(queries)).make()
    assert [each.inputs["x"].tobytes() for each in copies] == [each.inputs["x"].tobytes() for each in queries.make()]


def test_open_sizes_besides_the_batch_need_a_shape() -> None:
    signatures = model(ids=TensorSpec("int32", (None, None)))
    with pytest.raises(ConfigError, match=r"'ids' expects int32 \(\?, \?\).*expected --shape ids=SIZES.*'ids=\?,1'"):
        made(signatures)
    with pytest.raises(ConfigError, match=r"'x=\?,224,224,3', where \? is the number of rows; or --image FILE"):
        made(model(x=TensorSpec("float32", (None, None, None, 3))))
    assert made(signatures, rows=2, shapes={"ids": (None, 7)})[0]["ids"].shape == (2, 7)


def test_an_input_of_any_shape_needs_a_shape() -> None:
    signatures = model(x=TensorSpec("float32"))
    with pytest.raises(ConfigError, match=r"expects float32 any shape.*expected --shape x=SIZES"):
        made(signatures)
    assert made(signatures, shapes={"x": ()})[0]["x"].shape == ()


def test_given_inputs_are_in_every_request() -> None:
    signatures = model(x=TensorSpec("float32", (None, 3)), scale=TensorSpec("float32", ()))
    scale = np.float32(2).reshape(())
    requests = RandomInputs(distinct=2).requests(signatures, "serving_default", {"scale": scale})
    assert [float(request["scale"]) for request in requests] == [2.0, 2.0]
    assert [request["x"].shape for request in requests] == [(1, 3), (1, 3)]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shapes": {"z": (3,)}}, "--shape: unknown input 'z'; the inputs are: x"),
        ({"shapes": {"x": (None, 4)}}, r"'x' expects float32 \(\?, 3\), got \(1, 4\)"),
        ({"shapes": {"x": (1 << 40, 3)}}, "does not fit in one message"),
        ({"rows": 100_000_000}, "does not fit in one message|--distinct N prepares fewer"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        made(ONE, **options)


def test_rows_that_no_input_has_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--rows 4 fits no input; the inputs are: x: float32 \(1, 3\)"):
        made(model(x=TensorSpec("float32", (1, 3))), rows=4)
    with pytest.raises(ConfigError, match=r"write --shape 'x=\?,3' to let --rows set the first size"):
        made(ONE, rows=4, shapes={"x": (8, 3)})


def test_a_limit_on_integers_needs_some() -> None:
    with pytest.raises(ConfigError, match="--integers 9: no random input takes integers; the inputs are: x: float32"):
        made(ONE, integers=9)


def test_options_for_random_values_need_some() -> None:
    given = {"x": np.zeros((1, 3), np.float32)}
    assert RandomInputs().requests(ONE, "serving_default", given) == [given]
    with pytest.raises(ConfigError, match="--rows needs a random input, but --input sets them all: omit --rows"):
        RandomInputs(rows=2).requests(ONE, "serving_default", given)


def test_tf_examples_are_not_made_up() -> None:
    with pytest.raises(ConfigError, match=r"'examples' .* takes tf\.Examples, which cannot be made from a signature"):
        made(model(examples=TensorSpec("string", (None,))))
