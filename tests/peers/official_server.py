"""An independent server: TensorFlow's SavedModels, runtime and tensor conversion, and the published stubs.

It serves ``half_plus_two`` (versions 1 and 2, see tests/contract/conftest.py) and ``identity``, which has a signature
for each dtype that gives back its input.
"""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from peers.arrays import DTYPES

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )


class HalfPlus(tf.Module):
    """y = x / 2 + offset, and a signature of several inputs with strings."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = tf.Variable(offset)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def half(self, x):
        return {"y": x / 2 + self.offset}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, name="a"), tf.TensorSpec([None], tf.string, name="text")]
    )
    def many(self, a, text):
        return {"doubled": 2 * a, "loud_bytes": tf.strings.join([text, "!"])}


class Identity(tf.Module):
    """Gives back its input."""

    def signatures(self):
        def identity(dtype):
            spec = tf.TensorSpec(None, dtype, name="x")
            return tf.function(lambda x: {"y": tf.identity(x)}, input_signature=[spec])

        self.functions = {name: identity(tf.as_dtype(name)) for name in DTYPES}
        return {name: function.get_concrete_function() for name, function in self.functions.items()}


def save_models(root: Path) -> None:
    """Write the models in TensorFlow Serving's layout: root/name/version."""
    for version in (1, 2):
        model = HalfPlus(1.0 + version)
        signatures = {"serving_default": model.half, "many": model.many}
        tf.saved_model.save(model, str(root / "half_plus_two" / str(version)), signatures=signatures)
    identity = Identity()
    tf.saved_model.save(identity, str(root / "identity" / "1"), signatures=identity.signatures())


class OfficialServer(
    prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer
):
    """Serves the saved models; ``models[name][version]`` is the loaded one, ``target`` the address."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save_models(root)
            self.models = {
                folder.name: {int(path.name): tf.saved_model.load(str(path)) for path in folder.iterdir()}
                for folder in root.iterdir()
            }

    def __enter__(self):
        size = 64 << 20
        options = [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size)]
        self.server = grpc.server(ThreadPoolExecutor(8), options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self.server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, self.server)
        self.target = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(0).wait()

    def signature_def(self, name: str, version: int):
        """The signatures as they stand in saved_model.pb."""
        data = (self.root / name / str(version) / "saved_model.pb").read_bytes()
        return saved_model_pb2.SavedModel.FromString(data).meta_graphs[0].signature_def

    def _version(self, spec, context) -> int:
        versions = self.models.get(spec.name, {})
        version = spec.version.value if spec.HasField("version") else max(versions, default=None)
        if version not in versions:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no version {version} of {spec.name}")
        return version

    def Predict(self, request, context):
        spec = request.model_spec
        version = self._version(spec, context)
        name = spec.signature_name or "serving_default"
        inputs = {alias: tf.constant(tf.make_ndarray(proto)) for alias, proto in request.inputs.items()}
        try:
            outputs = self.models[spec.name][version].signatures[name](**inputs)
        except tf.errors.OpError as error:
            codes = {code.value[0]: code for code in grpc.StatusCode}
            context.abort(codes[error.error_code], error.message)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = name
        for alias in request.output_filter or outputs:
            response.outputs[alias].CopyFrom(tf.make_tensor_proto(outputs[alias].numpy()))
        return response

    def GetModelMetadata(self, request, context):
        version = self._version(request.model_spec, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self.signature_def(request.model_spec.name, version).items():
            signatures.signature_def[name].CopyFrom(signature)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def GetModelStatus(self, request, context):
        response = get_model_status_pb2.GetModelStatusResponse()
        spec = request.model_spec
        wanted = [spec.version.value] if spec.HasField("version") else sorted(self.models.get(spec.name, {}))
        for version in wanted:
            if version not in self.models.get(spec.name, {}):
                context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find version {version} of model {spec.name}")
            entry = response.model_version_status.add(version=version, state=30)
            entry.status.error_code = 0
        return response
