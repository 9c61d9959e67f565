"""Hostile requests: each is answered with its code, and nothing fails inside the server."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterator

import grpc
import pytest

from tfs_client import TensorSpec
from tfs_client.testing import FakeServer

FLOATS = TensorSpec("float32", (None,))


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        fake.add_model("m", lambda x: {"y": x}, inputs={"x": FLOATS}, outputs={"y": FLOATS})
        yield fake


def sent(server: FakeServer, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.rest_url.removeprefix("http://"), timeout=20)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


BODIES = {
    "nothing": b"",
    "5000 lists": b'{"instances":' + b"[" * 5_000,
    "5000 whole lists": b'{"instances":' + b"[" * 5_000 + b"1" + b"]" * 5_000 + b"}",
    "deep objects": b'{"instances":' + b'{"x":' * 2_000 + b"1" + b"}" * 2_000 + b"}",
    "5000 digits": b'{"instances":[' + b"9" * 5000 + b"]}",
    "1e999": b'{"instances":[1e999]}',
    "half a character": b'{"instances":["\\ud800"]}',
    "a name of another signature": b'{"signature_name":"\xff\xfe","instances":[1]}',
    "names that are not UTF-8": b'{"instances":[{"\xff":1}]}',
    "an integer as rows": b'{"instances":1}',
    "both forms": b'{"instances":[1],"inputs":[1]}',
    "ragged": b'{"inputs":[1,[2]]}',
    "garbage": bytes(range(256)),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_hostile_bodies_are_refused(server: FakeServer, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for verb in ("predict", "classify", "regress"):
            status, reply = sent(server, f"/v1/models/m:{verb}", body)
            assert status == 400
            assert len(reply) < 20_000
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 19, "9223372036854775808", "0" * 5000 + "9" * 19])
def test_version_numbers_beyond_64_bits_are_refused_without_a_body(server: FakeServer, digits: str) -> None:
    assert sent(server, f"/v1/models/m/versions/{digits}") == (400, b"")
    assert sent(server, f"/v1/models/m/versions/{digits}:predict", b"{}") == (400, b"")


def test_zeros_before_a_version_do_not_count(server: FakeServer) -> None:
    assert sent(server, f"/v1/models/m/versions/{'0' * 5000}1")[0] == 200


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"])
@pytest.mark.parametrize("request_", [b"\xff\xff\xff\xff", b"\x0a\x7f", b"\x0a\x04\x0a\x02\xff\xfe", b"\x0b" * 1000])
def test_bytes_that_are_not_a_message_are_refused(
    server: FakeServer, method: str, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with grpc.insecure_channel(server.target) as channel, caplog.at_level(logging.WARNING):
        call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(request_, timeout=20)
    assert caught.value.details().startswith("the request is not a message of")
    assert not [record for record in caplog.records if record.exc_info]


def test_infinities_of_requests_reach_the_model(server: FakeServer) -> None:
    """As in the model server: numbers beyond float32 become infinite, which is not an error."""
    status, reply = sent(server, "/v1/models/m:predict", b'{"instances":[1e300, -1e300, NaN]}')
    assert status == 200
    assert reply.split() == b'{ "predictions": [Infinity, -Infinity, NaN ] }'.split()
