"""predict_many: a result for each example of any iterable."""

from __future__ import annotations

import itertools
import queue
import threading

import numpy as np
import pytest
from batch_models import BAD, many, slow_server
from calling import Awaited
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import PredictClient, Prediction
from tfs_client._flows.batching import pipeline
from tfs_client.errors import (
    ClosedError,
    ConfigError,
    EncodeError,
    InvalidArgumentError,
    NotFoundError,
    SignatureError,
    TFServingError,
    UnavailableError,
)
from tfs_client.server import FunctionServable, FunctionSignature, Server
from tfs_client.server.batching import BatchingParameters, BatchingServable
from tfs_client.signatures import TensorSpec

ANY = TensorSpec("float32", None)
PACES = st.one_of(st.integers(1, 6), st.just("auto"))


def example(number, shape=()):
    return {"x": np.full(shape, number, np.float32)}


def numbers(results):
    return [float(result["y"]) if isinstance(result, Prediction) else result for result in results]


def doubled(count):
    return [2.0 * number for number in range(count)]


@settings(max_examples=10, deadline=None)
@given(
    shapes=st.lists(st.sampled_from([(), (2,), (1, 3)]), max_size=40),
    batch_size=st.integers(1, 12),
    in_flight=PACES,
    ordered=st.booleans(),
)
def test_every_example_has_its_result(any_client, shapes, batch_size, in_flight, ordered):
    options = {"batch_size": batch_size, "in_flight": in_flight, "ordered": ordered, "model": "picky"}
    found = many(any_client, (example(n, shape) for n, shape in enumerate(shapes)), **options)
    arrays = [result["y"] for result in found]
    if not ordered:
        arrays.sort(key=lambda y: y.flat[0])
    assert [(y.shape, y.dtype) for y in arrays] == [(shape, np.float32) for shape in shapes]
    assert [set(y.flat) for y in arrays] == [{2.0 * number} for number in range(len(shapes))]


@settings(max_examples=8, deadline=None)
@given(
    bad=st.sets(st.integers(0, 19)),
    batch_size=st.integers(1, 12),
    in_flight=PACES,
    ordered=st.booleans(),
)
def test_a_bad_example_fails_alone(any_client, bad, batch_size, in_flight, ordered):
    examples = [example(BAD if number in bad else number) for number in range(20)]
    options = {"batch_size": batch_size, "in_flight": in_flight, "ordered": ordered, "model": "picky"}
    found = many(any_client, examples, on_error="return", **options)
    good = [float(result["y"]) for result in found if isinstance(result, Prediction)]
    errors = [result for result in found if not isinstance(result, Prediction)]
    assert sorted(good) == [2.0 * number for number in range(20) if number not in bad]
    assert {type(error) for error in errors} <= {InvalidArgumentError}
    places = [int(str(error).rpartition("This is the error of example ")[2].rstrip(".")) for error in errors]
    assert sorted(places) == sorted(bad)
    if ordered:
        assert [index for index, result in enumerate(found) if not isinstance(result, Prediction)] == sorted(bad)


def test_arrays_of_many_dtypes_come_back_as_in_one_request(any_client):
    rows = 9
    columns = {
        "a": np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32),
        "b": np.arange(rows) - 2**60,
        "s": np.array([b"x" * n for n in range(rows)], object),
        "h": np.random.default_rng(1).normal(size=(rows, 2)),
        "flag": np.arange(rows) % 2 == 0,
    }
    shared = {"k": np.float32(3)}
    whole = any_client.predict(columns | shared, model="mixed")
    examples = [{alias: column[row] for alias, column in columns.items()} for row in range(rows)]
    for row, result in enumerate(many(any_client, examples, batch_size=4, shared=shared, model="mixed")):
        assert list(result) == list(whole)
        assert result.model.name == "mixed"
        for alias, array in result.items():
            assert isinstance(array, np.ndarray)
            assert not array.flags.writeable
            assert array.dtype == whole[alias].dtype
            assert array.tolist() == whole[alias].tolist()[row]


@pytest.mark.parametrize(
    "examples",
    [[1, 2.5, 3], [np.float32(1), np.float32(2.5), np.float32(3)], np.float32([1, 2.5, 3]), (1, 2.5, 3)],
    ids=["numbers", "scalars", "array", "tuple"],
)
def test_bare_examples(any_client, examples):
    assert numbers(many(any_client, examples, batch_size=2, model="picky")) == [2, 5, 6]


