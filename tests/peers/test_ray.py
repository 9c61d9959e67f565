"""Predictor in Ray Data: 2 000 pictures, workers in separate processes, two replicas; same rows as without Ray."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfs_client import InvalidArgumentError, PredictClient, TensorSpec
from tfs_client.images import load_image
from tfs_client.ray import Predictor
from tfs_client.testing import FakeServer

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # Ray's, of its own options
]

PICTURES = 2000


def children(pid):
    """The processes that one has started, and those that they have started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children(child)]
    return found


CLUSTER = """
import sys, ray
print(ray.init(num_cpus=2, include_dashboard=False, logging_level="error").address_info["address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, shut down afterwards.

    A separate process starts it: Ray forks, and gRPC, which other tests have started here, may lose such a child.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")  # before the first import, or nobody here would send the token
        command = [sys.executable, "-c", CLUSTER]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
            address = starter.stdout.readline().strip()
            import ray
            import ray.data

            ray.init(address=address, log_to_driver=False, logging_level="error")
            ray.data.DataContext.get_current().enable_progress_bars = False
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests
            started = children(starter.pid)
            assert len(started) >= 2
            yield ray
            ray.shutdown()
            starter.stdin.close()
    deadline = time.monotonic() + 20
    while left := [pid for pid in started if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, f"processes of Ray are left: {left}"
        time.sleep(0.05)


def looked_at(image):
    """What the model says of pictures: their mean colour, the brightest column, and which corner is red."""
    if (image.max(axis=(1, 2, 3)) == 0).any():
        raise InvalidArgumentError("a black picture")
    return {
        "mean": image.mean(axis=(1, 2)),
        "brightest": image.sum(axis=(1, 3)).argmax(axis=1),
        "corner": np.array([b"red" if picture[0, 0, 0] > 0.5 else b"" for picture in image], object),
    }


@pytest.fixture(scope="module")
def replicas():
    """Two servers with the same model."""
    with FakeServer() as one, FakeServer() as two:
        for server in (one, two):
            server.add_model(
                "look",
                looked_at,
                inputs={"image": TensorSpec("float32", (None, 16, 24, 3))},
                outputs={
                    "mean": TensorSpec("float32", (None, 3)),
                    "brightest": TensorSpec("int64", (None,)),
                    "corner": TensorSpec("string", (None,)),
                },
            )
        yield one, two


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files with different pictures; none is black."""
    folder = tmp_path_factory.mktemp("bulk") / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(5).integers(1, 256, (PICTURES, 16, 24, 3), np.uint8)
    paths = [str(folder / f"{number:04}.png") for number in range(PICTURES)]
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path, compress_level=0)
    return paths


def decoded(batch):
    """A step before the prediction: files to pixels between 0 and 1, as float64."""
    return {
        "path": batch["path"],
        "pixels": np.stack([np.asarray(load_image(str(path))) / 255 for path in batch["path"]]),
    }


def targets(replicas):
    return [server.target for server in replicas]


def rows_served(server):
    return sum(len(call.inputs["image"]) for call in server.calls if call.method == "Predict" and call.code == 0)


def test_two_thousand_pictures_give_the_rows_of_a_local_run(cluster, replicas, pictures):
    @cluster.remote
    class Totals:
        def __init__(self):
            self.workers = {}

        def tell(self, metrics):
            self.workers[metrics.worker] = metrics

        def all(self):
            return list(self.workers.values())

    totals = Totals.remote()
    found = (
        cluster.data.from_items([{"path": path} for path in pictures])
        .map_batches(decoded, batch_size=128)
        .map_batches(
            Predictor,
            fn_constructor_args=(targets(replicas),),
            fn_constructor_kwargs={
                "model": "look",
                "inputs": {"image": "pixels"},
                "keep": ["path"],
                "timeout": 30,
                "report": lambda metrics: cluster.get(totals.tell.remote(metrics)),
            },
            compute=cluster.data.ActorPoolStrategy(size=2),
            num_cpus=0.25,
            batch_size=256,
        )
        .take_all()
    )
    assert sorted(row["path"] for row in found) == pictures
    with PredictClient(targets(replicas), model="look", timeout=30) as client:
        pixels = decoded({"path": np.array(pictures)})["pixels"].astype(np.float32)
        local = client.predict_batched({"image": pixels})
    places = {path: number for number, path in enumerate(pictures)}
    order = [places[row["path"]] for row in found]
    for alias in ("mean", "brightest", "corner"):
        rows = np.array([row[alias] for row in found], local[alias].dtype)
        np.testing.assert_array_equal(rows, local[alias][order])
    assert all(rows_served(server) for server in replicas), "both replicas served"
    workers = cluster.get(totals.all.remote())
    assert sum(metrics.rows for metrics in workers) == PICTURES
    assert sum(metrics.failures for metrics in workers) == 0


