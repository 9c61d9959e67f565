"""Start, decode a JPEG, let a server classify it, print the best class, end: TensorFlow Serving's usual client."""

import sys

import grpc
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

pixels = np.asarray(Image.open(sys.argv[2]).convert("RGB"))[None]
channel = grpc.insecure_channel(sys.argv[1])
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
request = predict_pb2.PredictRequest()
request.model_spec.name = "colors"
request.inputs["image"].CopyFrom(tf.make_tensor_proto(pixels))
reply = stub.Predict(request, timeout=60)
scores, classes = (tf.make_ndarray(reply.outputs[name])[0] for name in ("scores", "classes"))
best = int(scores.argmax())
print(classes[best].decode(), scores[best])
