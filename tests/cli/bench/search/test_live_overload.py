"""A real server that is offered more than it can serve."""

import threading
import time
from dataclasses import dataclass

import numpy as np

from tfs_client import TensorSpec
from tfs_client.aio import AsyncPredictClient
from tfs_client.cli.bench.engine import Engine
from tfs_client.cli.bench.search.certainty import Judge
from tfs_client.cli.bench.stages import OpenLoop, Stage
from tfs_client.testing import FakeServer

SERVICE = 0.01
BOUND = 0.05


@dataclass
class One:
    rows: int = 1
    at: float | None = None

    async def send(self, client):
        return await client.predict({"x": np.ones(1, np.float32)})

    def difference(self, answer):
        return ""


class Same:
    def make(self):
        return [One()]


def test_an_overloaded_server_ends_its_stage_early_and_fails():
    one_at_a_time = threading.Lock()

    def slow(x):
        with one_at_a_time:
            time.sleep(SERVICE)  # the work of the model
        return x

    with FakeServer() as server:
        server.add_model(
            "m", slow, inputs={"x": TensorSpec("float32", (None,))}, outputs={"y": TensorSpec("float32", (None,))}
        )
        engine = Engine(Same(), lambda: AsyncPredictClient(server.target, model="m", timeout=0.3))
        try:
            judge = Judge(BOUND, 0.99, seconds=10.0)
            measured = engine.run(Stage(OpenLoop(2 / SERVICE), 10.0, bound=BOUND), enough=judge.enough)
        finally:
            engine.close()
        verdict = judge.verdict(measured)
    assert (verdict.held, verdict.certain) == (False, True)
    assert measured.seconds < 10
    assert verdict.share > 0.5
    assert measured.sent == measured.answered + measured.failed
