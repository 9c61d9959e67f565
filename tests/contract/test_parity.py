"""gRPC and REST give equal arrays with equal dtypes, for random signatures and values.

In row and columnar form, with orjson and without it.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tfs_client import EncodeError, PredictClient, TensorSpec
from tfs_client._codec import json_text
from tfs_client._codec.dtypes import BY_NAME
from tfs_client._codec.rest_json import CARRIED
from tfs_client.testing import FakeServer

NAMES = ("x", "b64", "a b", "ü", "x_bytes", "predictions")


@st.composite
def tensors(draw, dtype, length=None):
    """An array of a dtype that REST carries; of a length along axis 0, where one is given."""
    shape = tuple(draw(st.lists(st.integers(0 if length is None else 1, 3), max_size=2)))
    shape = shape if length is None else (length, *shape)
    size = int(np.prod(shape))
    row = BY_NAME[dtype]
    if dtype == "string":
        texts = draw(st.lists(st.binary(max_size=5), min_size=size, max_size=size))
        array = np.empty(size, object)
        array[:] = texts
        return array.reshape(shape)
    raw = draw(st.binary(min_size=size * row.dtype.itemsize, max_size=size * row.dtype.itemsize))
    if dtype == "bool":
        return (np.frombuffer(raw, np.uint8) > 127).reshape(shape)
    return np.frombuffer(raw, row.dtype).reshape(shape)


@st.composite
def calls(draw):
    """A signature's inputs, each with an array that fits it."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    length = draw(st.one_of(st.none(), st.integers(1, 3)))
    return {name: draw(tensors(draw(st.sampled_from(sorted(CARRIED))), length)) for name in names}


def echo(**inputs):
    """Gives its inputs back, strings under a name that says they may be any bytes."""
    return {out(name, array): array for name, array in inputs.items()}


def out(name, array):
    return f"{name}_out_bytes" if array.dtype == object else f"{name}_out"


@example({"x": np.bool_([0]), "text": np.array([b"\x00"], object)}, False)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls(), st.booleans())
def test_grpc_and_rest_give_equal_arrays(inputs, fast):
    shapes = {name: (None, *array.shape[1:]) if array.ndim else () for name, array in inputs.items()}
    specs = {name: TensorSpec(array.dtype, shapes[name]) for name, array in inputs.items()}
    outputs = {out(name, array): TensorSpec(array.dtype, shapes[name]) for name, array in inputs.items()}
    server = PARITY.add(specs, outputs)
    with (
        pytest.MonkeyPatch.context() as patched,
        PredictClient(server.target, model=PARITY.model, timeout=20) as grpc,
        PredictClient(server.rest_url, model=PARITY.model, timeout=20) as rest,
        PredictClient(server.rest_url, model=PARITY.model, timeout=20, rest_format="columnar") as columnar,
    ):
        if not fast:
            patched.setattr(json_text, "orjson", None)
        want = grpc.predict(inputs)
        for client in (rest, columnar):
            got = client.predict(inputs)
            assert set(got) == set(want)
            for alias in want:
                assert got[alias].dtype == want[alias].dtype
                assert got[alias].shape == want[alias].shape
                same(got[alias], want[alias])


def same(got, want):
    """Equal values; floats to the bit but for what a NaN carries along."""
    if want.dtype.kind == "f":
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        want, got = np.nan_to_num(want, nan=0.0), np.nan_to_num(got, nan=0.0)
        assert got.tobytes() == want.tobytes()
    else:
        assert got.tolist() == want.tolist()


class Parity:
    """A server to which every example of the property adds its model."""

    server: FakeServer
    model = "m"
    version = 0

    def add(self, inputs, outputs):
        self.version += 1
        self.server.add_model("m", echo, inputs=inputs, outputs=outputs, version=self.version)
        if self.version > 1:
            self.server.remove_model("m", self.version - 1)
        return self.server


PARITY = Parity()


@pytest.fixture(autouse=True, scope="module")
def server():
    with FakeServer(check_shapes=False) as PARITY.server:  # JSON shows no axes inside an empty list
        yield PARITY.server


@pytest.mark.parametrize("dtype", ["float16", "uint16", "complex64", "complex128", "bfloat16"])
def test_values_that_rest_cannot_carry_are_refused_with_a_hint_to_grpc(server, dtype):
    spec = TensorSpec(dtype, (None,))
    name = f"of-{dtype}"
    server.add_model(name, lambda x: x, inputs={"x": spec}, outputs={"y": spec})
    x = np.ones(2, spec.dtype)
    refusal = pytest.raises(EncodeError, match=r"input 'x': REST cannot carry \w+ tensors; use gRPC")
    with PredictClient(server.rest_url, model=name) as client, refusal:
        client.predict({"x": x})
    with PredictClient(server.target, model=name) as client:
        assert client.predict({"x": x}).array.dtype == spec.dtype