def test_the_order_of_names_makes_no_difference(any_client, models):
    base = {"a": np.zeros(3, np.float32), "b": np.int64(1), "s": "x", "h": np.zeros(2), "flag": True}
    models.clear_calls()
    examples = [dict(pairs) for pairs in itertools.islice(itertools.permutations(base.items()), 8)]
    assert len(many(any_client, examples, batch_size=8, shared={"k": 1.0}, model="mixed")) == 8
    assert len([call for call in models.calls if call.method == "Predict"]) == 1


def test_files_are_sources(any_client, tmp_path):
    (tmp_path / "lines").write_bytes(b"one\ntwo\nthree\n")
    with open(tmp_path / "lines", "rb") as lines:
        found = many(any_client, lines, batch_size=2, model="echo")
    assert [result.array.item() for result in found] == [b"one\n", b"two\n", b"three\n"]


def test_an_empty_source_gives_no_results(any_client):
    assert many(any_client, [], model="picky") == []
    assert many(any_client, [], max_delay=0.01, model="picky") == []


def test_requests_are_full(any_client, models):
    models.clear_calls()
    assert len(many(any_client, map(example, range(70)), batch_size=16, model="picky")) == 70
    sizes = [len(call.inputs["x"]) for call in models.calls if call.method == "Predict"]
    assert sorted(sizes) == [6, 16, 16, 16, 16]


class Stream:
    """A source that raises after some examples."""

    def __init__(self, count, error, bad=()):
        self.read = 0
        self._count, self._error, self._bad = count, error, bad

    def __iter__(self):
        for number in range(self._count):
            self.read += 1
            yield example(BAD if number in self._bad else number)
        raise self._error

    async def __aiter__(self):
        for each in self:
            yield each


def until_it_raises(client, source, **options):
    """The results before the error, and the error."""
    found = []
    try:
        many(client, source, found, **options)
    except Exception as error:
        return found, error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("max_delay", [None, 0.001])
def test_an_error_of_the_source_comes_after_the_results_of_earlier_examples(any_client, max_delay):
    source = Stream(11, OSError("the disk is gone"))
    found, error = until_it_raises(any_client, source, batch_size=4, max_delay=max_delay, model="picky")
    assert numbers(found) == doubled(11)
    assert isinstance(error, OSError)


def test_an_error_is_raised_in_its_examples_place(any_client):
    source = Stream(100, OSError(), bad={13})
    found, error = until_it_raises(any_client, source, batch_size=5, in_flight=2, model="picky")
    assert numbers(found) == doubled(13)
    assert isinstance(error, InvalidArgumentError)
    assert "This is the error of example 13." in str(error)
    assert source.read <= 13 + 1 + 10


def test_an_example_that_cannot_become_a_tensor_fails_alone_too(any_client):
    examples = [example(0), {"x": None}, example(2), {"x": [[1], [2, 3]]}]
    found = many(any_client, examples, on_error="return", model="picky")
    assert numbers(found)[::2] == [0, 4]
    for place in (1, 3):
        assert isinstance(found[place], EncodeError)
        assert f"This is the error of example {place}." in str(found[place])
        assert "input 'x'" in str(found[place])


def test_each_example_gets_its_own_copy_of_a_request_error(any_client):
    found = many(any_client, map(example, range(6)), batch_size=3, on_error="return", model="nobody")
    assert [type(error) for error in found] == [NotFoundError] * 6
    assert len({id(error) for error in found}) == 6
    assert [f"This is the error of example {number}." in str(error) for number, error in enumerate(found)] == [True] * 6


def test_outputs_without_rows_fail_every_example(any_client):
    found = many(any_client, map(example, range(3)), on_error="return", model="whole")
    assert ["expected length 3 along axis 0" in str(error) for error in found] == [True] * 3


class Table:
    """A table of columns that iterates over their names, as pandas does."""

    columns = ("x", "y")

    def __iter__(self):
        return iter(self.columns)

    def itertuples(self):
        return iter([(1.0, 2.0)])


class Rows:
    """A source of rows that knows its columns, as cursors do."""

    columns = ("x",)

    def __iter__(self):
        return map(example, range(3))


