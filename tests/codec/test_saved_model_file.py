"""The signatures in saved_model.pb, against files that protobuf writes: what is read, and how little."""

from __future__ import annotations

import io
import random
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec import saved_model_file, wire
from tfs_client._codec.dtypes import BY_NAME
from tfs_client.errors import DecodeError
from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef

FLOAT = BY_NAME["float"]


class CountingFile(io.BytesIO):
    """A file that counts what is read from it."""

    calls = read_bytes = 0

    def read(self, size=-1):
        data = super().read(size)
        self.calls += 1
        self.read_bytes += len(data)
        return data


def signature_def(size=2):
    proto = SignatureDef(method_name="tensorflow/serving/predict")
    proto.inputs["x"].name, proto.inputs["x"].dtype = "x:0", 1
    proto.inputs["x"].tensor_shape.dim.add(size=-1)
    proto.inputs["x"].tensor_shape.dim.add(size=size)
    proto.outputs["y"].dtype = 1
    proto.defaults["x"].dtype = 1
    proto.defaults["x"].float_val.append(2.5)
    return proto


def info(*tags, ops=b""):
    return wire.delimited(1, wire.delimited(2, ops) + b"".join(wire.delimited(4, tag.encode()) for tag in tags))


def signatures(**protos):
    graph = MetaGraphDef()
    for name, proto in protos.items():
        graph.signature_def[name].CopyFrom(proto)
    return graph.SerializeToString()


def saved(*graphs):
    return b"\x08\x01" + b"".join(wire.delimited(2, graph) for graph in graphs)


def read(data, **options):
    return saved_model_file.read(io.BytesIO(data), **options)


def sizes(found):
    return {name: each.info[0]["x"][1] for name, each in found.items()}


OTHERS = wire.delimited(3, b"\x0a\x04save") + wire.delimited(7, bytes(2 << 20))


@cache
def graph():
    """The field of a graph of 30 MB: 50,000 nodes and a library."""
    nodes = b"".join(wire.delimited(1, wire.delimited(1, b"node%d" % n) + b"\x12\x03Add" * 20) for n in range(50_000))
    return wire.delimited(2, nodes + wire.delimited(2, bytes(24 << 20)))


@pytest.mark.parametrize(
    "order",
    [
        lambda info, own: info + graph() + OTHERS + own,
        lambda info, own: own + info + graph() + OTHERS,
        lambda info, own: own + graph() + OTHERS + info,
    ],
    ids=["signatures last", "signatures first", "tags last"],
)
def test_at_most_a_hundredth_of_a_large_file_is_read(order):
    own = signatures(serving_default=signature_def(), other=signature_def(3))
    served = order(info("serve", ops=bytes(1 << 20)), own)
    file = CountingFile(saved(info("train") + graph() + own, served))
    found = saved_model_file.read(file)
    assert sizes(found) == {"serving_default": (None, 2), "other": (None, 3)}
    total = len(file.getbuffer())
    assert total > 50 << 20
    assert file.read_bytes < total / 10_000
    assert file.calls < 50


def test_a_signature_has_its_default_and_its_bytes():
    proto = signature_def()
    found = read(saved(info("serve") + signatures(s=proto)))["s"]
    assert found.info[:3] == ({"x": (FLOAT, (None, 2), "x:0")}, {"y": (FLOAT, (), "")}, "tensorflow/serving/predict")
    assert found.info[3] == {"x": proto.defaults["x"].SerializeToString()}
    assert SignatureDef.FromString(found.data) == proto


def test_the_first_graph_with_exactly_the_tags_counts():
    graphs = [
        info(*tags) + signatures(s=signature_def(size))
        for size, tags in enumerate((("train",), ("serve", "gpu"), ("serve",), ("serve",)))
    ]
    assert sizes(read(saved(*graphs))) == {"s": (None, 2)}
    assert sizes(read(saved(*graphs), tags={"gpu", "serve"})) == {"s": (None, 1)}
    assert read(saved(graphs[0])) is None
    assert read(b"") is None


