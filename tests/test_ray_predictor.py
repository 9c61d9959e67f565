"""Predictor: rows of tables through a model, without any engine. tests/peers/test_ray.py runs it in Ray."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from tfs_client import (
    ConfigError,
    InvalidArgumentError,
    NotFoundError,
    RetryPolicy,
    SignatureError,
    TensorSpec,
    UnavailableError,
)
from tfs_client.ray.predictor import MAX_IDLE, Metrics, Predictor

FLOATS = TensorSpec("float32", (None,))


def squared(x):
    if (x < 0).any():
        raise InvalidArgumentError("a number below zero")
    return {"square": x * x, "root": np.sqrt(x), "name": np.array([b"%d" % value for value in x], object)}


@pytest.fixture
def server(fake_server):
    """A model that refuses rows below zero, one of pictures, and one with an integer and a text."""
    string = TensorSpec("string", (None,))
    outputs = {"square": FLOATS, "root": FLOATS, "name": string}
    fake_server.add_model("squares", squared, inputs={"x": FLOATS}, outputs=outputs)
    picture = TensorSpec("float32", (None, None, None, 3))
    fake_server.add_model(
        "means",
        lambda image, scale: {"mean": image.mean(axis=(1, 2)) * scale, "first": image[:, 0, 0]},
        inputs={"image": picture, "scale": TensorSpec("float32", ())},
        outputs={"mean": TensorSpec("float32", (None, 3)), "first": TensorSpec("float32", (None, 3))},
    )
    fake_server.add_model(
        "repeat",
        lambda text, times: np.array([word * count for word, count in zip(text, times, strict=True)], object),
        inputs={"text": string, "times": TensorSpec("int32", (None,))},
        outputs={"long": string},
    )
    fake_server.add_model(
        "sums",
        lambda values: {"sum": values.sum(axis=1), "values": values},
        inputs={"values": TensorSpec("float32", (None, None))},
        outputs={"sum": FLOATS, "values": TensorSpec("float32", (None, None))},
    )
    return fake_server


@pytest.fixture
def predictor(server):
    """Makes predictors of the server's models, and closes them."""
    made = []

    def make(model, **options):
        made.append(Predictor(server.target, model=model, timeout=10, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def requests(server):
    return [call for call in server.calls if call.method == "Predict"]


# --- columns ---------------------------------------------------------------------------------------------------------


def test_outputs_are_added_as_columns_in_the_order_of_the_rows(predictor, server):
    batch = {"id": np.arange(10), "value": np.arange(10.0, dtype=np.float32)}
    found = predictor("squares", inputs={"x": "value"}, batch_size=4)(batch)
    assert list(found)[:2] == ["id", "value"]
    assert set(found) == {"id", "value", "square", "root", "name"}
    assert found["square"].tolist() == [n * n for n in range(10)]
    assert found["square"].dtype == np.float32
    assert found["name"].tolist() == [b"%d" % n for n in range(10)]
    assert found["id"] is batch["id"]
    assert sorted(len(call.inputs["x"]) for call in requests(server)) == [2, 4, 4]


@pytest.mark.parametrize(
    ("inputs", "outputs", "want"),
    [
        ("x", {"square": "y"}, ["x", "y"]),
        (["x"], ["root", "square"], ["x", "root", "square"]),
        ({"x": "x"}, None, ["x", "name", "root", "square"]),
    ],
)
def test_columns_are_named_by_alias_as_a_list_or_alone(predictor, inputs, outputs, want):
    found = list(predictor("squares", inputs=inputs, outputs=outputs)({"x": np.float32([4])}))
    assert (found if outputs else sorted(found, key=want.index)) == want


def test_a_single_name_is_the_only_output(predictor):
    batch = {"text": np.array([b"ab", "c"], object), "times": np.array([2, 3])}
    found = predictor("repeat", inputs=["text", "times"], outputs="result", keep=[])(batch)
    assert {name: values.tolist() for name, values in found.items()} == {"result": [b"abab", b"ccc"]}


def test_only_the_columns_to_keep_are_returned(predictor):
    batch = {"id": np.arange(2), "x": np.float32([1, 2])}
    predict = predictor("squares", inputs="x", outputs=["square"], keep="id")
    assert list(predict(batch)) == ["id", "square"]


def test_every_request_sends_the_shared_inputs(predictor, server):
    pictures = np.random.default_rng(0).random((5, 4, 6, 3), np.float32)
    predict = predictor(
        "means", inputs={"image": "pixels"}, outputs=["mean"], shared={"scale": np.float32(2)}, batch_size=2
    )
    np.testing.assert_array_equal(predict({"pixels": pictures})["mean"], pictures.mean(axis=(1, 2)) * np.float32(2))
    assert {call.inputs["scale"].shape for call in requests(server)} == {()}


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint8", "bool"])
def test_numbers_take_the_dtype_of_the_input(predictor, server, dtype):
    found = predictor("squares", inputs="x")({"x": np.array([0, 1], dtype)})
    assert found["square"].tolist() == [0.0, 1.0]
    assert requests(server)[-1].inputs["x"].dtype == np.float32


def test_integers_that_are_too_large_are_refused_not_wrapped(predictor, server):
    predict = predictor("repeat", inputs=["text", "times"])
    text = np.array(["a", "b"], object)
    assert predict({"text": text, "times": np.array([1, 2], np.int64)})["long"].tolist() == [b"a", b"bb"]
    with pytest.raises(SignatureError, match=r"'times' expects int32 .* 4294967298 .*row 1 of the batch"):
        predict({"text": text, "times": np.array([1, 2 + 2**32])})
    with pytest.raises(SignatureError, match=r"expects int32 .*float64.*row 0"):
        predict({"text": text, "times": np.array([1.5, 2.0])})
    assert len(requests(server)) == 1


def test_rows_that_differ_in_shape_are_sent_in_separate_requests(predictor):
    rows = [np.float64([1, 2]), [3.0, 4.0, 5.0], np.array([6, 7])]
    found = predictor("sums", inputs={"values": "v"})({"v": rows})
    assert found["sum"].tolist() == [3.0, 12.0, 13.0]
    assert [row.tolist() for row in found["values"]] == [[1, 2], [3, 4, 5], [6, 7]]


def test_rows_of_one_shape_become_one_array_again(predictor):
    rows = np.empty(3, object)
    rows[:] = [np.float32([n, n + 1]) for n in range(3)]
    found = predictor("sums", inputs={"values": "v"})({"v": rows})
    assert found["values"].shape == (3, 2)
    assert found["values"].dtype == np.float32


def test_an_empty_batch_gets_empty_columns_and_no_call(predictor, server):
    found = predictor("means", inputs={"image": "p"}, shared={"scale": np.float32(1)})({"p": np.zeros((0, 4, 4, 3))})
    assert {name: (values.dtype.name, values.shape) for name, values in found.items() if name != "p"} == {
        "mean": ("float32", (0, 3)),
        "first": ("float32", (0, 3)),
    }
    assert requests(server) == []


def test_numbers_that_would_become_infinite_are_refused(predictor):
    with pytest.raises(SignatureError, match=r"1e\+300 .*cannot be cast to float32 without loss"):
        predictor("squares", inputs="x")({"x": np.float64([1, 1e300])})


def test_batches_that_do_not_fit_say_what_was_expected(predictor):
    predict = predictor("squares", inputs={"x": "value"}, keep=["id"])
    with pytest.raises(ConfigError, match=r"no column 'value'; its columns: id, v"):
        predict({"id": [1], "v": [1.0]})
    with pytest.raises(ConfigError, match="no column 'id' to keep; its columns: value"):
        predict({"value": np.float32([1])})
    with pytest.raises(ConfigError, match=r"columns of one length, got \[1, 2\]"):
        predict({"id": [1], "value": [1.0, 2.0]})
    with pytest.raises(ConfigError, match="got list"):
        predict([1.0, 2.0])
    with pytest.raises(SignatureError, match=r"no input 'y'; its inputs: x: float32"):
        predictor("squares", inputs={"y": "value"})({"value": [1.0]})
    with pytest.raises(SignatureError, match=r"no output 'cube'; its outputs: name"):
        predictor("squares", inputs="x", outputs=["cube"])({"x": [1.0]})
    with pytest.raises(SignatureError, match=r"a model with one output for the single column 'y'; its outputs: name"):
        predictor("squares", inputs="x", outputs="y")({"x": [1.0]})
    with pytest.raises(SignatureError, match="a model with one input for the single column 'text'; its inputs: "):
        predictor("repeat", inputs="text")({"text": ["a"]})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": []}, "inputs as a column, a list of columns or columns by alias"),
        ({"inputs": 3}, "got 3"),
        ({"inputs": "x", "outputs": {"y": 1}}, "outputs as a column"),
        ({"inputs": "x", "on_error": "skip"}, "'raise' or 'column', got 'skip'"),
        ({"inputs": "x", "batch_size": 0}, "a batch size of at least 1"),
        ({"inputs": "x", "in_flight": "many"}, "in_flight"),
        ({"inputs": "x", "timeout": -1}, "timeout"),
        ({"inputs": "x", "retry": 3}, "retry"),
        ({"inputs": "x", "model": None}, "expected a model"),
        ({"inputs": "x", "target": "grpc://host"}, "expected grpc://host:port"),
    ],
)
def test_invalid_options_are_refused_before_they_reach_a_worker(options, said):
    with pytest.raises(ConfigError, match=said):
        Predictor(**{"target": "localhost:8500", "model": "m"} | options)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_a_row_that_is_refused_fails_its_batch(predictor):
    predict = predictor("squares", inputs="x")
    with pytest.raises(InvalidArgumentError, match="below zero"):
        predict({"x": np.float32([1, -1])})
    assert (predict.metrics().rows, predict.metrics().failures) == (2, 2)