def test_rows_may_have_a_columns_attribute(any_client):
    assert numbers(many(any_client, Rows(), model="picky")) == doubled(3)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (({"x": [1]},), ConfigError, "expected an iterable of examples, got dict; pass one mapping of whole arrays to"),
        ((Table(),), EncodeError, r"got the table Table, which is ambiguous; .*df\.to_numpy\(dtype\)"),
        (({1.0, 2.0},), ConfigError, "expected ordered examples, got {1.0, 2.0}; pass a list"),
        ((np.array(1.0),), ConfigError, "expected ordered examples"),
        (("abc",), ConfigError, "expected an iterable of examples, got str"),
        ((3,), ConfigError, "expected an iterable of examples, got int"),
        (([], {"on_error": "ignore"}), ConfigError, "expected on_error='raise' or 'return', got 'ignore'"),
        (([], {"batch_size": "8"}), ConfigError, "expected a batch size of at least 1, got '8'"),
        (([], {"in_flight": -1}), ConfigError, "expected in_flight as a number of requests"),
        (([], {"max_delay": -1}), ConfigError, "expected max_delay in seconds, from 0 to 3600, got -1"),
        (([], {"max_delay": float("nan")}), ConfigError, "expected max_delay in seconds"),
        (([], {"shared": {"k": None}}), EncodeError, "shared input 'k': expected a tensor, got None"),
        (
            ([], {"order": True}),
            TypeError,
            "unexpected option 'order'; known options, besides the method's own: model",
        ),
    ],
)
def test_bad_arguments_are_explained_by_the_call_itself(any_client, arguments, error, text):
    examples, options = (*arguments, {})[:2]
    client = any_client.client if isinstance(any_client, Awaited) else any_client
    with pytest.raises(error, match=text):
        client.predict_many(examples, model="picky", **options)


def test_shared_inputs_need_named_examples(any_client):
    (error,) = many(any_client, [1.0], shared={"k": 1.0}, on_error="return", model="picky")
    assert isinstance(error, SignatureError)
    assert "expected examples that are mappings" in str(error)


# --- how far it reads ahead, over gRPC and blocking ------------------------------------------------------------------


class Counted:
    """A source that knows how many of its examples are read and not yet answered."""

    def __init__(self, count, shapes=((),)):
        self.read = self.given = self.most = 0
        self._count, self._shapes = count, shapes

    def __iter__(self):
        for number in range(self._count):
            self.read += 1
            self.most = max(self.most, self.read - self.given)
            yield example(number, self._shapes[number % len(self._shapes)])


@pytest.mark.parametrize("max_delay", [None, 0.001])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("in_flight", "batch_size"), [(1, 1), (3, 4), (2, 16)])
@pytest.mark.parametrize("shapes", [((),), ((), (1,), (2,), (3,), (4,))], ids=["one shape", "five shapes"])
def test_reading_ahead_is_bounded(models, shapes, in_flight, batch_size, ordered, max_delay):
    bound = in_flight * batch_size
    for _ in range(5):  # a server that answers at once leaves less to read ahead
        source = Counted(100, shapes)
        with PredictClient(models.target, model="picky") as client:
            for _ in client.predict_many(
                source, batch_size=batch_size, in_flight=in_flight, ordered=ordered, max_delay=max_delay
            ):
                source.given += 1
        assert source.given == 100
        assert source.most <= bound
        if max_delay is not None or source.most == bound:
            break
    assert max_delay is not None or source.most == bound


@pytest.mark.parametrize("ordered", [True, False])
def test_the_source_is_not_read_ahead_of_a_slow_server(gate, ordered):
    source = Counted(50)
    with slow_server(gate) as server, PredictClient(server.target, model="m") as client:
        opener = threading.Thread(target=lambda: (gate.entered.wait(20), gate.open.set()))
        opener.start()
        for _ in client.predict_many(source, batch_size=4, in_flight=3, ordered=ordered):
            source.given += 1
        opener.join()
    assert source.given == 50
    assert source.most == 12


def test_nothing_is_read_before_the_first_result_is_requested(models):
    source = Counted(50)
    with PredictClient(models.target, model="picky") as client:
        results = client.predict_many(source)
        assert source.read == 0
        results.close()
    assert source.read == 0


# --- sources that pause ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
def test_a_partial_batch_is_sent_while_the_source_is_silent(models, ordered):
    waiting = queue.Queue()
    for number in range(3):
        waiting.put(example(number))
    with PredictClient(models.target, model="picky") as client:
        results = client.predict_many(iter(waiting.get, None), batch_size=8, max_delay=0.02, ordered=ordered)
        assert numbers(itertools.islice(results, 3)) == doubled(3)
        waiting.put(example(7))
        assert float(next(results)["y"]) == 14
        waiting.put(None)
        assert list(results) == []


def test_an_exit_in_a_source_read_by_a_thread_is_raised(models):
    def source():
        yield example(1)
        raise SystemExit("enough")

    with PredictClient(models.target, model="picky") as client:
        results = client.predict_many(source(), max_delay=0.01)
        assert float(next(results)["y"]) == 2
        with pytest.raises(SystemExit, match="enough"):
            next(results)


def test_closing_does_not_wait_for_a_silent_source(models):
    waiting = queue.Queue()
    waiting.put(example(1))
    with PredictClient(models.target, model="picky") as client:
        results = client.predict_many(iter(waiting.get, None), max_delay=0.001)
        assert float(next(results)["y"]) == 2
        results.close()
    waiting.put(None)  # its thread ends with it; the fixture waits for that


