"""The calls of a recording, sent again by a load generator."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfs_client import AsyncPredictClient, PredictClient, TensorSpec
from tfs_client._codec import tfrecord, wire
from tfs_client.cli.bench.query_sources.recorded_queries import RecordedQueries, read_recording
from tfs_client.cli.bench.query_sources.references import Tolerance
from tfs_client.errors import ConfigError, DecodeError, InvalidArgumentError
from tfs_client.recordings import Episode, RecordingFile
from tfs_client.recordings.records import write
from tfs_client.testing import FakeServer

TABLE = TensorSpec("float32", (None, None))
STRINGS = TensorSpec("string", (None,))
EXACT = Tolerance()


def scaled(by: float) -> Callable[..., Any]:
    def scale(x: Any) -> Any:
        if (x < 0).any():
            raise ValueError("below zero")
        return by * x

    return scale


def values(inputs: Any) -> Any:
    return {"outputs": np.full((len(inputs), 1), 0.5, np.float32)}


def marks(inputs: Any) -> Any:
    return {"classes": [[b"a", b"b"]] * len(inputs), "scores": [[0.25, 0.75]] * len(inputs)}


@pytest.fixture
def served(fake_server: FakeServer) -> FakeServer:
    for name, by in (("m", 2.0), ("other", 2.001)):
        fake_server.add_model(name, scaled(by), inputs={"x": TABLE}, outputs={"y": TABLE})
    scores = {"classes": TensorSpec("string", (None, None)), "scores": TABLE}
    fake_server.add_model(
        "marks", marks, inputs={"inputs": STRINGS}, outputs=scores, method_name="tensorflow/serving/classify"
    )
    fake_server.add_model(
        "values",
        values,
        inputs={"inputs": STRINGS},
        outputs={"outputs": TABLE},
        method_name="tensorflow/serving/regress",
    )
    return fake_server


@pytest.fixture
def calls(served: FakeServer, tmp_path: Path) -> Path:
    """Predictions of two and of one row, a refusal, a classification, a regression and several tasks."""
    path = tmp_path / "calls.tfrecord"
    with PredictClient(served.target, model="m", record=path) as client:
        client.predict({"x": [[1.0, 2.0], [3.0, 4.0]]})
        client.predict({"x": [[5.0, 6.0]]})
        with pytest.raises(InvalidArgumentError):
            client.predict({"x": [[-1.0, 0.0]]})
        client.classify([{"a": 1.0}, {"a": 2.0}, {"a": 3.0}], model="marks")
        client.regress([{"a": 1.0}], model="values")
        client.multi_inference([{"a": 1.0}], tasks={"serving_default": "regress"}, model="values")
    return path


def sent(served: FakeServer, queries: RecordedQueries) -> list[str]:
    """Send every query, and return how the answers differ."""

    async def send() -> list[str]:
        async with AsyncPredictClient(served.target, timeout=10) as client:
            return [query.difference(await query.send(client)) for query in queries.make()]

    return asyncio.run(send())


def test_every_method_is_sent_and_compared_with_its_recorded_answer(served: FakeServer, calls: Path) -> None:
    queries, left = read_recording(str(calls), None, None)
    assert [query.rows for query in queries.make()] == [2, 1, 3, 1, 1]
    assert left["failed calls"] == 1
    assert sent(served, queries.compared(EXACT)) == [""] * 5
    assert [episode.method for episode in queries.episodes] == [
        "Predict",
        "Predict",
        "Classify",
        "Regress",
        "MultiInference",
    ]


def test_an_answer_beyond_the_tolerance_is_described(served: FakeServer, calls: Path) -> None:
    queries, _ = read_recording(str(calls), "m=other", None)
    first, second = sent(served, queries.compared(EXACT))
    assert first.startswith("'y': 4 of 4 values differ, by at most 0.004")
    assert "expected 2.0, got 2.001" in first
    assert second
    assert sent(served, queries.compared(Tolerance(rtol=1e-2))) == ["", ""]
    assert sent(served, queries) == ["", ""]


def test_the_pace_is_that_of_the_starts(calls: Path, tmp_path: Path) -> None:
    first, second, *_ = (each for each in RecordingFile.read(calls).episodes if each.method == "Predict")
    path = tmp_path / "paced.tfrecord"
    # The call that began first ended last.
    RecordingFile.write(
        path, [replace(second, recorded=1001.5, seconds=0.5), replace(first, recorded=1003.0, seconds=2.25)]
    )
    queries, _ = read_recording(str(path), None, None)
    assert queries.timed
    assert [(query.rows, query.at) for query in queries.make()] == [(2, 0.0), (1, 0.25)]
    assert queries.span == 0.25


def test_a_warmup_file_has_no_times_and_no_answers(calls: Path, tmp_path: Path) -> None:
    path = tmp_path / "tf_serving_warmup_requests"
    warmup = [replace(each, reply=None) for each in RecordingFile.read(calls).episodes if each.method == "Predict"][:2]
    path.write_bytes(b"".join(tfrecord.framed(write(each)) for each in warmup))
    queries, _ = read_recording(str(path), None, None)
    assert not queries.timed
    assert [query.at for query in queries.make()] == [None, None]
    with pytest.raises(ConfigError, match="--check recorded: 2 calls of the recording have no reply"):
        queries.compared(EXACT)


def test_session_runs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    path.write_bytes(tfrecord.framed(wire.delimited(5, b"")))
    with pytest.raises(DecodeError, match="got a session_run_log"):
        read_recording(str(path), None, None)


def test_a_recording_without_calls_to_send_is_refused(calls: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected calls to send, got .*calls of other models"):
        read_recording(str(calls), "unknown", None)
    with pytest.raises(ConfigError, match="expected --model NAME or NAME=OTHER, got 'm='"):
        read_recording(str(calls), "m=", None)


def test_one_call_of_each_kind_is_tried(calls: Path) -> None:
    queries, _ = read_recording(str(calls), None, None)
    assert queries.kinds() == [0, 2, 3, 4]


def test_every_process_gets_the_same_calls(calls: Path) -> None:
    queries, _ = read_recording(str(calls), None, None)
    copies: list[Episode] = list(pickle.loads(pickle.dumps(queries)).episodes)
    assert copies == list(queries.episodes)
