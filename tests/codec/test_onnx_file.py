"""Inputs and outputs of ONNX models, which are written field by field; the peers compare with the package onnx."""

from __future__ import annotations

import io
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_files import INT64, STRING, model, value, weight

from tfs_client._codec import onnx_file, wire
from tfs_client._codec.dtypes import BY_NAME
from tfs_client.errors import DecodeError

FLOAT = BY_NAME["float"]


def read(data):
    return onnx_file.read(io.BytesIO(data))


def test_inputs_without_an_initial_value_and_outputs_are_read():
    data = model(
        [value("x"), value("w", dims=(2, 3)), value("ids", INT64, (None, 4, -1)), value("any", STRING, None)],
        [value("y", dims=("batch", 3)), value("count", INT64, ())],
        weights=[weight("w", bytes(24))],
        nodes=[b"\x0a\x01x\x12\x01y\x22\x03Add"] * 100,
    )
    inputs, outputs, names = read(data)
    assert inputs == {
        "x": (FLOAT, (None, 2), "x"),
        "ids": (BY_NAME["int64"], (None, 4, None), "ids"),
        "any": (BY_NAME["string"], None, "any"),
    }
    assert outputs == {"y": (FLOAT, (None, 3), "y"), "count": (BY_NAME["int64"], (), "count")}
    assert names == ({"x": ("batch", "")}, {"y": ("batch", "")})


def test_sparse_weights_are_left_out():
    graph = wire.delimited(7, wire.delimited(15, wire.delimited(1, weight("w"))) + wire.delimited(11, value("w")))
    assert read(graph) == ({}, {}, ({}, {}))


class Counting(io.BytesIO):
    """A file that counts reads, and the bytes that they return."""

    reads = total = 0

    def read(self, size=-1):
        data = super().read(size)
        self.reads += 1
        self.total += len(data)
        return data


def test_weights_are_skipped_without_reading_them():
    weights = [weight(f"w{n}", bytes(1 << 20)) for n in range(20)]
    file = Counting(model([value("x"), value("w3")], [value("y")], weights))
    assert list(onnx_file.read(file)[0]) == ["x"]
    assert file.total < len(file.getbuffer()) / 1000


@pytest.mark.parametrize("size", [4, 300, 2000])
def test_many_small_weights_take_few_reads_and_no_byte_twice(size):
    weights = [weight(f"layers.{n}.bias", bytes(size)) for n in range(3000)]
    file = Counting(model([value("x"), value("w3")], [value("y")], weights))
    assert list(onnx_file.read(file)[0]) == ["x", "w3"]
    assert file.total <= len(file.getbuffer())
    assert file.reads < 20 + len(file.getbuffer()) / (1 << 15)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "expected an ONNX model with a graph, got none in 0 bytes"),
        (model([value("x"), value("x")], []), r"an input at byte \d+ .*expected one input 'x', got several"),
        (model([], [value("y", 24)]), "an element type of TensorFlow, got FLOAT8E8M0, which is not supported"),
        (model([], [value("y", 99)]), "expected output 'y' to have an element type of TensorFlow, got number 99"),
        (model([b"\x0a\x01x"], []), "expected input 'x' to be a tensor, got no type"),
        (model([b"\x0a\x01x" + wire.delimited(2, wire.delimited(4, b""))], []), "to be a tensor, got a sequence"),
        (model([b"\x0a\x01x" + wire.delimited(2, wire.delimited(5, b""))], []), "to be a tensor, got a map"),
        (model([b"\x0a\x01\xff"], []), "expected UTF-8 in a name"),
        (model([value("x")], [])[:-20], "needs"),
    ],
)
def test_other_models_and_damaged_ones_are_refused(data, text):
    with pytest.raises(DecodeError, match=text):
        read(data)


WHOLE = model([value("x"), value("w")], [value("y", INT64, ())], [weight("w", b"abcd")], [b"\x0a\x01x"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_changed_bytes_give_inputs_or_a_decode_error(seed):
    rng = random.Random(seed)
    data = bytearray(WHOLE)
    for _ in range(rng.randrange(1, 5)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    with suppress(DecodeError):
        read(bytes(data[: rng.randrange(len(data) // 2, len(data) + 1)]))
