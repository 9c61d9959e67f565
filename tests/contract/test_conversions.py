"""Values of common types, in every way of calling: the right values are sent, or an EncodeError names the input."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from calling import STYLES, calling, target_of

from tfs_client import EncodeError, MicroBatcher, PredictClient, TensorSpec, TFServingError
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
TEXT = TensorSpec("string", (None,))
GAP = np.array(["a", None, "c"], object)
TWO_GAPS = np.array([["a", "b"], ["c", float("nan")]], object)


class Grad:
    """Converts as a torch tensor that requires grad does."""

    requires_grad = True

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


class Tensor:
    """An array of another package."""

    def __init__(self, values):
        self.values = np.array(values, np.float32)

    def __array__(self, dtype=None, copy=None):
        return self.values


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        server.add_model("double", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        any_text = TensorSpec("string")
        server.add_model("echo", lambda t: t, inputs={"t": any_text}, outputs={"y_bytes": any_text})
        yield server


@pytest.fixture(params=STYLES)
def client(server, request):
    with calling(request.param, server, timeout=20) as client:
        yield client


@pytest.mark.parametrize("named", [True, False], ids=["by name", "alone"])
@pytest.mark.parametrize(
    ("model", "alias", "values", "text"),
    [
        ("double", "x", Grad(), "RuntimeError: Can't call numpy.*detach it first: tensor.detach()"),
        ("double", "x", [Grad()], "element 0: .*tensor.detach()"),
        ("double", "x", np.ma.masked_array([1.0, 2.0], [0, 1]), "the first at element 1; send array.filled"),
        ("double", "x", np.array([1.5, None], object), "got float at element 0|got None at element 1"),
        ("echo", "t", GAP, "got None at element 1; .*fillna"),
        ("echo", "t", TWO_GAPS, r"got NaN at element \(1, 1\); .*fillna"),
        ("echo", "t", np.array(["a", 1.5], object), "got float at element 1; "),
        ("echo", "t", np.array(["a", "\ud800"], object), "UTF-8 can encode.* at element 1"),
        ("echo", "t", np.array(["a", {"b64": "*"}], object), "expected base64 .* at element 1"),
    ],
)
def test_values_that_cannot_be_sent_are_refused_with_the_name_of_the_input(client, model, alias, values, text, named):
    with pytest.raises(EncodeError, match=f"^input '{alias}': .*({text})"):
        client.predict({alias: values} if named else values, model=model)


@pytest.mark.parametrize("named", [True, False], ids=["by name", "alone"])
def test_values_that_can_be_read_are_sent(client, named):
    def sent(alias, values, model):
        return client.predict({alias: values} if named else values, model=model).array.tolist()

    assert sent("x", Tensor([1, 2]), "double") == [2, 4]
    assert sent("x", np.ma.masked_array(np.float32([1, 2])), "double") == [2, 4]
    assert sent("t", [{"b64": "/w=="}, "é"], "echo") == [b"\xff", "é".encode()]
    assert sent("t", np.array(["a", {"b64": "AA=="}], object), "echo") == [b"a", b"\0"]
    assert sent("t", {"b64": "aGk="}, "echo") == b"hi" if named else True


@pytest.fixture(params=["grpc", "rest"])
def blocking(server, request):
    with PredictClient(target_of(request.param, server), timeout=20) as client:
        yield client


@pytest.mark.parametrize("named", [True, False], ids=["by name", "alone"])
@pytest.mark.parametrize(
    ("model", "alias", "rows", "bad"),
    [
        ("double", "x", [np.float32(1), Grad(), np.float32(3)], 1),
        ("double", "x", [Tensor(1), Tensor(2), np.ma.masked], 2),
        ("echo", "t", [np.array(text, object) for text in GAP], 1),
        ("echo", "t", [np.array("\ud800", object), np.array("b", object)], 0),
        ("echo", "t", [np.array("a"), np.array("\ud800")], 1),
    ],
)
def test_in_a_batch_a_row_fails_alone(blocking, model, alias, rows, bad, named):
    rows = [{alias: row} if named else row for row in rows]
    found = list(blocking.predict_many(rows, batch_size=8, on_error="return", model=model))
    assert [isinstance(result, TFServingError) for result in found] == [index == bad for index in range(len(rows))]
    assert isinstance(found[bad], EncodeError)
    shared = MicroBatcher(blocking, max_batch_size=len(rows) - 1, max_delay=5, model=model)
    with shared as batcher, ThreadPoolExecutor(len(rows)) as threads:
        calls = [threads.submit(batcher.predict, row, timeout=20) for row in rows]
        errors = [call.exception() for call in calls]
    assert [isinstance(error, EncodeError) for error in errors] == [index == bad for index in range(len(rows))]
    assert [error for error in errors if not isinstance(error, EncodeError)] == [None] * (len(rows) - 1)


@pytest.mark.parametrize("named", [True, False], ids=["by name", "alone"])
def test_a_column_with_a_gap_is_refused_whole_with_the_row(blocking, named):
    column = np.array([*("text " * 20).split(), None, "z"], object)
    with pytest.raises(EncodeError, match="got None at element 20; "):
        blocking.predict_batched({"t": column} if named else column, batch_size=4, model="echo")
