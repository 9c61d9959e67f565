"""Export and serve ResNet-50, and call it over gRPC and REST.

    python examples/resnet50.py [base path]

Its weights are random, so its answers are meaningless, and the classes have no names. To use trained weights, set
``weights="imagenet"`` and ``SIDE = 224``, the size it was trained on; the rest of the script stays the same.
Needs TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from serving import base_path, next_version, served

from tfs_client import Prediction

PICTURE = Path(__file__).with_name("pupper.jpg")
SIDE = 64  # pixels in each direction; ResNet-50 supports any size from 32 on


def export(network: tf.keras.Model, path: str) -> None:
    """Write the network with its preprocessing, so that callers can send unprocessed pictures."""

    def classify(image: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.keras.applications.resnet50.preprocess_input(tf.cast(image, tf.float32))
        return {"probabilities": network(pixels, training=False)}

    archive = tf.keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serving_default", classify, [tf.TensorSpec([None, SIDE, SIDE, 3], tf.uint8, "image")])
    archive.write_out(path, verbose=False)


def best(prediction: Prediction, count: int = 3) -> str:
    """The most likely classes of the first picture, with their probabilities."""
    scores = prediction["probabilities"][0]
    return ", ".join(f"class {label} {scores[label]:.5f}" for label in np.argsort(-scores)[:count])


def main() -> None:
    tf.keras.utils.set_random_seed(0)
    network = tf.keras.applications.ResNet50(weights=None, input_shape=(SIDE, SIDE, 3))
    picture = np.asarray(Image.open(PICTURE).convert("RGB").resize((SIDE, SIDE)))
    with base_path(__doc__) as base:
        export(network, next_version(base))
        with served("resnet", base) as clients:
            print(f"ResNet-50 with random weights, a picture of {SIDE} x {SIDE} pixels; the best of 1000 classes:")
            for way, client in clients.items():
                prediction = client.predict({"image": picture[None]}, timeout=60)
                print(f"{way}: {best(prediction)}; {prediction.timing.wait * 1000:.0f} ms")


if __name__ == "__main__":
    main()
