"""Start, predict from ten numbers, end."""

import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

channel = grpc.insecure_channel(sys.argv[1])
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
request = predict_pb2.PredictRequest()
request.model_spec.name = "m"
request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.arange(10, dtype=np.float32)))
y = tf.make_ndarray(stub.Predict(request, timeout=60).outputs["y"])
print(" ".join(f"{value:.4f}" for value in y.ravel()))
