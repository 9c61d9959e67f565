"""Serve a subclassed model whose signature is named "call", after its method, instead of "serving_default".

    python examples/call_signature.py [base path]

Calls must name this signature; otherwise the server looks for "serving_default" and reports that it does not exist.

Models with weights from ``add_weight`` or from Keras 3 layers need another export: ``tf.keras.export.ExportArchive``
with ``add_endpoint("call", model.call)`` (see resnet50.py). After ``tf.saved_model.save``, TensorFlow Serving and the
tiny server load such a model, but answer "Could not find variable". Needs TensorFlow.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from serving import base_path, next_version, served

from tfs_client import FailedPreconditionError


class Interest(tf.keras.Model):
    """Compound interest; the rate is the model's only weight, set by hand."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = tf.Variable(rate, name="rate")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "amount"), tf.TensorSpec([], tf.int32, "years")])
    def call(self, amount: tf.Tensor, years: tf.Tensor) -> dict[str, tf.Tensor]:
        """amount * (1 + rate) ** years, for every amount."""
        factor = tf.pow(1.0 + self.rate, tf.cast(years, tf.float32))
        return {"total": amount * factor, "factor": factor}


def main() -> None:
    model = Interest(rate=0.05)
    inputs = {"amount": np.float32([100, 250]), "years": np.int32(10)}
    with base_path(__doc__) as base:
        tf.saved_model.save(model, next_version(base), signatures={"call": model.call})
        with served("interest", base) as clients:
            try:
                clients["gRPC"].predict(inputs)
            except FailedPreconditionError as error:
                print("without a signature:", error.details)
            for way, client in clients.items():
                prediction = client.predict(inputs, signature="call")
                print(f"{way}: total {prediction['total'].tolist()}, factor {prediction['factor']:.4f}")


if __name__ == "__main__":
    main()
