"""Models for tests, and requests whose answers are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tfs_client.testing import FakeServer

# The contract with those who train the model: ``tfs-admin signatures --model digits --json`` wrote it.
SIGNATURES = Path(__file__).parent / "digits.signatures.json"

Outputs = dict[str, np.ndarray]


def brightest_row(signature: str, inputs: Mapping[str, np.ndarray]) -> Outputs:
    """A model that is easy to foresee: the digit is the number of the brightest row."""
    digit = inputs["image"].sum(axis=(2, 3)).argmax(axis=1)
    return {"digit": digit, "probabilities": np.eye(10, dtype=np.float32)[digit]}


def always_seven(signature: str, inputs: Mapping[str, np.ndarray]) -> Outputs:
    """A model that answers otherwise, as the next version of a model does."""
    rows = len(inputs["image"])
    return {"digit": np.full(rows, 7), "probabilities": np.full((rows, 10), 0.1, np.float32)}


def picture(digit: int) -> dict[str, list[list[float]]]:
    """A request that ``brightest_row`` answers with ``digit``."""
    return {"pixels": [[float(row == digit)] * 8 for row in range(8)]}


def add_digits(server: FakeServer, answer: Callable[..., Outputs] = brightest_row, version: int = 1) -> None:
    """Serve a fake version of the model. It has the signatures of the real one."""
    server.add_signatures(SIGNATURES, version=version, answer=answer)
