"""Compressed requests over gRPC: read, up to a limit."""

from __future__ import annotations

import contextlib
import gzip

import grpc
import pytest

from tfs_client.protos.tensorflow_serving.apis import get_model_status_pb2
from tfs_client.server import Server, ServerConfig

STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
CHECK = "/grpc.health.v1.Health/Check"
SIZE = 3 << 20


@pytest.fixture
def code_of():
    """The code and text of a call with a compressed request, at a server with such a limit."""
    with contextlib.ExitStack() as servers:

        def call(path, request, compression, limit=None):
            arguments = {} if limit is None else {"grpc.max_receive_message_length": limit}
            config = ServerConfig(port=0, channel_arguments=arguments, enable_grpc_healthcheck_service=True)
            server = servers.enter_context(Server(config))
            channel = servers.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.port}"))
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path)(request, compression=compression, timeout=20)
            return caught.value.code().name, caught.value.details()

        yield call


def request():
    """GetModelStatus of a model that is not there, and an unknown field of three megabytes."""
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "ghost"
    length = bytes([SIZE & 127 | 128, SIZE >> 7 & 127 | 128, SIZE >> 14 & 127 | 128, SIZE >> 21])
    return asked.SerializeToString() + b"\x7a" + length + bytes(SIZE)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate], ids=["gzip", "deflate"])
def test_compressed_requests_are_inflated_up_to_a_limit(code_of, compression):
    for limit in (None, SIZE + 100, -1):
        assert code_of(STATUS, request(), compression, limit)[0] == "NOT_FOUND"
    code, text = code_of(STATUS, request(), compression, SIZE)
    assert code == "RESOURCE_EXHAUSTED"
    assert f"the request has more than {SIZE} bytes once inflated; --grpc_channel_arguments=" in text


def test_a_damaged_request_is_an_invalid_message(code_of):
    code, text = code_of(STATUS, gzip.compress(b"x" * 100)[:-1], None)
    assert code == "INTERNAL"
    assert "the gzip data ends too early" in text


def test_a_health_check_is_a_short_message(code_of):
    assert code_of(CHECK, request(), grpc.Compression.Gzip) == ("INVALID_ARGUMENT", "could not parse request")
    assert code_of(CHECK, b"\x0a\x05ghost", grpc.Compression.Gzip)[0] == "NOT_FOUND"