def test_with_an_error_column_a_row_fails_alone(predictor):
    predict = predictor("squares", inputs="x", on_error="column", error_column="why", batch_size=4)
    x = np.float32([1, -1, 4, 9, 16, 25, -2])
    found = predict({"x": x})
    assert found["why"].tolist() == ["" if n >= 0 else "INVALID_ARGUMENT: a number below zero" for n in x]
    good = x >= 0
    assert found["square"][good].tolist() == (x[good] ** 2).tolist()
    assert np.isnan(found["square"][~good]).all()
    assert found["name"][~good].tolist() == [b"", b""]
    assert found["square"].dtype == np.float32
    assert (predict.metrics().rows, predict.metrics().failures) == (7, 2)
    assert predict({"x": np.float32([1])})["why"].tolist() == [""]


def test_rows_that_cannot_be_sent_fail_alone_too(predictor):
    predict = predictor("repeat", inputs=["text", "times"], on_error="column")
    found = predict({"text": ["a", None, "c", "d"], "times": [1, 2, 3, 1.5]})
    assert found["long"].tolist() == [b"a", b"", b"ccc", b""]
    assert [bool(error) for error in found["error"]] == [False, True, False, True]
    assert "row 1 of the batch" in found["error"][1]


def test_columns_keep_their_dtype_and_shape_when_every_row_fails(predictor):
    predict = predictor("means", inputs={"image": "p"}, shared={"scale": np.float32(1)}, on_error="column")
    found = predict({"p": ["no picture", "nor this"]})
    assert (found["mean"].dtype, found["mean"].shape) == (np.float32, (2, 3))
    assert all(found["error"])


