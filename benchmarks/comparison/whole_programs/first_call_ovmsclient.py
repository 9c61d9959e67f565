"""Start, predict from ten numbers, end."""

import sys

import numpy as np
import ovmsclient

client = ovmsclient.make_grpc_client(sys.argv[1])
y = client.predict({"x": np.arange(10, dtype=np.float32)}, "m")
print(" ".join(f"{value:.4f}" for value in y.ravel()))
