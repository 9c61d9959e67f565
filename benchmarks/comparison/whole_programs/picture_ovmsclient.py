"""Start, decode a JPEG, let a server classify it, print the best class, end."""

import sys

import numpy as np
import ovmsclient
from PIL import Image

pixels = np.asarray(Image.open(sys.argv[2]).convert("RGB"))[None]
client = ovmsclient.make_grpc_client(sys.argv[1])
reply = client.predict({"image": pixels}, "colors", model_version=1)  # its default is version 0, not the latest
best = int(reply["scores"][0].argmax())
print(reply["classes"][0][best].decode(), reply["scores"][0][best])
