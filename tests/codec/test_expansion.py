"""Tensors that declare far more than they hold: everything this package does with them is bounded by the message."""

import copy
import json
import pickle
import tracemalloc

import numpy as np
import pytest

from tfs_client import make_ndarray
from tfs_client._calls.predict import Predict
from tfs_client._codec import expansion, plain_values, predict_messages, rest_json, wire
from tfs_client._codec.dtypes import BY_NAME
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.tensors import read
from tfs_client._flows.batching.rows import JoinedOutputs
from tfs_client.cli.predict import report
from tfs_client.cli.predict.answer_reading import SingleReader
from tfs_client.cli.predict.arguments import parse
from tfs_client.errors import DecodeError, EncodeError
from tfs_client.images import Geometry
from tfs_client.images.decoders import specs_of
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

D = wire.delimited
CALL = Predict(ModelSpec("m"), {})
BOUND = 48 << 20  # bytes beyond 8 times the message; a view of up to 16 MiB may be copied, and copied again


def tensor(dtype, dims, values=b""):
    return b"\x08" + wire.varint(dtype) + D(2, b"".join(D(2, b"\x08" + wire.varint(dim)) for dim in dims)) + values


FLOAT = D(5, b"\0\0\x80\x3f")
HOLLOW = {
    "square": tensor(1, [1 << 20, 1 << 20], FLOAT),
    "26 axes": tensor(1, [5] * 26, FLOAT),
    "vector": tensor(1, [1, 1 << 33], FLOAT),
    "no value": tensor(9, [1 << 40]),
    "half": tensor(19, [1 << 33], D(13, b"\x01")),
    "bfloat16": tensor(14, [1 << 33], D(13, b"\x01")),
    "quantized": tensor(11, [1 << 33], D(7, b"\x01")),
    "map": tensor(9, [1, 1 << 20, 1 << 20], D(10, b"\x01")),
    "classes by pixel": tensor(1, [1, 1 << 16, 1 << 16, 21], FLOAT),
    "one string": tensor(7, [1 << 33], D(8, b"text")),
    "a long string": tensor(7, [1000], D(8, b"x" * 100_000)),
    "rows of nothing": tensor(1, [1 << 33, 0]),
    "an empty axis": tensor(1, [1 << 20, 1 << 20, 0, 5], FLOAT),
}
ORDINARY = {
    "1000 equal values": tensor(1, [10, 100], FLOAT),
    "16 MiB": tensor(4, [1 << 22], D(7, b"\x01")),
    "64 axes": tensor(1, [1] * 32, FLOAT),
    "no rows": tensor(1, [0, 224, 224, 3]),
    "strings": tensor(7, [1000], D(8, b"text")),
}


def prediction(message):
    return CALL.read(D(1, D(1, b"y") + D(2, message)))


def rejoined(found):
    count = len(found["y"])
    whole = JoinedOutputs(2 * count)
    whole.put(range(count), found)
    whole.put(range(count, 2 * count), found)
    return whole.prediction(1.0)


def answer(found, size):
    """The command's answer about a picture, if no option asks for one."""
    options = parse(["--image", "a.png", "--model", "m"])
    reader = SingleReader(options, None, specs_of(found), batch=True, size=size, picture=True)
    return repr(reader(found, Geometry.of((640, 480), size)))


SUMMARISE = {
    "repr": repr,
    "print": lambda found: report.for_people(found, None),
    "answer": lambda found: answer(found, (1 << 20, 1 << 20)),
    "answer about a picture of any size": lambda found: answer(found, None),
    "compare": lambda found: found == prediction(HOLLOW["square"]) or found == found,
    "pickle": lambda found: pickle.loads(pickle.dumps(found)),
    "deepcopy": copy.deepcopy,
}
REFUSE = {
    "to_dict": lambda found: found.to_dict(),
    "to_json": lambda found: found.to_json(),
    "columns": lambda found: plain_values.as_columns(found, row=False),
    "--json": lambda found: json.dumps(report.outputs_for_machines(found)),
}


def measured(action, message, found):
    """What the action gives or raises; memory beyond the bound fails the test."""
    tracemalloc.start()
    try:
        try:
            return action(found)
        except (DecodeError, EncodeError) as error:
            return error
        finally:
            assert tracemalloc.get_traced_memory()[1] < 8 * len(message) + BOUND
    finally:
        tracemalloc.stop()


def test_a_summary_of_long_strings_takes_little_memory():
    array = np.array([b"\xff" * 1_000_000] * 2, object)
    tracemalloc.start()
    try:
        text = expansion.summary(array)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()

    assert text == "[" + repr(b"\xff" * 1000)[:96] + "..."
    assert expansion.summary(np.array([b"a'b", "é"], object)) == """[b"a'b" 'é']"""


