"""Predictor with pandas frames, which are the batches of Dask and, if asked for, of Ray."""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client import ConfigError, InvalidArgumentError, TensorSpec
from tfs_client.ray import Predictor

pytestmark = pytest.mark.peer


def analysed(text, weight):
    if (weight < 0).any():
        raise InvalidArgumentError("weights begin at 0")
    return {
        "upper": np.array([word.upper() for word in text], object),
        "pair": np.stack([weight, 2 * weight], axis=1),
        "square": weight * weight,
    }


@pytest.fixture
def predictor(fake_server):
    """Makes predictors of a model of a text and a weight."""
    string, floats = TensorSpec("string", (None,)), TensorSpec("float32", (None,))
    fake_server.add_model(
        "words",
        analysed,
        inputs={"text": string, "weight": floats},
        outputs={"upper": string, "pair": TensorSpec("float32", (None, 2)), "square": floats},
    )
    made = []

    def make(**options):
        inputs = ["text", "weight"]
        made.append(Predictor(fake_server.target, model="words", inputs=inputs, timeout=10, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_frame_gets_the_outputs_as_columns_and_keeps_its_index(predictor):
    import pandas as pd

    frame = pd.DataFrame({"text": ["a", "b", "c"], "weight": [1, 2, 3], "more": [7, 8, 9]}, index=[10, 20, 30])
    found = predictor(keep=["more", "text"])(frame)
    assert list(found.columns) == ["more", "text", "pair", "square", "upper"]
    assert list(found.index) == [10, 20, 30]
    assert found["square"].tolist() == [1.0, 4.0, 9.0]
    assert found["square"].dtype == np.float32
    assert found["upper"].tolist() == [b"A", b"B", b"C"]
    assert [pair.tolist() for pair in found["pair"]] == [[1, 2], [2, 4], [3, 6]]
    assert list(frame.columns) == ["text", "weight", "more"], "the batch itself stays as it was"


def test_missing_and_refused_values_fail_only_their_rows(predictor):
    import pandas as pd

    frame = pd.DataFrame({"text": ["a", None, "c", "d"], "weight": [1.0, 2.0, -3.0, 4.0]})
    found = predictor(on_error="column")(frame)
    assert [bool(error) for error in found["error"]] == [False, True, True, False]
    assert found["error"][2] == "INVALID_ARGUMENT: weights begin at 0"
    assert found["square"].isna().tolist() == [False, True, True, False]
    assert found["upper"].tolist() == [b"A", b"", b"", b"D"]


def test_an_empty_frame_gets_empty_columns(predictor):
    import pandas as pd

    found = predictor()(pd.DataFrame({"text": pd.Series([], dtype=object), "weight": pd.Series([], dtype=float)}))
    assert (len(found), found["square"].dtype) == (0, np.float32)


def test_a_missing_column_is_named(predictor):
    import pandas as pd

    with pytest.raises(ConfigError, match=r"no column 'weight'; its columns: text"):
        predictor()(pd.DataFrame({"text": ["a"]}))


def test_integers_with_gaps_stay_integers_and_only_the_missing_rows_fail(fake_server):
    import pandas as pd

    vector = TensorSpec("int64", (None,))
    fake_server.add_model("double", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})
    frame = pd.DataFrame({"n": pd.Series([1, None, 3], dtype="Int64")}).set_index([[5, 5, 0]])
    with Predictor(fake_server.target, model="double", inputs={"x": "n"}, on_error="column", timeout=10) as predictor:
        found = predictor(frame)
    assert found["y"].tolist() == [2, 0, 6]
    assert [bool(error) for error in found["error"]] == [False, True, False]


def test_a_duplicate_column_is_refused(predictor):
    import pandas as pd

    with pytest.raises(ConfigError, match="the batch has more than one column 'text'"):
        predictor()(pd.DataFrame([["a", "b", 1.0]], columns=["text", "text", "weight"]))
