"""Start, predict from ten numbers, end."""

import sys

import numpy as np

from tfs_client import PredictClient

with PredictClient(sys.argv[1], model="m") as client:
    y = client.predict({"x": np.arange(10, dtype=np.float32)})["y"]
print(" ".join(f"{value:.4f}" for value in y.ravel()))
