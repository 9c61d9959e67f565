"""What the options of tfs-bench choose to send, and the trial before the load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfs_client import AsyncPredictClient, PredictClient, TensorSpec
from tfs_client.cli.bench.arguments import parse
from tfs_client.cli.bench.query_sources.chosen import Chosen, chosen
from tfs_client.cli.bench.query_sources.predictions import PredictQueries
from tfs_client.cli.bench.query_sources.references import EXACT, Tolerance
from tfs_client.cli.bench.trial import Trial, trial
from tfs_client.errors import ConfigError, ImageError, InvalidArgumentError, SignatureError
from tfs_client.testing import FakeServer

TABLE = TensorSpec("float32", (None, None))


@pytest.fixture
def served(fake_server: FakeServer) -> FakeServer:
    fake_server.add_model(
        "pixels",
        lambda image: image.mean(axis=(1, 2, 3), dtype=np.float32),
        inputs={"image": TensorSpec("uint8", (None, 4, 4, 3))},
        outputs={"mean": TensorSpec("float32", (None,))},
    )
    fake_server.add_model("m", lambda x: 2 * x, inputs={"x": TABLE}, outputs={"y": TABLE})
    return fake_server


@pytest.fixture
def choose(served: FakeServer) -> Callable[..., Chosen]:
    def choose(model: str, *arguments: str) -> Chosen:
        with PredictClient(served.target, model=model) as client:
            return chosen(parse(["--model", model, *arguments]), client.signatures)

    return choose


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    for number in range(3):
        Image.new("RGB", (8, 8), (number, number, number)).save(tmp_path / f"{number}.png")
    return str(tmp_path)


def sent(found: Chosen) -> Sequence[Any]:
    assert isinstance(found.queries, PredictQueries)
    return found.queries.requests


def test_every_picture_is_sent_in_requests_of_the_asked_size(choose: Callable[..., Chosen], pictures: str) -> None:
    found = choose("pixels", "--image", pictures, "--rows", "2")
    assert [request["image"].shape for request in sent(found)] == [(2, 4, 4, 3), (2, 4, 4, 3)]
    assert [request["image"][:, 0, 0, 0].tolist() for request in sent(found)] == [[0, 1], [2, 0]]
    assert found.line.startswith("2 different requests, ")
    assert found.line.endswith(": image uint8 (2, 4, 4, 3)")
    assert "3 pictures repeated to fill 4 rows, " in found.line
    assert not found.random


def test_fewer_pictures_are_sent_if_asked(choose: Callable[..., Chosen], pictures: str) -> None:
    assert len(sent(choose("pixels", "--image", pictures, "--distinct", "1"))) == 1


def test_a_picture_option_that_the_input_cannot_have_is_refused(choose: Callable[..., Chosen], pictures: str) -> None:
    with pytest.raises(ImageError, match=r"5x5|size"):
        choose("pixels", "--image", pictures, "--size", "5x5")


def test_files_hold_whole_requests(choose: Callable[..., Chosen], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    np.savez(tmp_path / "b.npz", x=np.zeros((1, 3), np.float32))
    (tmp_path / "c.json").write_text(json.dumps([{"x": [[1.5]]}, {"x": [[2.5]]}]))
    found = choose("m", "--inputs", *(str(tmp_path / name) for name in ("a.npy", "b.npz", "c.json")))
    assert [(request["x"].shape, request["x"].dtype.name) for request in sent(found)] == [
        ((2, 3), "float32"),
        ((1, 3), "float32"),
        ((1, 1), "float32"),
        ((1, 1), "float32"),
    ]
    assert [query.rows for query in found.queries.make()] == [2, 1, 1, 1]


def test_inputs_of_the_command_line_are_sent(choose: Callable[..., Chosen]) -> None:
    found = choose("m", "--input", "x=[[1, 2]]")
    assert [request["x"].tolist() for request in sent(found)] == [[[1.0, 2.0]]]
    assert found.line == "1 request, given values: x float32 (1, 2)"
    with pytest.raises(SignatureError, match="unknown input 'z'"):
        choose("m", "--input", "z=1")


def test_random_values_are_announced(choose: Callable[..., Chosen]) -> None:
    found = choose("m", "--shape", "x=?,2", "--rows", "4")
    assert found.line == "8 different requests, random values: x float32 (4, 2)"
    assert found.random


def tried(served: FakeServer, found: Chosen, model: str, tolerance: Tolerance | None = None) -> Trial:
    make = partial(AsyncPredictClient, served.target, model=model, timeout=10)
    return asyncio.run(trial(make, found.queries.make(), tolerance))


def test_the_trial_finds_the_version_that_answers(served: FakeServer, choose: Callable[..., Chosen]) -> None:
    found = tried(served, choose("m", "--input", "x=[[1]]"), "m")
    assert str(found.model).startswith("m")
    assert found.model is not None
    assert found.model.version == 1
    assert found.outputs == []


def test_the_trial_raises_what_the_model_refuses(served: FakeServer, choose: Callable[..., Chosen]) -> None:
    queries = choose("m", "--input", "x=[[1]]")
    with pytest.raises(InvalidArgumentError):
        tried(served, queries, "pixels")


def test_first_answers_become_references(served: FakeServer, choose: Callable[..., Chosen]) -> None:
    found = choose("m", "--shape", "x=?,2", "--distinct", "2")
    answers = tried(served, found, "m", EXACT)
    assert isinstance(found.queries, PredictQueries)
    first, second = found.queries.expecting(answers.outputs, EXACT).make()
    for query, outputs in zip((first, second), answers.outputs, strict=True):
        assert query.reference is not None
        assert query.reference.difference(outputs) == ""
    assert first.reference is not None
    assert "values differ" in first.reference.difference(answers.outputs[1])


def test_a_model_that_answers_differently_each_time_is_no_reference(
    served: FakeServer, choose: Callable[..., Chosen]
) -> None:
    count = iter(range(100))
    served.add_model("drifts", lambda x: x + next(count), inputs={"x": TABLE}, outputs={"y": TABLE})
    queries = choose("drifts", "--input", "x=[[1]]")
    with pytest.raises(
        ConfigError, match="answers to the same request differ, so they cannot serve as a reference: 'y'"
    ):
        tried(served, queries, "drifts", EXACT)
    assert tried(served, queries, "drifts", Tolerance(atol=1.0)).outputs
