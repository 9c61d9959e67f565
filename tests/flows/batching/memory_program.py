"""Predicts examples against a server, and prints the peak memory after a tenth of them and after all."""

from __future__ import annotations

import resource
import sys

import numpy as np

from tfs_client import PredictClient


def main(target: str, count: int, values: int, batch_size: int) -> None:
    source = ({"x": np.full(values, number, np.float32)} for number in range(count))
    peaks = []
    with PredictClient(target, model="picky") as client:
        for number, result in enumerate(client.predict_many(source, batch_size=batch_size, in_flight=4)):
            assert result["y"][0] == 2 * number
            if number + 1 in (count // 10, count):
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    print(*peaks)


main(sys.argv[1], *map(int, sys.argv[2:]))
