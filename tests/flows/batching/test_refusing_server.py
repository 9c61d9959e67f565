"""A server of two threads that refuses requests while both are busy: batches, streams and bulk runs lose nothing."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from batch_models import many
from calling import calling
from PIL import Image

from tfs_client import MicroBatcher, PredictClient, TensorSpec
from tfs_client.cli.predict import command
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

ROWS = np.arange(200, dtype=np.float32).reshape(-1, 1)
EXAMPLES = [{"x": row} for row in ROWS]
BATCH = 5


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    def double(x):
        time.sleep(0.002)
        return 2 * x

    def grey(image):
        time.sleep(0.002)
        return image.reshape(len(image), -1).max(axis=1)

    rows, pictures = TensorSpec("float32", (None, 1)), TensorSpec("uint8", (None, None, None, 3))
    with FakeServer(ServerConfig(threads=2, thread_pool_exhausted="refuse")) as server:
        server.add_model("m", double, inputs={"x": rows}, outputs={"y": rows})
        server.add_model("grey", grey, inputs={"image": pictures}, outputs={"grey": TensorSpec("uint8", (None,))})
        yield server
        refused = Counter(call.code.name for call in server.calls)["RESOURCE_EXHAUSTED"]
        assert refused, "nothing was refused, so these tests show nothing"


@pytest.mark.parametrize("style", ["grpc", "grpc-aio"])
def test_predict_many_answers_every_example_in_order(server, style):
    with calling(style, server, model="m", timeout=60) as client:
        found = [result["y"] for result in many(client, EXAMPLES, batch_size=BATCH, in_flight=8)]
    np.testing.assert_array_equal(found, 2 * ROWS)


@pytest.mark.parametrize("style", ["grpc", "grpc-aio"])
def test_predict_batched_answers_every_row_in_order(server, style):
    with calling(style, server, model="m", timeout=60) as client:
        found = client.predict_batched({"x": ROWS}, batch_size=BATCH, in_flight=8)
    np.testing.assert_array_equal(found["y"], 2 * ROWS)


def test_micro_batchers_that_share_the_server_answer_every_caller(server):
    with PredictClient(server.target, model="m", timeout=60) as client:
        batchers = [MicroBatcher(client, max_batch_size=BATCH) for _ in range(4)]
        futures = [batchers[number % 4].submit(example) for number, example in enumerate(EXAMPLES)]
        found = [future.result(60)["y"] for future in futures]
        for batcher in batchers:
            batcher.close()
    np.testing.assert_array_equal(found, 2 * ROWS)


def test_a_bulk_run_has_a_row_for_every_picture(server, tmp_path):
    folder, output = tmp_path / "in", tmp_path / "rows.jsonl"
    folder.mkdir()
    for number in range(40):
        Image.new("RGB", (2, 2), (number,) * 3).save(folder / f"{number:02}.png")
    arguments = ["--server", server.target, "--model", "grey", "--image", str(folder), "--output", str(output)]
    assert command.main([*arguments, "--batch-size", "2", "--in-flight", "8", "--quiet"]) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["outputs"]["grey"]["values"] for row in rows] == list(range(40))
