"""Train the embedded digits model and write its weights, or check the weights that are there.

    python scripts/train_digits.py            # a minute or two; prints held-out accuracy and file size
    python scripts/train_digits.py --check    # fails when the committed weights do worse than GOAL

Needs scikit-learn, and the package itself: the model that is checked is the one that is served.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from tfs_client.server.embedded import digits

GOAL = 0.97
HELD_OUT = 0.25
SEED = 20
COPIES = 30  # variations made of each training picture, besides the picture itself
HIDDEN = (96, 48)
STAGES = ((0.002, 12), (0.0007, 8), (0.0002, 6))  # learning rate, passes over all variations
FILE = Path(digits.__file__).with_name(digits.WEIGHTS)


def split() -> list[np.ndarray]:
    """Training images, held-out images, training labels, held-out labels; images 8 x 8 in 0..1."""
    data = load_digits()
    images = (data.images / 16).astype(np.float32)
    return train_test_split(images, data.target, test_size=HELD_OUT, stratify=data.target, random_state=SEED)


def varied(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved, sized, slanted and inked a little differently, as other hands and other cameras would."""
    count = len(images)
    moved = resampled(images, random_maps(count, rng), rng.uniform(-1.0, 1.0, (count, 2)))
    inked = moved ** np.exp(rng.uniform(-0.6, 0.6, (count, 1, 1)))
    return np.clip(inked + rng.normal(0, 0.03, inked.shape), 0, 1).astype(np.float32)


def random_maps(count: int, rng: np.random.Generator) -> np.ndarray:
    """Matrices (count, 2, 2) from places in the new image to places in the old: turn, slant, and a size each way."""
    turn, slant = rng.uniform(-0.2, 0.2, count), rng.uniform(-0.2, 0.2, count)
    cos, sin = np.cos(turn), np.sin(turn)
    rotated = np.stack([cos, -sin, sin, cos], axis=-1).reshape(count, 2, 2)
    sheared = np.stack([np.ones(count), np.zeros(count), slant, np.ones(count)], axis=-1).reshape(count, 2, 2)
    return rotated @ sheared * rng.uniform(0.85, 1.35, (count, 1, 2))


def resampled(images: np.ndarray, maps: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Images seen through an affine map about their centre, bilinear, dark outside."""
    count, side = images.shape[:2]
    centre = (side - 1) / 2
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2) - centre
    places = np.clip(grid @ maps.transpose(0, 2, 1) + shifts[:, None] + centre, -1, side) + 1
    padded = np.pad(images, ((0, 0), (1, 2), (1, 2)))
    low = np.floor(places).astype(int)
    part = places - low
    out = np.zeros(places.shape[:2])
    for down in (0, 1):
        for across in (0, 1):
            share = abs(1 - down - part[..., 0]) * abs(1 - across - part[..., 1])
            out += share * padded[np.arange(count)[:, None], low[..., 0] + down, low[..., 1] + across]
    return out.reshape(images.shape)


def train(images: np.ndarray, labels: np.ndarray) -> MLPClassifier:
    """A perceptron trained on the images and their variations; the same on every run."""
    rng = np.random.default_rng(SEED)
    sets = [images, *(varied(images, rng) for _ in range(COPIES))]
    inputs = digits.as_ink(np.concatenate(sets).reshape(-1, digits.PIXELS))
    model = MLPClassifier(HIDDEN, batch_size=128, alpha=1e-4, random_state=SEED, warm_start=True, n_iter_no_change=99)
    for rate, passes in STAGES:
        model.set_params(learning_rate_init=rate, max_iter=passes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the stages end when they should, not when flat
            model.fit(inputs, np.tile(labels, len(sets)))
    return model


def save(model: MLPClassifier, path: Path) -> None:
    """Write the layers under the names that the package reads."""
    # Half precision halves the file, a good part of the wheel; no digit of the test set changes.
    kernels = {f"kernel{i}": kernel.astype(np.float16) for i, kernel in enumerate(model.coefs_)}
    biases = {f"bias{i}": bias.astype(np.float32) for i, bias in enumerate(model.intercepts_)}
    np.savez_compressed(path, **kernels, **biases)


def main() -> int:
    parser = argparse.ArgumentParser(description="Train or check the embedded digits model.")
    parser.add_argument("--check", action="store_true", help="evaluate the committed weights, train nothing")
    arguments = parser.parse_args()
    images, held_out, labels, answers = split()
    if not arguments.check:
        save(train(images, labels), FILE)
    accuracy = float((digits.probabilities(held_out).argmax(axis=1) == answers).mean())
    print(f"held-out accuracy {accuracy:.4f} on {len(answers)} digits, goal {GOAL}; {FILE.stat().st_size} bytes")
    return 0 if accuracy >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
