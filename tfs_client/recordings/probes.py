"""Probes: a few values of each of many calls with one layout, which show fast what cannot be near a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from zlib import crc32

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.recordings.differences import comparable, is_inexact, wide

MOST_VALUES = 8  # of one array


class Probes:
    """The probes of recorded inputs that have the same aliases, dtypes and shapes.

    Args:
        recorded: the inputs of each call.
        rtol, atol: the tolerance for floats.
    """

    def __init__(self, recorded: Iterable[Mapping[str, Array]], rtol: float, atol: float) -> None:
        found = [_probes(inputs) for inputs in recorded]
        self._values = np.array([values for values, _ in found], np.float64)
        kinds = np.array(found[0][1], np.float64)  # 1 for floats, 0 for values that must be equal
        with np.errstate(invalid="ignore", over="ignore"):
            self._tolerance = kinds * (atol + rtol * np.abs(self._values))

    def apart(self, inputs: Mapping[str, Array]) -> Array:
        """Return for each recorded call how many of its values are not near those of a call; 0 if it may be near."""
        got = np.array(_probes(inputs)[0], np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            near = np.abs(got - self._values) <= self._tolerance
        near |= (got == self._values) | (np.isnan(got) & np.isnan(self._values))
        return np.asarray(np.count_nonzero(~near, axis=1))


def _probes(inputs: Mapping[str, Array]) -> tuple[list[float], list[bool]]:
    values: list[float] = []
    kinds: list[bool] = []
    for _, array in sorted(inputs.items()):
        if not array.size or array.dtype.kind == "c":
            continue
        places = np.linspace(0, array.size - 1, min(array.size, MOST_VALUES)).astype(np.int64)
        few = comparable(array[np.unravel_index(places, array.shape)] if array.ndim else array.reshape(1))
        if few.dtype == object:
            values += [float(crc32(value)) for value in few]
        else:
            values += wide(few).tolist()
        kinds += [is_inexact(few)] * len(few)
    return values, kinds
