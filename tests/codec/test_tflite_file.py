"""Inputs, outputs and signatures of TensorFlow Lite files; the peers compare with TensorFlow's own files."""

from __future__ import annotations

import io
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_bytes import FLOAT, INT64, TEXT, Table, file_of, model, tensor

from tfs_client._codec import tflite_file
from tfs_client._codec.tflite_file import FileTensor
from tfs_client.errors import DecodeError

TENSORS = [
    tensor("x", shape=(1, 2), signature=(-1, 2)),
    tensor("w"),
    tensor("names", TEXT, (1,)),
    tensor("count", INT64, ()),
]


def read(data):
    return tflite_file.read(io.BytesIO(data))


def test_inputs_outputs_and_signatures_are_read():
    found = read(model(TENSORS, [0, 2], [3], metadata=b"flex", own=("serve", "train")))
    assert found.inputs == [
        FileTensor("x", 0, FLOAT, (1, 2), (-1, 2)),
        FileTensor("names", 2, TEXT, (1,), ()),
    ]
    assert found.outputs == [FileTensor("count", 3, INT64, (), ())]
    assert found.own_signatures == ("serve", "train")
    assert found.metadata == b"flex"


def test_a_file_without_metadata_and_signatures():
    found = read(model(TENSORS, [0], [3]))
    assert found.metadata is None
    assert found.own_signatures == ()


def test_weights_are_not_read():
    class Counting(io.BytesIO):
        total = 0

        def read(self, size=-1):
            data = super().read(size)
            self.total += len(data)
            return data

    file = Counting(model(TENSORS, [0], [3], metadata=b"flex", weights=bytes(10 << 20)))
    assert tflite_file.read(file).metadata == b"flex"
    assert file.total < 1000


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "expected b'TFL3' at byte 4 of a TensorFlow Lite model, got b''"),
        (b"\x08\0\0\0TFL2", "got b'TFL2'"),
        (b"\x08\0\0\0TFL3", "expected 4 bytes at byte 8, got the end of the file at byte 8"),
        (b"\xff\xff\xff\xffTFL3", "expected 4 bytes at byte 4294967295"),
        (file_of(Table({0: 3})), "a TensorFlow Lite model with a graph, got none"),
        (model(TENSORS, [9], [3]), "expected the number of one of 4 tensors, got 9"),
        (model(TENSORS, [-1], [3]), "expected the number of one of 4 tensors, got -1"),
        (model(TENSORS, [0], [3])[:150], "got the end of the file"),
    ],
)
def test_other_files_and_damaged_ones_are_refused(data, text):
    with pytest.raises(DecodeError, match=text):
        read(data)


def test_a_vector_that_is_used_often_is_refused():
    """Otherwise a small file could make a reader copy a long name thousands of times."""
    data = bytearray(model([tensor("n" * 5000)], [0], [0] * 5000))
    with pytest.raises(DecodeError, match="expected vectors of at most"):
        read(bytes(data))


WHOLE = model(TENSORS, [0, 2], [3], metadata=b"flex", own=("serve",))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_changed_bytes_give_a_result_or_a_decode_error(seed):
    rng = random.Random(seed)
    data = bytearray(WHOLE)
    for _ in range(rng.randrange(1, 5)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    with suppress(DecodeError):
        read(bytes(data[: rng.randrange(len(data) // 2, len(data) + 1)]))
