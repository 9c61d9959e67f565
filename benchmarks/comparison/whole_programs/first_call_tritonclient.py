"""Start, infer from ten numbers, end."""

import sys

import numpy as np
import tritonclient.grpc as triton

with triton.InferenceServerClient(sys.argv[1]) as client:
    value = triton.InferInput("x", [10], "FP32")
    value.set_data_from_numpy(np.arange(10, dtype=np.float32))
    y = client.infer("m", [value]).as_numpy("y")
print(" ".join(f"{value:.4f}" for value in y.ravel()))
