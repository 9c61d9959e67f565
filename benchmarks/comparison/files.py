"""The files of a row: what a client sends, and what it must get. Clients in any environment read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Files:
    """A directory with the arrays and the prepared bytes of one row."""

    directory: Path

    def save(self, inputs: Arrays, outputs: Arrays, request: bytes, reply: bytes) -> None:
        """Write the files. Strings are arrays of fixed width ("S"), which need no pickle."""
        np.savez(self.directory / "inputs.npz", **inputs)
        np.savez(self.directory / "outputs.npz", **outputs)
        (self.directory / "request").write_bytes(request)
        (self.directory / "reply").write_bytes(reply)

    @property
    def inputs(self) -> Arrays:
        """The arrays to send; strings as object arrays of bytes."""
        return _loaded(self.directory / "inputs.npz")

    @property
    def outputs(self) -> Arrays:
        """The arrays that the server answers with."""
        return _loaded(self.directory / "outputs.npz")

    @property
    def request(self) -> bytes:
        """The prepared request of the raw clients."""
        return (self.directory / "request").read_bytes()

    @property
    def reply(self) -> bytes:
        """The reply to the raw clients, byte for byte."""
        return (self.directory / "reply").read_bytes()


def _loaded(path: Path) -> Arrays:
    with np.load(path) as found:
        return {name: _with_objects(found[name]) for name in found.files}


def _with_objects(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(object) if array.dtype.kind == "S" else array


def same(one: Any, other: Any) -> bool:
    """Whether two arrays have the same shape and the same values; strings may be bytes or objects."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    if other.dtype == object:
        return [bytes(value) for value in one.ravel()] == [bytes(value) for value in other.ravel()]
    return one.dtype == other.dtype and np.array_equal(one, other)
