"""ModelSpec on the wire, against protobuf."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec import model_spec, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError, EncodeError
from tfs_client.protos.tensorflow_serving.apis import model_pb2

TEXT = st.text(max_size=12)
SPECS = st.builds(ModelSpec, TEXT, st.none() | st.integers(-(2**63), 2**63 - 1), st.none(), TEXT) | st.builds(
    ModelSpec, TEXT, st.none(), TEXT, TEXT
)


def from_protobuf(data):
    proto = model_pb2.ModelSpec.FromString(data)
    version = proto.version.value if proto.HasField("version") else None
    label = proto.version_label if proto.HasField("version_label") else None
    return ModelSpec(proto.name, version, label, proto.signature_name)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SPECS)
def test_protobuf_reads_what_we_write_and_we_read_it_too(spec):
    data = model_spec.write(spec)
    assert from_protobuf(data) == spec
    assert model_spec.read(data) == spec


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(SPECS.map(model_spec.write) | st.sampled_from([b"\x12\0", b"\x28\x05", b"\x08\x01"]), max_size=4))
def test_specs_in_pieces_are_merged_as_protobuf_merges_them(pieces):
    data = b"".join(pieces)
    assert model_spec.read(data) == from_protobuf(data)


def test_version_zero_is_a_version():
    assert model_spec.write(ModelSpec("m", 0)) == bytes.fromhex("0a016d 1200")
    assert model_spec.read(bytes.fromhex("0a016d 1200")).version == 0
    assert model_spec.read(bytes.fromhex("0a016d")).version is None


def test_the_last_of_version_and_label_wins():
    version, label = wire.delimited(2, b"\x08\x03"), wire.delimited(4, b"canary")
    assert model_spec.read(version + label) == ModelSpec("", None, "canary")
    assert model_spec.read(label + version) == ModelSpec("", 3, None)


def test_a_name_that_is_not_utf8_is_an_error():
    with pytest.raises(DecodeError, match=r"expected UTF-8 in the model's name"):
        model_spec.read(wire.delimited(1, b"\xff"))
    with pytest.raises(EncodeError, match=r"expected a model name that UTF-8 can encode"):
        model_spec.write(ModelSpec("\ud800"))


def test_long_specs_are_read_without_being_kept():
    before = model_spec._read_known.cache_info().currsize
    assert len(model_spec.read(wire.delimited(1, b"n" * 10_000)).name) == 10_000
    assert model_spec._read_known.cache_info().currsize == before