# --- leaving early ---------------------------------------------------------------------------------------------------


@pytest.fixture
def stuck(raw_server):
    """A server that works on every request until it is cancelled.

    Returns its target; an event that is set when it has begun to; and one that is set when a request was cancelled.
    """
    begun, cancelled = threading.Event(), threading.Event()

    def predict(request, context):
        begun.set()
        ended = threading.Event()
        if context.add_callback(ended.set):
            assert ended.wait(20), "nobody cancelled"
        cancelled.set()
        return b""

    return raw_server(Predict=predict), begun, cancelled


@pytest.mark.parametrize("max_delay", [None, 0.001])
def test_closing_early_cancels_running_requests_and_stops_reading(stuck, max_delay):
    target, begun, cancelled = stuck
    read = []

    def source():
        for number in range(1000):
            read.append(number)
            if number == 8:
                assert begun.wait(20)
                yield {"x": None}  # its error is there at once, without the server
            yield example(number)

    with PredictClient(target, model="m") as client:
        results = client.predict_many(
            source(), batch_size=4, in_flight=3, max_delay=max_delay, ordered=False, on_error="return"
        )
        assert isinstance(next(results), EncodeError)
        results.close()
        assert cancelled.wait(20)
    assert len(read) <= 13


def test_an_interrupt_in_the_source_cancels_running_requests(stuck):
    target, begun, cancelled = stuck

    def source():
        yield from map(example, range(8))
        assert begun.wait(20)
        raise KeyboardInterrupt

    with PredictClient(target, model="m") as client:
        with pytest.raises(KeyboardInterrupt):
            list(client.predict_many(source(), batch_size=4))
        assert cancelled.wait(20)


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_closing_the_client_ends_the_iteration(gate, style):
    def source():
        yield from map(example, range(8))
        assert gate.entered.wait(20)
        client.close()
        gate.open.set()
        yield from map(example, range(100))

    with slow_server(gate) as server:
        client = PredictClient(server.rest_url if style == "rest" else server.target, model="m")
        with pytest.raises(ClosedError):
            list(client.predict_many(source(), batch_size=4, on_error="return"))


def test_an_error_of_the_token_function_is_raised(models):
    def token():
        raise LookupError("no token")

    with (
        PredictClient(models.target, model="picky", token=token) as client,
        pytest.raises(LookupError, match="no token"),
    ):
        list(client.predict_many(map(example, range(8)), on_error="return"))


# --- limits and short queues -----------------------------------------------------------------------------------------


@pytest.fixture
def queued():
    """A server whose queue holds two batches, and the sizes of the requests that its model got."""
    sizes = []

    def model(x):
        sizes.append(len(x))
        threading.Event().wait(0.002)
        return 2 * x

    parameters = BatchingParameters(max_batch_size=8, num_batch_threads=1, max_enqueued_batches=2)
    servable = FunctionServable({"serving_default": FunctionSignature(model, {"x": ANY}, {"y": ANY})})
    with BatchingServable(servable, parameters) as batched, Server() as server:
        server.add_model("m", batched)
        yield server, sizes


@pytest.mark.parametrize("in_flight", ["auto", 4, 16])
@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_a_short_queue_fails_no_example(queued, in_flight, style):
    server, _ = queued
    with PredictClient(server.open_rest() if style == "rest" else server.target, model="m") as client:
        results = client.predict_many(map(example, range(400)), batch_size=8, in_flight=in_flight)
        assert numbers(results) == doubled(400)


def test_the_servers_limit_is_learned(queued):
    server, sizes = queued
    with PredictClient(server.target, model="m") as client:
        results = client.predict_many(map(example, range(100)), batch_size=32, in_flight=2)
        assert numbers(results) == doubled(100)
    assert max(sizes) <= 8


def test_a_queue_that_stays_full_fails_in_the_end(fake_server, monkeypatch):
    monkeypatch.setattr(pipeline, "PATIENCE", 0.3)
    full = UnavailableError("The batch scheduling queue to which this task was submitted is full")

    def model(x):
        raise full

    fake_server.add_model("m", model, inputs={"x": ANY}, outputs={"y": ANY})
    with PredictClient(fake_server.target, model="m") as client:
        found = list(client.predict_many(map(example, range(6)), batch_size=2, on_error="return"))
    assert [type(error) for error in found] == [UnavailableError] * 6
    assert len(fake_server.calls) > 6


def test_errors_are_of_the_package(any_client):
    for error in many(any_client, [example(BAD)], on_error="return", model="picky"):
        assert isinstance(error, TFServingError)
