"""Replies that become objects: real ones of any size are read, and no reply of two-byte fields becomes gigabytes."""

import itertools

import pytest

from tfs_client._calls.health import CheckHealth
from tfs_client._calls.inference import Classify, MultiInference, Regress
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.reload import ReloadConfig
from tfs_client._calls.served_models import GetConfig
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec import field_limits, signature_defs, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError
from tfs_client.model_config import ModelServerConfig
from tfs_client.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

D = wire.delimited
SPEC = ModelSpec("m")
SIZE = 1_200_000
NESTED = b"\x0a\x00"  # field 1, empty


def metadata(signatures):
    any_ = D(1, signature_defs.TYPE_URL.encode()) + D(2, signatures)
    return D(1, D(1, b"m")) + D(2, D(1, b"signature_def") + D(2, any_))


def signature(parts):
    return D(1, D(1, b"s") + D(2, parts))


def filled(unit):
    return unit * (SIZE // len(unit))


CALLS = {
    "status": GetModelStatus(SPEC),
    "metadata": GetModelMetadata(SPEC),
    "classify": Classify(SPEC, [{"x": 1.0}]),
    "regress": Regress(SPEC, [{"x": 1.0}]),
    "multi": MultiInference(SPEC, [{"x": 1.0}], {"a": "classify"}),
    "reload": ReloadConfig(ModelServerConfig([])),
    "config": GetConfig(),
    "health": CheckHealth(""),
}
HOSTILE = [
    ("status", filled(NESTED)),
    ("status", filled(b"\x78\x01")),  # unknown fields
    ("status", filled(b"\x7b\x7c")),  # unknown groups
    ("metadata", metadata(filled(D(1, b"\x12\x00")))),
    ("metadata", metadata(signature(filled(D(1, b"\x12\x00"))))),
    ("metadata", metadata(signature(D(1, D(2, D(3, filled(b"\x12\x00"))))))),
    ("classify", D(1, filled(NESTED))),
    ("classify", D(1, D(1, filled(NESTED)))),
    ("regress", D(1, filled(NESTED))),
    ("multi", filled(NESTED)),
    ("multi", D(1, D(2, D(1, filled(NESTED))))),
    ("reload", filled(b"\x12\x00")),
    ("config", D(1, filled(NESTED))),
    ("health", filled(b"\x08\x01")),
]


@pytest.mark.parametrize(("method", "reply"), HOSTILE, ids=[f"{n}-{method}" for n, (method, _) in enumerate(HOSTILE)])
def test_replies_with_too_many_fields_are_refused_before_parsing(method, reply):
    CALLS[method].write()
    with pytest.raises(DecodeError, match="too large: expected"):
        CALLS[method].read(reply)


def test_replies_of_too_many_bytes_are_refused():
    with pytest.raises(DecodeError, match=f"at most {field_limits.MOST_BYTES} bytes"):
        GetModelStatus(SPEC).read(bytes(field_limits.MOST_BYTES + 1))


def test_a_server_may_report_many_versions():
    count = 5_000
    reply = GetModelStatusResponse()
    for version in range(1, count + 1):
        entry = reply.model_version_status.add(version=version, state=30)
        entry.status.error_message = "" if version % 2 else "some longer text that makes the reply larger"
    data = reply.SerializeToString()
    assert not field_limits._has_more(data, field_limits.STATUS, 5 * count)
    assert len(GetModelStatus(SPEC).read(data).versions) == count


def test_fields_are_counted_at_all_depths():
    """The count agrees with one by hand: of tags of several bytes, fixed fields, groups and messages in messages."""
    leaf = b"\x08\x80\x01" + b"\x15\0\0\0\0" + b"\x19" + bytes(8) + b"\xa2\x06\x02hi"
    entry = D(3, leaf) + b"\x7b\x08\x01\x7c"
    for data, fields in ((leaf, 4), (D(1, entry), 9), (D(1, entry) * 3, 27), (D(7, entry), 1)):
        assert field_limits._has_more(data, field_limits.STATUS, fields - 1)
        assert not field_limits._has_more(data, field_limits.STATUS, fields)


def test_invalid_messages_are_left_to_the_reader():
    for data in map(bytes, itertools.product((0x0A, 0x80, 0xFF, 0x08), repeat=4)):
        field_limits._has_more(data, field_limits.STATUS, 1)


def test_the_limit_grows_with_the_examples_that_were_sent():
    reply = D(1, D(1, NESTED * 200_000) * 2)
    with pytest.raises(DecodeError, match="too large"):
        CALLS["classify"].read(reply)
    call = Classify(SPEC, [{"x": 1.0}] * 3)
    call.write()
    field_limits.check(reply, field_limits.CLASSIFICATION, "the reply", examples=call._count)
    with pytest.raises(DecodeError, match="too large"):
        field_limits.check(reply, field_limits.REGRESSION, "the reply", examples=call._count)