def test_a_graph_without_signatures_is_not_the_same_as_none():
    assert read(saved(info("serve"))) == {}


def test_split_fields_are_merged_as_in_protobuf():
    one, two = signature_def(4), SignatureDef(method_name="other")
    pieces = wire.delimited(2, one.SerializeToString()) + wire.delimited(2, two.SerializeToString())
    entry = wire.delimited(5, wire.delimited(1, b"s") + pieces)
    found = read(saved(info("gpu") + entry + info("serve")), tags={"gpu", "serve"})
    assert found["s"].info[2] == "other"
    assert sizes(found) == {"s": (None, 4)}
    assert SignatureDef.FromString(found["s"].data).method_name == "other"


def test_the_last_signature_of_a_name_counts():
    graph = info("serve") + signatures(s=signature_def(4)) + signatures(s=signature_def(5))
    assert sizes(read(saved(graph))) == {"s": (None, 5)}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x12\x09x", "field 2 at byte 2 needs 9 bytes, got 1"),
        (saved(info("serve")) + b"\x12\xff\xff\xff\xff\x07ab", "field 2 at byte 21 needs 2147483647 bytes, got 2"),
        (b"\x12\x04\x12\x7fab", "field 2 at byte 4 needs 127 bytes, got 2"),
        (b"\x12", "a varint at byte 1, got the end of the message at byte 1"),
        (b"\x08\x01" + b"\xff" * 11, "a varint of at most 10 bytes at byte 2"),
        (b"\x08\x01\x0f", "before byte 3, got wire type 7"),
        (b"\x00\x01", "before byte 1, got field number 0"),
        (b"\x0b" * 200, "before byte"),
        (b"\x08\x01\x13\x08\x01", "a varint at byte 5, got the end"),
        (
            saved(info("serve") + wire.delimited(5, b"\x0a\x01s\x12\x03\x0a\x09x")),
            r"signature at byte 17 \(.*\): field 1 at byte 7 needs 9 bytes, got 1",
        ),
        (saved(wire.delimited(1, wire.delimited(4, b"\xff\xfe"))), "a tag at byte 8 .*: expected UTF-8"),
    ],
)
def test_damaged_files_are_refused_with_the_offset(data, text):
    with pytest.raises(DecodeError, match=text):
        read(data)


def test_unknown_groups_are_skipped():
    group = b"\x1b" + b"\x0b\x08\x01\x12\x02ab\x0c" + b"\x1d1234" + b"\x1c"
    assert sizes(read(saved(group + info("serve") + group + signatures(s=signature_def())) + group)) == {"s": (None, 2)}


def test_a_file_that_shrinks_while_it_is_read_is_refused():
    class Shrinking(io.BytesIO):
        def read(self, size=-1):
            return super().read(size) if size == 256 else b""

    with pytest.raises(DecodeError, match=r"expected 500 bytes at byte 13, got 243"):
        saved_model_file.read(Shrinking(saved(info("serve" * 100))))


TRAIN = info("train") + signatures(a=signature_def())
WHOLE = saved(TRAIN, signatures(b=signature_def()) + info("serve") + b"\x12\x02ab")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_is_cut_off_is_refused_or_has_no_graph_for_serving(end):
    try:
        found = read(WHOLE[:end])
    except DecodeError:
        return
    assert found is None
    assert end in (0, 2, 2 + len(wire.delimited(2, TRAIN)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_changed_bytes_give_signatures_or_a_decode_error(seed):
    rng = random.Random(seed)
    data = bytearray(WHOLE)
    for _ in range(rng.randrange(1, 5)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    file = CountingFile(bytes(data))
    with suppress(DecodeError):
        saved_model_file.read(file)
    assert file.read_bytes <= 4 * 256 * len(data)
