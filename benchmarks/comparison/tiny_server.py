"""Tiny servers with a model each: "m" reads every value and answers ten times their mean; "colors" names colours.

They run in a separate process. Its first line of output is the port of "colors" for gRPC, and that of "m" for REST. The
servers stop at the end of its standard input.
"""

from __future__ import annotations

import sys

import numpy as np

from tfs_client import TensorSpec
from tfs_client.server import Server
from tfs_client.server.embedded import MODELS
from tfs_client.testing import FakeServer


def main() -> None:
    image, scores = TensorSpec("float32", (None, 224, 224, 3)), TensorSpec("float32", (None, 10))
    with Server() as colors, FakeServer(connection_faults=False) as server:
        colors.add_model("colors", MODELS["colors"]())
        server.add_model(
            "m",
            lambda x: np.repeat(x.mean(axis=(1, 2, 3))[:, None], 10, 1),
            inputs={"x": image},
            outputs={"y": scores},
        )
        print(colors.target.rpartition(":")[2], server.rest_url.rpartition(":")[2], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
