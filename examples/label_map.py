"""Serve a model with DeepLab's interface: a picture, and the height and width of the answer, to a map of labels.

    python examples/label_map.py [base path]

The network is not DeepLab's and is not trained: its weights are set by hand and compare each pixel with three colours.
It shares DeepLab's interface: inputs of different kinds and ranks, a fixed internal size, scores that are enlarged to
the requested size, and a map of integers. Needs TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from serving import base_path, next_version, served

PICTURE = Path(__file__).with_name("pupper.jpg")
INSIDE = 65  # pixels in each direction, inside the model
COLOURS = {"sky": (178, 220, 244), "grass": (126, 188, 88), "fur": (200, 138, 74)}


class LabelMap(tf.Module):
    """The label of the nearest colour, for every pixel of the requested size."""

    def __init__(self) -> None:
        super().__init__()
        colours = tf.constant(list(COLOURS.values()), tf.float32) / 255
        # In -|x - c|^2 = 2 x c - |c|^2 - |x|^2, the last term is the same for every colour c, so it is omitted.
        self.kernel = tf.Variable(2 * tf.transpose(colours)[None, None])
        self.bias = tf.Variable(-tf.reduce_sum(colours**2, axis=1))

    @tf.function(
        input_signature=[
            tf.TensorSpec([1, None, None, 3], tf.uint8, "image"),
            tf.TensorSpec([], tf.int32, "height"),
            tf.TensorSpec([], tf.int32, "width"),
        ]
    )
    def segment(self, image: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels (1, height, width), as int64."""
        small = tf.image.resize(image, [INSIDE, INSIDE], antialias=True) / 255
        scores = tf.nn.conv2d(small, self.kernel, 1, "SAME") + self.bias
        smooth = tf.nn.avg_pool2d(scores, 3, 1, "SAME")
        return {"labels": tf.argmax(tf.image.resize(smooth, tf.stack([height, width])), axis=-1)}


def main() -> None:
    model = LabelMap()
    image = np.asarray(Image.open(PICTURE).convert("RGB").resize((160, 120)))
    inputs = {"image": image[None], "height": np.int32(15), "width": np.int32(40)}
    with base_path(__doc__) as base:
        tf.saved_model.save(model, next_version(base), signatures=model.segment)
        with served("segment", base) as clients:
            maps = {way: client.predict(inputs)["labels"] for way, client in clients.items()}
    print("weights set by hand; sent:", ", ".join(f"{name} {np.shape(value)}" for name, value in inputs.items()))
    for way, labels in maps.items():
        shares = np.bincount(labels.ravel(), minlength=len(COLOURS)) / labels.size
        print(f"{way}: {labels.dtype} {labels.shape},", ", ".join(map("{} {:.0%}".format, COLOURS, shares)))
    for row in maps["gRPC"][0]:
        print("".join(".:#"[label] for label in row))


if __name__ == "__main__":
    main()
