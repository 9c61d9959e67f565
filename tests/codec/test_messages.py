"""Messages that protobuf reads: every error of its implementations becomes a DecodeError."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tfs_client import Classification, ClassScore, DecodeError, ModelVersion, StatusCode
from tfs_client._calls.health import CheckHealth
from tfs_client._calls.inference import Classify, MultiInference, Regress
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.reload import ReloadConfig
from tfs_client._calls.served_models import GetConfig
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.model_config import ModelServerConfig
from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse
from tfs_client.protos.tensorflow_serving.apis.inference_pb2 import MultiInferenceResponse
from tfs_client.results import Health, State

SPEC = ModelSpec("m")
CALLS = {
    "status": GetModelStatus(SPEC),
    "classify": Classify(SPEC, [{}]),
    "regress": Regress(SPEC, [{}]),
    "multi_inference": MultiInference(SPEC, [{}], {"a": "classify"}),
    "reload": ReloadConfig(ModelServerConfig([])),
    "config": GetConfig(),
    "health": CheckHealth(""),
    "metadata": GetModelMetadata(SPEC),
}
HOSTILE = {
    "garbage": b"\xff\xff\xff\xff",
    "cut off": b"\x0a\x7f",
    "groups": b"\x0b" * 1000,
    "a varint that does not end": b"\x08" + b"\xff" * 11,
    "a wrong length": b"\x0a\xff\xff\xff\xff\x0f",
}
NOT_UTF8 = {
    "status": b"\x0a\x06\x1a\x04\x12\x02\xff\xfe",
    "classify": b"\x0a\x0a\x0a\x08\x0a\x06\x0a\x04\xff\xfe\xfd\xfc",
    "reload": b"\x0a\x04\x12\x02\xff\xfe",
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_decode_errors(name: str, reply: bytes) -> None:
    with pytest.raises(DecodeError):
        CALLS[name].read(reply)


@pytest.mark.parametrize("name", NOT_UTF8)
def test_strings_that_are_not_utf8_are_decode_errors(name: str) -> None:
    with pytest.raises(DecodeError):
        CALLS[name].read(NOT_UTF8[name])


def test_errors_of_protobuf_in_python_are_decode_errors() -> None:
    """They are UnicodeDecodeErrors and others, and the implementation is chosen when protobuf is imported."""
    program = """
from google.protobuf.internal import api_implementation
assert api_implementation.Type() == "python"
from test_messages import CALLS, HOSTILE, NOT_UTF8
from tfs_client import DecodeError, ModelServerConfig, ConfigError
for name, reply in [*NOT_UTF8.items(), *((name, reply) for name in CALLS for reply in HOSTILE.values())]:
    try:
        CALLS[name].read(reply)
    except DecodeError:
        continue
    raise AssertionError((name, reply))
try:
    ModelServerConfig.from_text('model_config_list { config { name: "\\ud800" } }')
except ConfigError:
    print("all are ours")
"""
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    environment["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), os.getcwd()])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "all are ours\n", done.stderr


def test_unknown_enum_numbers_are_unknown() -> None:
    (version,) = GetModelStatus(SPEC).read(b"\x0a\x08\x10\xe7\x07\x1a\x03\x08\xe7\x07").versions
    assert (version.state, version.code) == (State.UNKNOWN, StatusCode.UNKNOWN)
    assert CheckHealth("").read(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") is Health.UNKNOWN


def test_an_any_of_another_type_is_refused() -> None:
    reply = GetModelMetadataResponse()
    reply.metadata["signature_def"].type_url = "type.googleapis.com/tensorflow.Other\x1b[31m" + "x" * 100_000
    with pytest.raises(DecodeError, match="expected signatures of type") as caught:
        GetModelMetadata(SPEC).read(reply.SerializeToString())
    assert "\x1b" not in str(caught.value)
    assert len(caught.value.args[0]) < 1000


def test_a_multi_inference_result_of_the_wrong_kind_is_refused() -> None:
    reply = MultiInferenceResponse()
    reply.results.add().regression_result.regressions.add(value=1)
    with pytest.raises(DecodeError, match="expected a classification for the task 'a'"):
        CALLS["multi_inference"].read(reply.SerializeToString())


def test_every_example_that_was_sent_has_a_result() -> None:
    for call in (Classify(SPEC, [{"a": 1}]), Regress(SPEC, [{"a": 1}])):
        call.write()
        with pytest.raises(DecodeError, match="each of the 1 examples, got 0"):
            call.read(b"")
        with pytest.raises(DecodeError, match="each of the 1 examples, got 0"):
            call.read_rest(b'{"results": []}')


def test_the_best_class_of_an_example_without_classes() -> None:
    found = Classification(((ClassScore("a", 0.5),), ()), ModelVersion("m", 1, "s"))
    with pytest.raises(DecodeError, match="none for example 1"):
        _ = found.best