def test_an_error_that_affects_every_row_fails_the_batch(predictor, server):
    with pytest.raises(NotFoundError):
        predictor("nobody", inputs="x", on_error="column")({"x": [1.0]})
    predict = predictor("squares", inputs="x", on_error="column", retry=None)
    predict({"x": [1.0]})
    server.stop()
    with pytest.raises(UnavailableError):
        predict({"x": [1.0]})


def test_calls_are_retried(predictor, fake_server):
    refusals = iter([UnavailableError("not now")])

    def flaky(x):
        for error in refusals:
            raise error
        return x

    fake_server.add_model("flaky", flaky, inputs={"x": FLOATS}, outputs={"y": FLOATS})
    retry = RetryPolicy(initial_backoff=0.005)
    assert predictor("flaky", inputs="x", retry=retry)({"x": [1.0]})["y"].tolist() == [1.0]
    refusals = iter([UnavailableError("not now")])
    with pytest.raises(UnavailableError):
        predictor("flaky", inputs="x", retry=None)({"x": [1.0]})


# --- workers ---------------------------------------------------------------------------------------------------------


def test_all_copies_in_a_process_share_a_client_and_are_counted_together(predictor, server):
    told = []
    predict = predictor("squares", inputs="x", report=told.append)
    assert predict.metrics() == Metrics(predict.metrics().worker)
    predict({"x": [1.0, 2.0]})
    assert told == [predict.metrics()]
    copy = predictor("squares", inputs="x")
    copy = pickle.loads(pickle.dumps(copy))
    pickle.loads(pickle.dumps(copy))({"x": [3.0]})
    copy({"x": [4.0]})
    assert (copy.metrics().batches, copy.metrics().rows) == (2, 2)
    assert copy.metrics().seconds > 0
    assert predict.metrics().rows == 2
    assert [call.method for call in server.lookups].count("GetModelMetadata") == 2, "each predictor asks once"