def test_a_predictor_works_in_tasks_and_bad_rows_fail_alone(cluster, replicas):
    pixels = np.random.default_rng(6).random((64, 16, 24, 3)).astype(np.float32)
    pixels[[7, 40]] = 0
    predict = Predictor(targets(replicas), model="look", inputs="pixels", keep=[], on_error="column", timeout=30)
    found = cluster.data.from_numpy(pixels).rename_columns({"data": "pixels"}).map_batches(predict, batch_size=20)
    rows = found.take_all()
    assert [number for number, row in enumerate(rows) if row["error"]] == [7, 40]
    assert rows[7]["error"] == "INVALID_ARGUMENT: a black picture"
    assert np.isnan(rows[7]["mean"]).all()
    assert rows[8]["mean"].tolist() == looked_at(pixels[8:9])["mean"][0].tolist()


def test_errors_that_fail_the_job_are_raised_unchanged(cluster, replicas):
    predict = Predictor(targets(replicas), model="nobody", inputs="x", timeout=30)
    with pytest.raises(cluster.exceptions.RayTaskError, match=r"NotFoundError: GetModelMetadata: NOT_FOUND: .*nobody"):
        cluster.data.from_numpy(np.zeros((4, 2))).rename_columns({"data": "x"}).map_batches(predict).take_all()


def run(folder, *arguments):
    """tfs-predict, from a folder, with names relative to it."""
    command = [sys.executable, "-m", "tfs_client.cli.predict", "--image", "pictures", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def rows(path):
    """A file's rows by picture; each has one."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    by_name = {row["image"]: row for row in found}
    assert len(by_name) == len(found)
    return by_name


def test_the_engine_gives_the_rows_and_failures_of_the_local_one(replicas, pictures):
    folder = Path(pictures[0]).parent.parent
    bad = folder / "pictures" / "0300-bad.png"
    bad.write_bytes(b"no picture")
    options = ["--server", ",".join(targets(replicas)), "--model", "look", "--batch-size", 16]
    try:
        local = run(folder, *options, "--output", "local.jsonl")
        # As if a run had been killed: resuming does what is missing.
        lines = (folder / "local.jsonl").read_text().splitlines(keepends=True)
        (folder / "ray.jsonl").write_text("".join(lines[:700]))
        for server in replicas:
            server.clear_calls()
        ray = run(folder, *options, "--output", "ray.jsonl", "--engine", "ray", "--resume")
    finally:
        bad.unlink()
    assert (local.returncode, ray.returncode) == (8, 8), ray.stderr
    assert len(rows(folder / "ray.jsonl")) == PICTURES
    assert rows(folder / "ray.jsonl") == rows(folder / "local.jsonl")
    failures = [rows(folder / f"{engine}.jsonl.failed.jsonl") for engine in ("ray", "local")]
    assert failures[0] == failures[1]
    assert list(failures[0]) == ["pictures/0300-bad.png"]
    assert sum(rows_served(server) for server in replicas) == PICTURES - 700
    assert all(rows_served(server) for server in replicas)


def test_an_engine_without_a_server_says_so(replicas, pictures):
    done = run(Path(pictures[0]).parent.parent, "--server", "127.0.0.1:9", "--model", "look", "--engine", "ray")
    assert done.returncode == 3
    assert "127.0.0.1:9" in done.stderr
