"""Start, decode a JPEG, send a prepared request with it, end: what no client can go below."""

import sys

import grpc
import numpy as np
from PIL import Image

pixels = np.asarray(Image.open(sys.argv[2]).convert("RGB"))[None]
with grpc.insecure_channel(sys.argv[1]) as channel, open(sys.argv[3], "rb") as file:
    reply = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(file.read(), timeout=60)
print(reply)
