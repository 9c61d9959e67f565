"""Hostile bytes: a result or a DecodeError, quickly, and in memory bounded by the message.

Mutated messages of all kinds are in tests/hostile.
"""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec import model_spec, predict_messages, signature_defs, tensors, wire
from tfs_client._codec.dtypes import BY_NAME
from tfs_client._codec.many_strings import MANY
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

from .samples import GOLDEN, HELD, REPLY, REQUEST, Rejected, of_row, packed, reference, same, shape, tensor, unpacked


def read_request_whole(data):
    request = predict_messages.read_request(data)
    return {alias: request.tensor(alias) for alias in request.inputs}


METADATA = wire.delimited(1, wire.delimited(1, b"m")) + wire.delimited(
    2,
    wire.delimited(1, b"signature_def")
    + wire.delimited(
        2,
        wire.delimited(1, signature_defs.TYPE_URL.encode())
        + wire.delimited(
            2,
            wire.delimited(
                1,
                wire.delimited(1, b"s")
                + wire.delimited(
                    2,
                    wire.delimited(
                        1,
                        wire.delimited(1, b"x")
                        + wire.delimited(2, b"\x0a\x03x:0\x10\x01" + wire.delimited(3, b"\x12\x02\x08\x02\x12\x00")),
                    )
                    + wire.delimited(3, b"method"),
                ),
            ),
        ),
    ),
)
READERS = {
    "tensor": tensors.read,
    "response": predict_messages.read_response,
    "request": read_request_whole,
    "metadata": signature_defs.read_response,
    "spec": model_spec.read,
}
VALID = {
    "tensor": [bytes.fromhex(text) for _, *both in GOLDEN for text in both]
    + [tensors.write(of_row(row, (2, 2)), typed=typed) for row in HELD for typed in (False, True)]
    + [tensor(9, (3,), unpacked(10, 1, 300, -1)), tensor(10, (2,), b"\xa3\x06\x08\x01\xa4\x06", packed(11, 1, 0))],
    "response": [
        REPLY,
        predict_messages.write_response(
            ModelSpec("m", 1), {"a": np.arange(3), "b": np.array([b"x", b"yz"], object), "c": np.float32(1)[...]}
        ),
        predict_messages.write_response(
            ModelSpec("m", 1), {"a": np.array([True]), "s": np.array(b"q", object)}, typed=False
        ),
    ],
    "request": [REQUEST],
    "metadata": [METADATA],
    "spec": [model_spec.write(ModelSpec("name", 3, None, "sig")), model_spec.write(ModelSpec("n", None, "canary"))],
}


def read_or_refuse(reader, data):
    """What the reader makes of the bytes; None when it refuses them. Any other exception fails the test."""
    try:
        return READERS[reader](data)
    except DecodeError:
        return None


def agree_with_protobuf(data):
    """Where both protobuf and we take the bytes for a tensor, it is the same tensor."""
    got = read_or_refuse("tensor", data)
    if got is None:
        return
    try:
        proto = TensorProto.FromString(data)
    except Exception:  # protobuf refuses more: it also looks at the fields that do not matter here
        return
    try:
        want = reference(proto)
    except Rejected:
        assert got.size > 100_000
        return
    assert same(got, want)


# --- the readers refuse with DecodeError, or read


@pytest.mark.parametrize("reader", READERS)
def test_valid_messages_are_read(reader):
    for data in VALID[reader]:
        assert read_or_refuse(reader, data) is not None


@pytest.mark.parametrize("reader", READERS)
def test_a_message_cut_off_anywhere_is_read_or_refused(reader):
    for data in VALID[reader]:
        for stop in range(len(data)):
            read_or_refuse(reader, data[:stop])
            read_or_refuse(reader, data[stop:])


FIELD = st.tuples(st.integers(0, 19), st.integers(0, 7)).map(lambda field: field[0] << 3 | field[1])
RECORD = st.builds(lambda tag, body: wire.varint(tag) + body, FIELD, st.binary(max_size=12))
SIZED = st.builds(lambda tag, body: wire.delimited(tag, body), st.integers(1, 19), st.binary(max_size=12))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(HELD), st.lists(st.integers(-1, 4), max_size=3), st.lists(RECORD | SIZED, max_size=5))
def test_tensors_of_random_fields_are_what_protobuf_makes_of_them(row, sizes, records):
    agree_with_protobuf(tensor(row.number, tuple(sizes), *records))


