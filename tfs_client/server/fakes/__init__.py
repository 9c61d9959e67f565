"""Fakes: servables made of the signatures of a model, which check requests as the model does and make up answers.

exported_models   a SavedModel, an ONNX or TensorFlow Lite model, or JSON -> the model's signatures
fake_servable     signatures and a way to answer -> a servable
answers           zeros, random values, or what a function returns, for every output of a signature
output_shapes     the shapes of the outputs, from the signature and the shapes of the inputs
"""

from tfs_client.server.fakes.answers import Answer
from tfs_client.server.fakes.exported_models import ExportedModel, read_model, read_path
from tfs_client.server.fakes.fake_servable import FakeServable

__all__ = ["Answer", "ExportedModel", "FakeServable", "read_model", "read_path"]
