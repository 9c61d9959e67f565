"""RequestArrays: arrays that lie in the bytes of a Predict request."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from tfs_client import EncodeError
from tfs_client._codec import predict_messages, request_memory
from tfs_client._codec.dtypes import BY_NAME, ROWS, STRING, ArrayShape
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._codec.request_memory import held, lasting

SPEC = ModelSpec("m", 3, None, "serving_default")
OUTPUTS = ("y", "zé")
WRITABLE = [row for row in ROWS if row.field is not None and row is not STRING and row.spec is not None]


def made(*shapes, spec=SPEC, outputs=(), dtype="float"):
    return RequestArrays(
        spec, {f"x{at}": ArrayShape(BY_NAME[dtype], shape) for at, shape in enumerate(shapes)}, outputs
    )


def read(request):
    found = predict_messages.read_request(request)
    return found.spec, {alias: found.tensor(alias) for alias in found.inputs}, tuple(found.outputs)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(max_size=40),
        st.tuples(st.sampled_from(WRITABLE), st.lists(st.integers(0, 9), max_size=4).map(tuple)),
        max_size=4,
    ),
    st.lists(st.text(max_size=9), max_size=2),
    st.text(min_size=1, max_size=200),
)
def test_the_request_holds_what_was_written_to_the_arrays(shapes, outputs, name):
    spec = ModelSpec(name)
    arrays = RequestArrays(spec, {alias: ArrayShape(*each) for alias, each in shapes.items()}, outputs)
    request = arrays.request(spec, outputs)
    if not shapes:
        assert request is None
        return
    for fill in (0, 1):
        for array in arrays.values():
            array.reshape(-1).view(np.uint8)[:] = fill
        asked, inputs, wanted = read(request)
        assert (asked, wanted, list(inputs)) == (spec, tuple(outputs), list(shapes))
        for alias, array in arrays.items():
            assert inputs[alias].dtype == array.dtype == shapes[alias][0].dtype
            assert inputs[alias].shape == array.shape == shapes[alias][1]
            assert inputs[alias].tobytes() == array.tobytes() == bytes([fill]) * array.nbytes


def test_the_arrays_are_aligned_and_writable_zeros():
    for size in range(70):
        arrays = made((size,), (3,), spec=ModelSpec("m" * (size + 1)), dtype="complex128")
        for array in arrays.values():
            assert array.flags.aligned
            assert array.flags.writeable
            assert array.flags.c_contiguous
            assert not array.any()
            assert array.ctypes.data % 16 == 0 or not array.size


def test_protobuf_reads_the_request_as_we_do():
    from tfs_client.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest

    arrays = made((2, 3), (5,), outputs=OUTPUTS)
    arrays["x0"][:] = [[1, 2, 3], [4, 5, 6]]
    message = PredictRequest.FromString(arrays.request(SPEC, OUTPUTS))
    assert message.model_spec.name == "m"
    assert tuple(message.output_filter) == OUTPUTS
    assert message.inputs["x0"].tensor_content == arrays["x0"].tobytes()
    assert message.inputs["x1"].tensor_content == bytes(20)


def replaced(arrays):
    arrays["x0"] = arrays["x0"].copy()


def equal_view(arrays):
    arrays["x0"] = arrays["x0"][:]


def reshaped(arrays):
    arrays["x0"].shape = (3, 2)


def reinterpreted(arrays):
    arrays["x0"].dtype = np.int32


def added(arrays):
    arrays["more"] = np.zeros(2)


def removed(arrays):
    del arrays["x1"]


def renamed(arrays):
    arrays["other"] = arrays.pop("x1")


def strided(arrays):
    arrays["x0"] = arrays["x0"].T.copy().T


def with_other_memory(arrays):
    arrays["x0"].__setstate__(np.full((2, 3), 7, np.float32).__reduce__()[2])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "change", [with_other_memory, replaced, equal_view, reshaped, reinterpreted, added, removed, renamed, strided]
)
def test_arrays_that_were_changed_instead_of_filled_are_noticed(change):
    arrays = made((2, 3), (4,))
    assert arrays.request(SPEC, ()) is not None
    change(arrays)
    assert arrays.request(SPEC, ()) is None


def test_another_model_or_other_outputs_need_another_request():
    arrays = made((2,), outputs=OUTPUTS)
    assert arrays.request(ModelSpec("m", 3, None, "serving_default"), list(OUTPUTS)) is not None
    for spec, outputs in ((ModelSpec("m"), OUTPUTS), (SPEC, ()), (SPEC, OUTPUTS[::-1])):
        assert arrays.request(spec, outputs) is None


def test_strings_are_ordinary_arrays():
    shapes = {"s": ArrayShape(STRING, (2,)), "x": ArrayShape(BY_NAME["float"], (2,))}
    arrays = RequestArrays(SPEC, shapes)
    assert arrays["s"].tolist() == [b"", b""]
    assert arrays["x"].flags.writeable
    assert arrays.request(SPEC, ()) is None


def test_without_such_memory_the_arrays_are_ordinary_ones(monkeypatch):
    monkeypatch.setattr(request_memory, "AVAILABLE", False)
    arrays = made((2, 3))
    arrays["x0"][:] = 1
    assert arrays.request(SPEC, ()) is None


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda arrays: pickle.loads(pickle.dumps(arrays))])
def test_copies_are_plain_dicts_with_memory_of_their_own(copied):
    arrays = made((2,))
    arrays["x0"][:] = 7
    other = copied(arrays)
    arrays["x0"][:] = 8
    assert type(other) is dict
    assert other["x0"].tolist() == [7, 7]


def test_the_memory_lives_as_long_as_an_array_and_no_longer():
    arrays = made((100,))
    request, array, gone = arrays.request(SPEC, ()), arrays["x0"], weakref.ref(arrays)
    assert lasting(request) is not request
    assert lasting(request) == request
    del arrays
    gc.collect()
    assert gone() is None
    assert lasting(request) is request
    array[:] = 5
    assert array.tolist() == [5] * 100
    assert id(request) not in request_memory.owners


def test_held_arrays_cannot_be_written_to_until_the_last_release():
    arrays = made((2,), (0,))
    first, second = held(arrays.request(SPEC, ())), held(arrays.request(SPEC, ()))
    assert first is second is arrays
    first.release()
    with pytest.raises(ValueError, match="read-only"):
        arrays["x0"][0] = 1
    second.release()
    arrays["x0"][0] = 1
    assert held(b"another request") is None


def test_requests_over_2_gib_are_refused_before_memory_is_taken():
    with pytest.raises(EncodeError, match="at most 2147483647 bytes"):
        made((1 << 30,))


@pytest.mark.parametrize("shape", [(1,) * 65, (0, 1 << 63), (1 << 62, 0)])
@pytest.mark.parametrize("dtype", ["float", "string"])
def test_shapes_that_numpy_cannot_have_are_refused(shape, dtype):
    with pytest.raises(EncodeError, match="expected shapes that numpy can have, got 'x0'"):
        made(shape, dtype=dtype)


def test_more_strings_than_a_request_can_have_are_refused_before_memory_is_taken():
    with pytest.raises(EncodeError, match="expected at most 1073741823 strings"):
        made((1 << 15, 1 << 15), dtype="string")


def test_read_only_arrays_stay_read_only_after_a_release():
    arrays = made((2,), (3,))
    arrays["x1"].flags.writeable = False
    held(arrays.request(SPEC, ())).release()
    assert [array.flags.writeable for array in arrays.values()] == [True, False]