# --- and do so in bounded time and memory


HUGE = (1 << 20, 1 << 20)
STRINGS = BY_NAME["string"].number


def in_entry(data):
    return wire.delimited(1, wire.delimited(1, b"y") + wire.delimited(2, data))


# name -> the message of about n bytes
ATTACKS = {
    "no value for a huge shape": lambda n: tensor(9, HUGE, wire.delimited(99, b"\0" * n)),
    "one value for a huge shape": lambda n: tensor(9, HUGE, packed(10, 1), wire.delimited(99, b"\0" * n)),
    "two values for a huge shape": lambda n: tensor(9, HUGE, packed(10, 1, 2), wire.delimited(99, b"\0" * n)),
    "one value short of a huge shape": lambda n: tensor(9, (n + 1,), wire.delimited(10, b"\5" * n)),
    "two floats for a huge shape": lambda n: tensor(1, HUGE, wire.delimited(5, b"\0" * n)),
    "varints of one byte": lambda n: tensor(9, (n,), wire.delimited(10, b"\5" * n)),
    "varints of one byte but one": lambda n: tensor(9, (n - 1,), wire.delimited(10, b"\5" * (n - 2) + b"\x85\5")),
    "long varints, then short ones": lambda n: tensor(
        9, (n // 20 + n // 2,), wire.delimited(10, (b"\x85" * 9 + b"\1") * (n // 20) + b"\5" * (n // 2))
    ),
    "varints too long": lambda n: tensor(9, (1,), wire.delimited(10, b"\x80" * n + b"\1")),
    "a few varints too long": lambda n: tensor(9, (9,), wire.delimited(10, b"\5" * n + b"\x80" * n + b"\1")),
    "tiny fragments": lambda n: tensor(9, (n // 3,), b"\x52\1\5" * (n // 3)),
    "empty fragments": lambda n: tensor(9, (5,), b"\x52\0" * (n // 2)),
    "empty and full fragments": lambda n: tensor(9, (n // 5,), b"\x52\0\x52\1\5" * (n // 5)),
    "an unpacked run": lambda n: tensor(9, (n // 2,), b"\x50\5" * (n // 2)),
    "an unpacked run of two-byte tags": lambda n: tensor(22, (n // 3,), b"\x80\1\5" * (n // 3)),
    "an unpacked run of floats": lambda n: tensor(1, (n // 5,), b"\x2d\0\0\x80\x3f" * (n // 5)),
    "an unpacked run of endless varints": lambda n: tensor(9, (9,), b"\x50\5" * 99 + b"\x50" + b"\x80" * n),
    "many float8 fields": lambda n: tensor(9, (5,), b"\x92\x01\x01\x00" * (n // 4)),
    "empty groups": lambda n: tensor(9, (5,), b"\xa3\x06\xa4\x06" * (n // 4)),
    "nested groups": lambda n: tensor(9, (5,), b"\xa3\x06" * (n // 2)),
    "unknown fields": lambda n: tensor(9, (5,), b"\x18\0" * (n // 2)),
    "strings in a numeric tensor": lambda n: tensor(9, (5,), b"\x42\0\x18\0" * (n // 4)),
    "many shapes": lambda n: b"\x08\x09" + b"\x12\0" * (n // 2),
    "many axes": lambda n: tensor(9, (0,) * (n // 4)),
    "many sizes of an axis": lambda n: b"\x08\x09" + wire.delimited(2, wire.delimited(2, b"\x08\1" * (n // 2))),
    "many names of an axis": lambda n: b"\x08\x09" + wire.delimited(2, wire.delimited(2, b"\x12\0" * (n // 2))),
    "bools that are none": lambda n: tensor(10, (n,), wire.delimited(11, b"\2" * n)),
    "halves": lambda n: tensor(19, (n,), wire.delimited(13, b"\2" * n)),
    "bool content that is none": lambda n: tensor(10, (n,), wire.delimited(4, b"\2" * n)),
    "strings in content: lengths that lie": lambda n: tensor(STRINGS, (n,), wire.delimited(4, b"\5" * n)),
    "strings in content: one endless length": lambda n: tensor(STRINGS, (1,), wire.delimited(4, b"\x80" * n)),
    "strings in content: a few endless lengths": lambda n: tensor(STRINGS, (9,), wire.delimited(4, b"\x80" * n)),
    "strings in content: more than there are": lambda n: tensor(STRINGS, HUGE, wire.delimited(4, b"\0" * n)),
    "strings in content: a sum that wraps": lambda n: tensor(
        STRINGS, (n // 10,), wire.delimited(4, (b"\xff" * 9 + b"\1") * (n // 10))
    ),
    "one string for a huge shape": lambda n: tensor(STRINGS, HUGE, wire.delimited(8, b"x" * n)),
    "two strings for a huge shape": lambda n: tensor(STRINGS, HUGE, wire.delimited(8, b"x" * n) * 2),
    "empty strings": lambda n: tensor(STRINGS, (n // 2,), b"\x42\0" * (n // 2)),
    "empty strings between others": lambda n: tensor(STRINGS, (n // 4,), b"\x42\0\x18\0" * (n // 4)),
}
for _run in (1, 2, 31, 33, 64):
    ATTACKS[f"fields alternating after {_run}"] = lambda n, k=_run: tensor(
        9, (n // 4,), (b"\x50\5" * k + b"\x38\5" * k) * (n // 4 // k)
    )
    ATTACKS[f"floats alternating after {_run}"] = lambda n, k=_run: tensor(
        1, (n // 10,), (b"\x2d\0\0\0\0" * k + b"\x4d\0\0\0\0" * k) * (n // 10 // k)
    )
ENTRY = {
    "a tensor in many pieces": lambda n: wire.delimited(1, b"\x0a\1y" + b"\x12\0" * (n // 2)),
    "many aliases in an entry": lambda n: wire.delimited(1, b"\x0a\1y" * (n // 3)),
    "many specs": lambda n: b"\x12\0" * (n // 2),
    "specs of much": lambda n: wire.delimited(2, b"\x12\0" * (n // 2)),
    "empty entries": lambda n: in_entry(b"\x08\1") + b"\x0a\0" * (n // 2),
    "many outputs of one name": lambda n: in_entry(b"\x08\1") * (n // 9),
    "unknown fields": lambda n: b"\x28\1" * (n // 2),
}
ATTACKS |= {f"reply: {name}": make for name, make in ENTRY.items()}


def reader_of(name):
    return "response" if name.startswith("reply") else "tensor"


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_messages_use_little_memory(name):
    data = ATTACKS[name](60_000)
    read_or_refuse(reader_of(name), tensor(9, (2,), packed(10, 1, 300)))  # whatever is made once
    tracemalloc.start()
    try:
        kept = read_or_refuse(reader_of(name), data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    scratch = 4 << 20
    pieces = 1.25 * len(data)  # a field in pieces is put together first
    assert peak <= 8 * len(data) + pieces + scratch


@pytest.mark.parametrize("name", ["varints of one byte", "varints of one byte but one", "an unpacked run", "halves"])
def test_large_messages_take_eight_times_their_size_at_the_most(name):
    data = ATTACKS[name](8_000_000)
    tracemalloc.start()
    try:
        kept = read_or_refuse("tensor", data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept is not None
    assert peak <= 8 * len(data) + (4 << 20)


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_messages_take_time_in_proportion_to_their_size(name):
    data = ATTACKS[name](200_000)
    start = time.process_time()
    read_or_refuse(reader_of(name), data)
    assert time.process_time() - start < 2  # seconds; a quadratic walk takes minutes


def test_shapes_are_refused_before_memory_is_allocated():
    for number in (1, 7, 9, 10, 18):
        for fields in (b"", packed(10, 1, 2), wire.delimited(8, b"a") * 2, wire.delimited(5, b"\0" * 8)):
            data = b"\x08" + wire.varint(number) + shape(1 << 31, 1 << 31) + fields
            read_or_refuse("tensor", data)


def test_strings_between_other_fields_take_linear_time() -> None:
    """Protobuf's parser, which takes over long runs of strings, is tried once, not at every run."""
    run = wire.delimited(8, b"ab") * (MANY + 1)
    data = b"\x08\x07" + (run + wire.delimited(99, b"")) * 60  # 1 MB; an unknown field behind every run
    started = time.perf_counter()
    assert tensors.read(data).tolist() == b"ab"  # no shape: a scalar, and the surplus is ignored
    assert time.perf_counter() - started < 5
