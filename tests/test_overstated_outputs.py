"""A server whose replies of thirty bytes declare terabytes: every way of calling it ends in a summary or an error."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from PIL import Image

from tfs_client import AsyncPredictClient, DecodeError, MicroBatcher, PredictClient
from tfs_client._codec import predict_messages, wire
from tfs_client.cli.predict.command import main
from tfs_client.protos.tensorflow_serving.apis import get_model_metadata_pb2
from tfs_client.ray import Predictor

D = wire.delimited
WIDTH = 1 << 40


def metadata():
    reply = get_model_metadata_pb2.GetModelMetadataResponse()
    reply.model_spec.name = "m"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signature = signatures.signature_def["serving_default"]
    for tensors, alias, sizes in ((signature.inputs, "x", (-1, 2, 2, 3)), (signature.outputs, "y", (-1, WIDTH))):
        tensors[alias].dtype = 1
        for size in sizes:
            tensors[alias].tensor_shape.dim.add(size=size)
    reply.metadata["signature_def"].Pack(signatures)
    return reply.SerializeToString()


def overstated(request):
    rows = len(predict_messages.read_request(request).tensor("x"))
    dims = b"".join(D(2, b"\x08" + wire.varint(size)) for size in (rows, WIDTH))
    return D(1, D(1, b"y") + D(2, b"\x08\x01" + D(2, dims) + D(5, b"\0\0\x80\x3f")))


class Overstating(grpc.GenericRpcHandler):
    def service(self, details):
        about = details.method.endswith("Metadata")
        return grpc.unary_unary_rpc_method_handler(lambda data, _: metadata() if about else overstated(data))


@pytest.fixture(scope="module")
def target():
    server = grpc.server(ThreadPoolExecutor(4), handlers=(Overstating(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait(10)


@pytest.fixture
def client(target):
    with PredictClient(target, model="m") as client:
        yield client


ROWS = np.zeros((4, 2, 2, 3), np.float32)


def test_a_call_returns_a_view_that_prints_but_cannot_be_listed(client):
    for found in (client.predict({"x": ROWS}), client.predict_future({"x": ROWS}).result(20)):
        assert found["y"].shape == (4, WIDTH)
        assert "[1. 1. ... 1. 1.]" in repr(found)
        with pytest.raises(DecodeError, match=r"output 'y' declares float32 \(4, 1099511627776\), 16 TiB, and holds 4"):
            found.to_dict()


def test_parts_are_not_joined(client, target):
    with pytest.raises(DecodeError, match="output 'y' declares"):
        client.predict_batched({"x": ROWS}, batch_size=2)

    async def awaited():
        async with AsyncPredictClient(target, model="m") as other:
            return await other.predict_batched({"x": ROWS}, batch_size=2)

    with pytest.raises(DecodeError, match="output 'y' declares"):
        asyncio.run(awaited())


def test_separated_rows_stay_views(client):
    rows = list(client.predict_many(({"x": row} for row in ROWS), batch_size=3))
    with MicroBatcher(client) as batcher:
        rows.append(batcher.predict({"x": ROWS[0]}))
    assert [row["y"].shape for row in rows] == [(WIDTH,)] * 5
    assert len(repr(rows)) < 2000


def test_tables_get_an_error_for_each_row(target):
    batch = {"x": ROWS}
    with Predictor(target, model="m", inputs="x") as predictor, pytest.raises(DecodeError, match="output 'y' declares"):
        predictor(batch)
    with (
        Predictor(target, model="m", inputs="x", outputs={"y": "out"}, on_error="column") as predictor,
        pytest.raises(DecodeError, match="4 rows"),  # by its signature, even a row of NaN has no room
    ):
        predictor(batch)


def test_the_command_prints_a_summary_and_refuses_to_list(target, capsys):
    asked = ["--server", target, "--model", "m", "--input", "x=" + json.dumps(ROWS[:1].tolist())]
    assert main(asked) == 0
    assert f"y: float32 (1, {WIDTH}) [[1. 1. ... 1. 1.]]" in capsys.readouterr().out
    assert main([*asked, "--json"]) != 0
    assert "output 'y' declares float32" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "npz"])
def test_rows_in_bulk_fail_alone(target, tmp_path, capsys, suffix):
    names = [str(tmp_path / f"{number}.png") for number in range(2)]
    for name in names:
        Image.new("RGB", (2, 2)).save(name)
    output = str(tmp_path / f"out.{suffix}")
    code = main(["--server", target, "--model", "m", *(f"--image={name}" for name in names), "--output", output])
    said = capsys.readouterr()
    assert code != 0
    assert "2 failed" in said.err
    assert "output 'y' declares float32" in (tmp_path / f"out.{suffix}.failed.jsonl").read_text()
