"""Train, export and serve a Sequential model for handwritten digits, and call it over gRPC and REST.

    python examples/digits_mlp.py [base path]

If scikit-learn is installed, the script uses its digits; otherwise it draws digits with a font. It prints which digits
it uses. Needs TensorFlow.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont
from serving import base_path, next_version, served

SIDE, INK = 8, 16.0  # scikit-learn's digits: 8 x 8 pixels, from 0 to 16
DRAWN = 3000
SHOWN = 5


def digits() -> tuple[np.ndarray, np.ndarray, str]:
    """Pictures (N, 8, 8) in 0..1, their digits, and their origin."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        return *drawn(np.random.default_rng(0)), "drawn by this script"
    data = load_digits()
    return (data.images / INK).astype(np.float32), data.target, "scikit-learn's"


def drawn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Digits of a font, each with a slightly different rotation, position and ink."""
    labels = rng.integers(0, 10, DRAWN)
    pictures = np.stack([draw(int(label), rng) for label in labels])
    noisy = pictures * rng.uniform(0.7, 1.0, (DRAWN, 1, 1)) + rng.normal(0, 0.05, pictures.shape)
    return np.clip(noisy, 0, 1).astype(np.float32), labels


def draw(digit: int, rng: np.random.Generator) -> np.ndarray:
    """One digit, drawn at four times the size and shrunk."""
    large = 4 * SIDE
    canvas = Image.new("L", (large, large))
    place = rng.uniform(-2.0, 2.0, 2) + large / 2
    ImageDraw.Draw(canvas).text(tuple(place), str(digit), 255, ImageFont.load_default(large), anchor="mm")
    turned = canvas.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
    return np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255


def trained(images: np.ndarray, labels: np.ndarray) -> tf.keras.Model:
    """A perceptron with one hidden layer."""
    model = tf.keras.Sequential(
        [
            tf.keras.Input((SIDE, SIDE), name="image"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(64, "relu"),
            tf.keras.layers.Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, epochs=15, verbose=0)
    return model


def main() -> None:
    tf.keras.utils.set_random_seed(0)
    images, labels, origin = digits()
    seen = len(images) * 3 // 4
    model = trained(images[:seen], labels[:seen])
    accuracy = model.evaluate(images[seen:], labels[seen:], verbose=0)[1]
    print(f"digits: {len(images)}, {origin}; {accuracy:.1%} of the held-out digits are recognised")
    with base_path(__doc__) as base:
        model.export(next_version(base), verbose=False)
        with served("digits", base) as clients:
            print(clients["gRPC"].signatures()["serving_default"])
            print("drawn  ", *labels[-SHOWN:])
            for way, client in clients.items():
                prediction = client.predict({"image": images[-SHOWN:]})
                print(f"{way}   ", *prediction.array.argmax(axis=1), "  certain", prediction.array.max(axis=1).round(2))


if __name__ == "__main__":
    main()
