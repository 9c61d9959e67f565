"""Batches lie in their requests: full ones are sent without a copy, and all of them carry the right rows."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from batch_models import BAD, many
from calling import PATIENCE, calling
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import MicroBatcher, PredictClient, Prediction
from tfs_client._calls.predict import Predict
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._flows.batching import batch_buffer
from tfs_client._flows.batching.batch_buffer import BatchBuffer, BatchMemory, request_inputs
from tfs_client._flows.batching.example_rows import read_example
from tfs_client._transports.spare_requests import SpareRequests
from tfs_client.errors import InvalidArgumentError

SPEC = ModelSpec("m")
COLUMNS = st.dictionaries(
    st.sampled_from(["x", "a longer name"]),
    st.tuples(st.sampled_from(["f4", ">f8", "u1", "?", "c8"]), st.sampled_from([(), (1,), (3, 2), (0,)])),
    min_size=1,
)


@pytest.fixture(autouse=True)
def _small_requests_too(monkeypatch):
    """Large rows would take too long."""
    monkeypatch.setattr(batch_buffer, "LARGE", 1)


class Place:
    """A row in a buffer."""

    def __init__(self, buffer, example):
        self.buffer, self.at = buffer, buffer.append(read_example(example))


def memory(shared=None):
    spare = SpareRequests(1 << 20)
    return BatchMemory(lambda shapes: RequestArrays(SPEC, shapes, (), spare), shared)


def parsed(request):
    """The inputs of a request, as protobuf reads them."""
    from tfs_client.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest

    message = PredictRequest.FromString(request)
    return {
        alias: ([axis.size for axis in tensor.tensor_shape.dim], tensor.tensor_content)
        for alias, tensor in message.inputs.items()
    }


def message(inputs):
    return parsed(Predict(SPEC, inputs, ()).write())


@settings(max_examples=20, deadline=None)
@given(COLUMNS, st.integers(1, 5), st.integers(1, 5), st.booleans(), st.data())
def test_requests_carry_the_rows_while_callers_refill_their_arrays(columns, size, count, with_shared, data):
    shared = {"k": np.float32([7, 8])} if with_shared else {}
    kept, buffer, rows, originals = memory(shared), None, [], []
    for number in range(count):
        if number % size == 0:
            buffer = BatchBuffer(size, kept)
        example = {alias: np.full(shape, number, dtype) for alias, (dtype, shape) in columns.items()}
        originals.append({alias: array.copy() for alias, array in example.items()})
        rows.append(Place(buffer, example))
        for array in example.values():
            array[...] = 99
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first, count - 1))
    for some in (range(count), range(first, last + 1), range(0, count, 2)):
        found = message(request_inputs([rows[number] for number in some], shared))
        wanted = {alias: np.stack([originals[number][alias] for number in some]) for alias in columns}
        native = {alias: array.astype(array.dtype.newbyteorder("=")) for alias, array in (wanted | shared).items()}
        assert found == {alias: (list(array.shape), array.tobytes()) for alias, array in native.items()}


def test_a_full_batch_is_not_copied():
    kept = memory({"k": np.zeros(4, "f4")})
    buffer = BatchBuffer(8, kept)
    rows = [Place(buffer, {"x": np.full(1 << 16, number, "f4")}) for number in range(8)]
    tracemalloc.start()
    try:
        inputs = request_inputs(rows, kept.shared)
        request = Predict(SPEC, inputs, ()).write(predict_messages.plain_join)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 14
    assert np.shares_memory(np.frombuffer(request, np.uint8), inputs["x"])
    assert len(request) > 8 << 18


@pytest.mark.parametrize(
    ("example", "shared"),
    [
        ({"x": b"text"}, {}),
        ({"x": 1.5}, {}),
        ({"x": np.float32(1)}, {"k": read_example(2.0).value}),
        ({"x": np.float32(1)}, {"k": np.array([b"text"], object)}),
        (np.float32(1), {}),
    ],
    ids=["text", "number", "shared number", "shared text", "without a name"],
)
def test_what_has_no_place_in_a_request_is_copied(example, shared):
    kept = memory(shared)
    buffer = BatchBuffer(2, kept)
    found = request_inputs([Place(buffer, example), Place(buffer, example)], shared)
    assert not isinstance(found, RequestArrays)
    value = found["x"] if isinstance(found, dict) else found
    assert len(getattr(value, "array", value)) == 2


def test_after_a_batch_that_was_not_full_only_its_own_kind_gets_a_request():
    kept = memory()

    def is_request(rows, size):
        buffer = BatchBuffer(2, kept)
        found = request_inputs([Place(buffer, {"x": np.zeros(size, "f4")}) for _ in range(rows)], kept.shared)
        return isinstance(found, RequestArrays)

    sent = [(2, 3), (1, 3), (2, 3), (2, 5), (1, 5), (2, 3), (1, 3), (2, 5), (2, 5)]
    assert [is_request(*each) for each in sent] == [True, False, True, True, False, False, False, False, True]


# --- through a server ----------------------------------------------------------------------------------------------


class Picky:
    """A model y = 2 x + k that is busy at first, and refuses too many rows, and the row BAD. It keeps all requests."""

    def __init__(self, busy, most):
        self.seen, self._busy, self._most = [], busy, most

    def __call__(self, request, context):
        self.seen.append((request, sum(request)))
        if len(self.seen) in self._busy:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Server Threadpool Exhausted")
        inputs = parsed(request)
        x = np.frombuffer(inputs["x"][1], np.float32).reshape(inputs["x"][0])
        k = np.frombuffer(inputs["k"][1], np.float32).reshape(inputs["k"][0])
        if len(x) > self._most:
            text = f"Task size {len(x)} is larger than maximum input batch size {self._most}"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        if (x == BAD).any():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "minus one is beyond me")
        return predict_messages.write_response(ModelSpec("m", 1), {"y": 2 * x + k})


def refilled(numbers):
    """Examples in one array, which is refilled for each."""
    array = np.empty(3, np.float32)
    for number in numbers:
        array[:] = number
        yield {"x": array}
    array[:] = 999


@pytest.mark.parametrize("style", ["grpc", "grpc-aio"])
@pytest.mark.parametrize(
    ("busy", "most", "bad"),
    [((), 4, ()), ((1, 3), 4, ()), ((), 3, ()), ((2,), 4, (1, 10, 11))],
    ids=["answered", "busy", "fewer rows", "bad rows"],
)
def test_predict_many_sends_the_rows_that_it_read(raw_server, style, busy, most, bad):
    model = Picky(busy, most)
    numbers = [BAD if number in bad else number for number in range(18)]
    with calling(style, raw_server(Predict=model), model="m", timeout=PATIENCE) as client:
        found = many(
            client, refilled(numbers), batch_size=4, in_flight=2, on_error="return", shared={"k": np.float32(5)}
        )
    for number, result in zip(numbers, found, strict=True):
        if number == BAD:
            assert isinstance(result, InvalidArgumentError)
        else:
            assert result["y"].tolist() == [2 * number + 5] * 3
    assert all(sum(request) == total for request, total in model.seen)


def test_interceptors_may_keep_the_requests_of_batches(raw_server):
    kept = []

    class Keeps(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            kept.append(request)
            return continuation(details, request)

    options = {"model": "m", "timeout": PATIENCE, "interceptors": [Keeps()]}
    with PredictClient(raw_server(Predict=Picky((), 2)), **options) as client:
        list(client.predict_many(refilled(range(20)), batch_size=2, in_flight=1, shared={"k": np.float32(0)}))
    numbers = [np.frombuffer(parsed(request)["x"][1], np.float32)[::3].tolist() for request in kept]
    assert sorted(numbers) == [[number, number + 1] for number in range(0, 20, 2)]


def test_recordings_answer_batches(raw_server, tmp_path):
    path, target = tmp_path / "calls.tfrecord", raw_server(Predict=Picky((), 2))
    for _ in range(2):  # recorded, then answered by the recording
        with PredictClient(target, model="m", timeout=PATIENCE, record=path) as client:
            found = client.predict_many(refilled(range(6)), batch_size=2, shared={"k": np.float32(1)})
            assert [result["y"][0] for result in found] == [1, 3, 5, 7, 9, 11]


def test_a_micro_batcher_sends_the_rows_of_its_callers(raw_server):
    model = Picky((2,), 4)

    def predicted(number):
        array = np.full(3, number, np.float32)
        future = batcher.submit({"x": array})
        array[:] = 999
        return future.result(PATIENCE)

    with (
        PredictClient(raw_server(Predict=model), model="m", timeout=PATIENCE) as client,
        MicroBatcher(client, max_batch_size=4, max_delay=0.05, in_flight=2, shared={"k": np.float32(0)}) as batcher,
        ThreadPoolExecutor(8) as threads,
    ):
        for number, found in enumerate(threads.map(predicted, range(50))):
            assert isinstance(found, Prediction)
            assert found["y"].tolist() == [2 * number] * 3


@pytest.mark.parametrize("style", ["grpc", "grpc-aio"])
@pytest.mark.parametrize("most", [4, 3])
def test_predict_batched_sends_all_rows(raw_server, style, most):
    model = Picky((2,), most)
    inputs = {"x": np.repeat(np.arange(18, dtype="f4"), 3).reshape(18, 3), "k": np.zeros((18, 3), "f4")}
    with calling(style, raw_server(Predict=model), model="m", timeout=PATIENCE) as client:
        found = client.predict_batched(inputs, batch_size=4, in_flight=2)
    assert found["y"].tolist() == [[2 * number] * 3 for number in range(18)]