def test_a_closed_predictor_opens_a_new_client_and_resets_its_counters(predictor):
    with predictor("squares", inputs="x") as predict:
        predict({"x": [1.0]})
    assert predict.metrics().rows == 0
    assert predict({"x": [3.0]})["square"].tolist() == [9.0]


def test_a_process_closes_the_clients_of_earlier_jobs(predictor):
    predictors = [predictor("squares", inputs="x") for _ in range(MAX_IDLE + 1)]
    for predict in predictors:
        predict({"x": [1.0]})
    assert [predict.metrics().rows for predict in predictors] == [0] + [1] * MAX_IDLE
    assert predictors[0]({"x": [2.0]})["square"].tolist() == [4.0]


def _in_a_process(predict, value):
    found = predict({"x": np.float64([value])})
    return found["square"].tolist(), predict.metrics()


def test_predictors_can_be_sent_to_a_process_pool(predictor):
    predict = predictor("squares", inputs="x")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(_in_a_process, [predict] * 6, range(6)))
    assert [square for square, _ in done] == [[n * n] for n in range(6)]
    workers = {metrics.worker for _, metrics in done}
    assert sum(max(m.rows for _, m in done if m.worker == worker) for worker in workers) == 6
    assert predict.metrics().rows == 0


FORKED = """
import os, sys
from tfs_client.ray import Predictor

with Predictor(sys.argv[1], model="squares", inputs="x", timeout=20) as predict:
    assert predict({"x": [2.0, 3.0]})["square"].tolist() == [4.0, 9.0]
    child = os.fork()
    if not child:
        good = predict.metrics().rows == 0 and predict({"x": [4.0]})["square"].tolist() == [16.0]
        good = good and predict.metrics().rows == 1 and predict.metrics().worker.endswith(f":{os.getpid()}")
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert predict({"x": [5.0]})["square"].tolist() == [25.0]
    assert predict.metrics().rows == 3
predict({"x": [1.0]})  # the end of the process releases what is open
"""


def run(code, *arguments):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_opens_its_own_connection_and_resets_the_counters(server):
    done = run(FORKED, server.target)
    assert (done.returncode, done.stderr) == (0, "")


def test_replicas_share_the_requests(server, fake_server):
    from tfs_client.testing import FakeServer

    with FakeServer() as other:
        other.add_model("squares", squared, inputs={"x": FLOATS}, outputs={"square": FLOATS})
        targets = [server.target, other.target]
        with Predictor(targets, model="squares", inputs="x", outputs=["square"], batch_size=1, timeout=10) as predict:
            # Until both connections stand, calls go to the one that does.
            for _ in range(50):
                assert predict({"x": np.arange(20)})["square"].tolist() == [n * n for n in range(20)]
                if requests(other) and requests(server):
                    break
    assert requests(other)
    assert requests(server)


def test_it_needs_no_engine():
    code = "import sys; sys.modules.update(ray=None, pandas=None, pyarrow=None); import tfs_client.ray.predictor"
    assert run(code).returncode == 0