@pytest.mark.parametrize("message", HOLLOW.values(), ids=HOLLOW)
def test_printing_comparing_and_pickling_a_view_take_little_memory(message):
    found = prediction(message)
    for name, action in SUMMARISE.items():
        result = measured(action, message, found)
        assert not isinstance(result, Exception), name
        if name in ("pickle", "deepcopy"):
            assert result == found
            assert len(repr(result)) < 1000


@pytest.mark.parametrize("message", HOLLOW.values(), ids=HOLLOW)
def test_expanding_a_view_is_refused(message):
    found = prediction(message)
    for name, action in REFUSE.items():
        error = measured(action, message, found)
        if message is HOLLOW["a long string"] and name == "to_dict":
            continue
        assert isinstance(error, DecodeError), name
        assert "output 'y' declares " in str(error)
        assert "leave the tensor out" in str(error)


@pytest.mark.parametrize("message", HOLLOW.values(), ids=HOLLOW)
def test_copying_a_view_is_refused_unless_nothing_is_copied(message):
    proto = TensorProto.FromString(message)
    joined = measured(rejoined, message, prediction(message))
    own = measured(make_ndarray, message, proto)
    if prediction(message)["y"].size:
        assert isinstance(joined, DecodeError)
        assert isinstance(own, DecodeError)
        assert not expansion.is_runnable(read(message))
    else:
        assert own.shape == prediction(message)["y"].shape
        assert not expansion.is_runnable(read(message))


@pytest.mark.parametrize("message", HOLLOW.values(), ids=HOLLOW)
def test_resending_a_view_is_refused_or_stays_within_the_message_limit(message):
    found = dict(prediction(message))
    array = found["y"]
    if array.size and array.nbytes < 1 << 31:
        return  # a caller may send that much
    ways = [lambda arrays: rest_json.write_request(arrays, "", row=False)]
    if array.size:
        ways.append(lambda arrays: predict_messages.write_request(ModelSpec("m"), arrays))
        ways.append(lambda arrays: predict_messages.write_response(ModelSpec("m"), arrays))
    for write in ways:
        assert isinstance(measured(write, message, found), EncodeError)


@pytest.mark.parametrize("message", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_views_work_everywhere(message):
    found = prediction(message)
    assert expansion.is_runnable(found["y"])
    assert make_ndarray(TensorProto.FromString(message)).shape == found["y"].shape
    if found["y"].size > 10_000:
        return  # the same by the same conditions, at length
    assert (
        json.loads(found.to_json())["y"] == json.loads(json.dumps(report.outputs_for_machines(found)))["y"]["values"]
        or found["y"].dtype.kind == "O"
    )
    assert np.array(found.to_dict()["y"]).size == found["y"].size
    plain_values.as_columns(found, row=True)
    if len(found["y"]):
        assert rejoined(found)["y"].shape == (2 * len(found["y"]), *found["y"].shape[1:])


def test_many_axes_of_size_one_make_no_endless_lists():
    message = tensor(4, [200_000, *[1] * 25], D(7, b"\x01" * 200_000))
    found = prediction(message)
    for action in REFUSE.values():
        assert isinstance(measured(action, message, found), DecodeError)
    assert "200000" in repr(found)


def test_many_axes_of_size_two_are_summarised_quickly():
    found = prediction(tensor(4, [2] * 18, D(7, b"\x01" * (1 << 18))))
    text = measured(repr, b"", found)
    assert "[[[[" in text
    assert len(text) < 400


def test_a_repeated_string_counts_in_full():
    with pytest.raises(DecodeError, match="repeating the last one would take"):
        read(tensor(7, [100_000], D(8, b"a") + D(8, b"x" * 100_000)))


def test_views_of_different_values_differ():
    one = tensor(1, [1 << 20, 1 << 20], FLOAT)
    two = tensor(1, [1 << 20, 1 << 20], D(5, b"\0\0\0\x40"))
    assert prediction(one) == prediction(one)
    assert prediction(one) != prediction(two)
    assert prediction(one) != prediction(tensor(1, [1 << 20, 1 << 21], FLOAT))
    assert prediction(one)["y"][0] is not None
    whole = np.ones((10, 100), np.float32)
    assert prediction(ORDINARY["1000 equal values"]) == {"y": whole}
    whole[3, 7] = 2
    assert prediction(ORDINARY["1000 equal values"]) != {"y": whole}


def test_a_pickle_of_a_view_is_small_and_keeps_its_shape():
    found = prediction(HOLLOW["square"])
    data = pickle.dumps(found)
    assert len(data) < 2000
    again = pickle.loads(data)["y"]
    assert again.shape == (1 << 20, 1 << 20)
    assert again[5, 7] == 1
    assert not again.flags.writeable


@pytest.mark.parametrize("shape", [(None, 1 << 62, 1 << 62), (None, *[1] * 80), (None, 1 << 70)], ids=len)
def test_a_signature_of_impossible_sizes_makes_no_array_over_rest(shape):
    with pytest.raises(DecodeError, match="a shape numpy can hold"):
        rest_json.read_tensor([], (BY_NAME["float"], shape), "y")
