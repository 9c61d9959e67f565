"""Predicts 100 000 examples against a server of its own, and prints the peak memory after 10 000 and after all."""

from __future__ import annotations

import resource
import sys

import numpy as np

from tfs_client import PredictClient


def main(target: str) -> None:
    source = ({"x": np.full(4, number, np.float32)} for number in range(100_000))
    peaks = []
    with PredictClient(target, model="picky") as client:
        for number, result in enumerate(client.predict_many(source, batch_size=500, in_flight=4)):
            assert result["y"][0] == 2 * number
            if number + 1 in (10_000, 100_000):
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    print(*peaks)


main(sys.argv[1])
