"""Start, make one call of ten numbers with prepared bytes, end."""

import sys

import grpc
import numpy as np  # noqa: F401 -- every client needs it

with grpc.insecure_channel(sys.argv[1]) as channel, open(sys.argv[2], "rb") as file:
    reply = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(file.read(), timeout=60)
print(reply.hex())
