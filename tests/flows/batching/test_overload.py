"""Overload: a server with few slots that refuses the rest, in every form; nothing is lost, and nothing is split."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from batch_models import many
from calling import calling
from PIL import Image

from tfs_client import AsyncMicroBatcher, AsyncPredictClient, DeadlineExceededError, MicroBatcher, PredictClient
from tfs_client.cli.predict import command

SERVER = Path(__file__).parents[3] / "benchmarks" / "slots_server.py"
STYLES = ("grpc", "grpc-aio", "rest", "rest-aio")
FORMS = ("threads", "empty", "queue")
SLOTS = 3


class Server:
    """The server of the benchmarks, in a separate process."""

    def __init__(self, port: str, rest_port: str) -> None:
        self.target, self.rest_url = f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}"
        self.refused = 0
        self._channel = grpc.insecure_channel(self.target)

    def configure(self, **wanted):
        """Set it up; returns the counts since the last time."""
        call = self._channel.unary_unary("/bench/Configure")
        settings = json.dumps({"slots": SLOTS, "seconds": 0.005, **wanted})
        counts = json.loads(call(settings.encode(), timeout=20))
        self.refused += counts["refused"]
        return counts

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        server = Server(*process.stdout.readline().split())
        yield server
        assert server.refused, "the server refused nothing"  # a single test may be too slow for that
        server.close()
        process.stdin.close()
        assert process.wait(20) == 0


ROWS = np.arange(400, dtype=np.float32).reshape(-1, 1)
BATCH = 10
EXAMPLES = [{"x": row} for row in ROWS]


REQUESTS = len(ROWS) // BATCH


def all_were_answered_once(server):
    counts = server.configure()
    assert counts["answered"] == REQUESTS
    assert counts["refused"] < 2 * REQUESTS  # on a busy machine; in a quiet moment it is a twentieth


@pytest.mark.parametrize("wait", [None, 0.05])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("style", STYLES)
def test_predict_many_sends_refused_examples_later(server, style, form, wait):
    server.configure(form=form, wait=wait)
    with calling(style, server, model="m", timeout=60) as client:
        found = [result["y"] for result in many(client, EXAMPLES, batch_size=BATCH, in_flight=8)]
    np.testing.assert_array_equal(found, 2 * ROWS)
    all_were_answered_once(server)


@pytest.mark.parametrize("in_flight", [8, "auto"])
@pytest.mark.parametrize("style", STYLES)
def test_predict_batched_sends_refused_rows_later(server, style, in_flight):
    server.configure()
    with calling(style, server, model="m", timeout=60) as client:
        found = client.predict_batched({"x": ROWS}, batch_size=BATCH, in_flight=in_flight)
    np.testing.assert_array_equal(found["y"], 2 * ROWS)
    all_were_answered_once(server)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rest", [False, True])
def test_micro_batchers_send_refused_examples_later(server, rest, form):
    server.configure(form=form)
    target = server.rest_url if rest else server.target
    with PredictClient(target, model="m", timeout=60) as client, MicroBatcher(client, max_batch_size=BATCH) as batcher:
        futures = [batcher.submit(example) for example in EXAMPLES]
        found = [future.result(60)["y"] for future in futures]
    np.testing.assert_array_equal(found, 2 * ROWS)
    server.configure()


def test_an_asyncio_micro_batcher_sends_refused_examples_later(server):
    async def run():
        async with (
            AsyncPredictClient(server.target, model="m", timeout=60) as client,
            AsyncMicroBatcher(client, max_batch_size=BATCH) as batcher,
        ):
            return await asyncio.gather(*(batcher.predict(example) for example in EXAMPLES))

    server.configure()
    np.testing.assert_array_equal([one["y"] for one in asyncio.run(run())], 2 * ROWS)
    server.configure()


def test_many_clients_share_few_slots(server):
    server.configure(slots=2)

    def run(start):
        with PredictClient(server.target, model="m", timeout=60) as client:
            part = EXAMPLES[start : start + 50]
            return [result["y"] for result in client.predict_many(part, batch_size=BATCH)]

    with ThreadPoolExecutor(8) as pool:
        found = np.concatenate(list(pool.map(run, range(0, len(EXAMPLES), 50))))
    np.testing.assert_array_equal(found, 2 * ROWS)
    assert server.configure()["answered"] == REQUESTS


def test_a_caller_of_a_busy_server_gets_the_cause_by_its_deadline(server):
    server.configure(slots=0)
    with (
        PredictClient(server.target, model="m", timeout=60) as client,
        MicroBatcher(client) as batcher,
        pytest.raises(DeadlineExceededError, match="RESOURCE_EXHAUSTED: Server Threadpool Exhausted"),
    ):
        batcher.predict(EXAMPLES[0], timeout=0.3)
    server.configure()


@pytest.mark.parametrize(("model", "requests"), [("grey", 15), ("single", 60)])
def test_pictures_in_bulk_are_sent_later(server, tmp_path, model, requests):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(60):
        Image.new("RGB", (2, 2), (number,) * 3).save(folder / f"{number:02}.png")
    server.configure(seconds=0.3 / requests, slots=1)
    output = tmp_path / "r.jsonl"
    arguments = ["--server", server.target, "--model", model, "--image", str(folder), "--output", str(output)]
    assert command.main([*arguments, "--batch-size", "4", "--in-flight", "8", "--quiet"]) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["outputs"]["grey"]["values"] for row in rows] == list(range(60))
    assert server.configure()["answered"] == requests
