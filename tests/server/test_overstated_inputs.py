"""Requests of thirty bytes that declare terabytes: no model receives them, and ordinary short forms still work."""

import numpy as np
import pytest

from tfs_client import TensorSpec, make_tensor_proto
from tfs_client._codec import wire
from tfs_client.errors import ResourceExhaustedError
from tfs_client.server.batching.merging import merge

D = wire.delimited
FLOAT = D(5, b"\0\0\x80\x3f")
PREDICT = "/tensorflow.serving.PredictionService/Predict"
SPEC = D(1, D(1, b"any"))


def request(*dims, values=FLOAT, dtype=1):
    shape = D(2, b"".join(D(2, b"\x08" + wire.varint(dim)) for dim in dims))
    return SPEC + D(2, D(1, b"x") + D(2, b"\x08" + bytes((dtype,)) + shape + values))


@pytest.fixture
def seen(fake_server):
    shapes = []

    def fn(x):
        shapes.append(x.shape)
        return np.float32(x.size)

    any_shape = {"inputs": {"x": TensorSpec("float32", None)}, "outputs": {"y": TensorSpec("float32", ())}}
    fake_server.add_model("any", fn, **any_shape)
    return shapes


@pytest.mark.parametrize(
    "dims", [(1 << 20, 1 << 20), (5,) * 26, (1 << 33, 0), (0, 1 << 33), (1 << 20, 1 << 20, 0, 5), (1 << 23,)], ids=str
)
def test_a_request_that_declares_too_much_is_refused(plain, refused, seen, dims):
    code, text = refused(plain.raw, PREDICT, request(*dims))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("input 'x' declares float32 (")
    assert not seen


@pytest.mark.parametrize("dims", [(1000,), (1 << 20,), (0, 224, 224, 3), (1,) * 30, (2, 0)], ids=str)
def test_ordinary_short_forms_run(plain, seen, dims):
    plain.raw(PREDICT, request(*dims))
    assert seen == [dims]


def test_a_long_string_that_is_repeated_counts_in_full(plain, refused, fake_server):
    strings = {"inputs": {"x": TensorSpec("string", (None,))}, "outputs": {"y": TensorSpec("string", (None,))}}
    fake_server.add_model("any", lambda x: x, **strings)
    text = D(8, b"x" * 100_000)
    code, said = refused(plain.raw, PREDICT, request(1000, values=text, dtype=7))
    assert (code, said[:26]) == ("INVALID_ARGUMENT", "input 'x' declares string ")
    plain.raw(PREDICT, request(3, values=text, dtype=7))


def test_a_short_form_of_this_package_runs(plain, seen):
    plain.raw(PREDICT, SPEC + D(2, D(1, b"x") + D(2, make_tensor_proto(0.5, shape=(100, 100)).SerializeToString())))
    assert seen == [(100, 100)]


def test_padding_that_multiplies_lengths_is_refused():
    wide, tall = np.zeros((1, 1, 100_000), np.float32), np.zeros((1, 100_000, 1), np.float32)
    with pytest.raises(ResourceExhaustedError, match="Padding would make a batch of 80000000000 bytes"):
        merge([{"x": wide}, {"x": tall}], 0, pad=True)
    assert merge([{"x": wide}, {"x": wide[:, :, :3]}], 0, pad=True)["x"].shape == (2, 1, 100_000)


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("ModelService/HandleReloadConfigRequest", D(1, D(1, b"\x0a\x00" * 300_000))),
        ("PredictionService/MultiInference", b"\x0a\x00" * 300_000),
    ],
    ids=["reload", "multi-inference"],
)
def test_requests_with_too_many_fields_are_refused(plain, refused, method, data):
    code, text = refused(plain.raw, f"/tensorflow.serving.{method}", data)
    assert code == "INTERNAL"
    assert "too large: expected at most 262144 fields" in text
