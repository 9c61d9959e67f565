"""GetModelMetadata replies: what is written is read back, by us and by protobuf."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec import metadata_messages, signature_defs
from tfs_client._codec.dtypes import ROWS
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap

NAMES = st.text(max_size=6)
SHAPES = st.none() | st.lists(st.none() | st.integers(0, 1 << 40), max_size=3).map(tuple)
TENSORS = st.dictionaries(NAMES, st.tuples(st.sampled_from(ROWS), SHAPES, NAMES), max_size=3)
SPECS = st.builds(ModelSpec, NAMES, st.none() | st.integers(0, (1 << 63) - 1))


@settings(max_examples=30)
@given(SPECS, st.dictionaries(NAMES, st.tuples(TENSORS, TENSORS, NAMES), max_size=3))
def test_signatures_survive(spec, signatures):
    infos = {name: (*each, set(sorted(each[0])[:1])) for name, each in signatures.items()}
    data = metadata_messages.write_response(spec, infos)
    found_spec, found = signature_defs.read_response(data)
    assert found_spec == spec
    assert {name: info[:3] for name, info in found.items()} == {name: info[:3] for name, info in infos.items()}
    assert {name: set(info[3]) for name, info in found.items()} == {name: info[3] for name, info in infos.items()}
    message = SignatureDefMap()
    assert GetModelMetadataResponse.FromString(data).metadata["signature_def"].Unpack(message)
    assert set(message.signature_def) == set(infos)
