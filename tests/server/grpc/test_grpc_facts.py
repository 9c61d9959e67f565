"""How a busy model server refuses calls, and how cancelled calls end, as our client sees it."""

from __future__ import annotations

import socket
import threading

import grpc
import numpy as np
import pytest
from served_models import until
from tcp import DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame, header, request_head

from tfs_client import PredictClient, TensorSpec
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._transports.error_meanings import Meaning, meaning_of
from tfs_client.errors import CallError

VECTOR = TensorSpec("float32", (None,))
QUEUE = (
    "The batch scheduling queue to which this task was submitted is full; currently 4 batches enqueued and "
    "max_enqueued_batches is 4"
)


@pytest.mark.parametrize(
    ("code", "text", "meaning"),
    [
        ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted", Meaning.BUSY),
        ("RESOURCE_EXHAUSTED", "", Meaning.BUSY),
        ("UNAVAILABLE", QUEUE, Meaning.BUSY),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (5000001 vs. 4194304)", Meaning.TOO_LARGE),
        ("RESOURCE_EXHAUSTED", "Sent message larger than max (5000001 vs. 4194304)", Meaning.TOO_LARGE),
        ("INVALID_ARGUMENT", "Task size 8 is larger than maximum input batch size 3", Meaning.TOO_LARGE),
    ],
)
def test_the_errors_of_a_server_that_does_not_accept_a_call(raw_server, code, text, meaning):
    target = raw_server(Predict=lambda request, context: context.abort(grpc.StatusCode[code], text))
    with PredictClient(target, model="m", timeout=20, retry=None) as client:
        with pytest.raises(CallError) as caught:
            client.predict({"x": [1.0]})
        assert (caught.value.code.name, caught.value.details) == (code, text)
        assert meaning_of(caught.value) is meaning


def test_a_cancelled_call_runs_to_its_end_and_its_answer_is_dropped(fake_server, gate):
    ended = threading.Event()

    def model(x):
        y = gate(x)
        ended.set()
        return y

    fake_server.add_model("m", model, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    with PredictClient(fake_server.target, model="m", timeout=20) as client:
        call = client.predict_future({"x": [1.0]})
        assert gate.entered.wait(10)
        assert call.cancel()
        until(lambda: fake_server.calls)  # the server hears of it
        gate.open.set()
        assert ended.wait(10)
        assert client.predict({"x": [2.0]}).array.tolist() == [2.0]
        assert [each.code.name for each in fake_server.calls] == ["CANCELLED", "OK"]


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_requests_may_be_compressed(client, compression):
    assert client.predict({"x": [1.0] * 1000}, compression=compression).array.tolist() == [2.0] * 1000


def test_replies_are_not_compressed_even_if_clients_accept_it(double):
    request = predict_messages.write_request(ModelSpec("double"), {"x": np.ones(1000, np.float32)})
    message = b"\0" + len(request).to_bytes(4, "big") + request
    head = request_head("/tensorflow.serving.PredictionService/Predict") + header("grpc-accept-encoding", "gzip")
    with socket.create_connection(("127.0.0.1", double.server.port), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        connection.sendall(frame(HEADERS, END_HEADERS, 1, head) + frame(DATA, END_STREAM, 1, message))
        reply = first_data(connection)
    assert reply[0] == 0  # of the message's five bytes of prefix the one that says whether it is compressed
    assert int.from_bytes(reply[1:5], "big") > 4000


def first_data(connection):
    """The payload of the first DATA frame."""
    received = b""
    while True:
        size = int.from_bytes(received[:3], "big")
        if len(received) < 9 or len(received) < 9 + size:
            part = connection.recv(1 << 16)
            assert part, "the server closed the connection"
            received += part
        elif received[3] == DATA:
            return received[9 : 9 + size]
        else:
            received = received[9 + size :]
