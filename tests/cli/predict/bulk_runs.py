"""Shared by the bulk tests of tfs-predict: pictures, a model for them, and the expected result for each."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfs_client import TensorSpec
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.outputs import Output
from tfs_client.cli.predict.bulk.row_answers import RowAnswers
from tfs_client.images import AnswerReader
from tfs_client.testing import FakeServer

SCRIPT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
SCRIPT += "from tfs_client.cli.predict.command import script; script()"

PATIENCE = 20  # seconds that anything may take

Model = Callable[[np.ndarray], Any]


def draw(folder: Path, count: int) -> list[str]:
    """Pictures 00.png, 01.png, … in a folder, of one grey each: their number. Gives their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [folder / f"{number:02}.png" for number in range(count)]
    for number, path in enumerate(names):
        Image.new("RGB", (6, 5), (number,) * 3).save(path)
    return [str(path) for path in names]


def add_look(server: FakeServer, look: Model | None = None, *, model: str = "look") -> FakeServer:
    """A model that gives the grey of each picture, and two scores. ``look`` gets the pictures first."""

    def fn(image: np.ndarray) -> dict[str, np.ndarray]:
        if look is not None:
            look(image)
        grey = image.reshape(len(image), -1).max(axis=1)
        return {"grey": grey, "scores": np.stack([grey / 255, 1 - grey / 255], axis=1).astype(np.float32)}

    return server.add_model(
        model,
        fn,
        inputs={"image": TensorSpec("uint8", (None, None, None, 3))},
        outputs={"grey": TensorSpec("uint8", (None,)), "scores": TensorSpec("float32", (None, 2))},
    )


def reader() -> RowAnswers:
    """What reads the answers of rows whose outputs no signature has shown before."""
    return RowAnswers(lambda task: AnswerReader({}, task=task, required=False), None, task=None, top=5)


def add(output: Output, *rows: Row) -> None:
    """Add rows with their answers."""
    answers = reader()
    for row in rows:
        output.add(row, answers.of(row) if output.has_answers else None)


def greys(path: Path) -> dict[str, int]:
    """What an output says, by picture. Fails when a picture has two rows."""
    pairs = list(_pairs(path))
    assert len(pairs) == len(dict(pairs)), "a picture has several rows"
    return dict(pairs)


def _pairs(path: Path) -> Iterable[tuple[str, int]]:
    if path.suffix == ".jsonl":
        for line in path.read_text().splitlines():
            row = json.loads(line)
            yield row["image"], row["outputs"]["grey"]["values"]
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            for cells in csv.DictReader(file):
                yield cells["image"], int(cells["grey"])
    elif path.suffix == ".npz":
        with np.load(path) as archive:
            yield from zip(archive["names"].tolist(), archive["grey"].tolist(), strict=True)
    else:
        table = import_module("pyarrow.parquet").read_table(path)
        yield from zip(table["image"].to_pylist(), table["grey"].to_pylist(), strict=True)


def expected(names: Iterable[str]) -> dict[str, int]:
    """What must be said of pictures that ``draw`` has drawn."""
    return {name: int(Path(name).stem) for name in names}


def start(*arguments: object, first: str = "", **options: Any) -> subprocess.Popen[str]:
    """The command in another process, which runs other code first."""
    return subprocess.Popen(
        [sys.executable, "-c", first + SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def with_files_of(limit: int) -> str:
    """What a process does first so that its files have so many bytes at most, as on a full disk.

    Not by preexec_fn: between fork and exec, grpc would look after the threads of this process, and abort.
    """
    ignored = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    return ignored + f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "


def until(what: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
