"""Models that come with the package, for trying out a server without downloading or training anything.

They are demo models, small and written in plain numpy, and do not replace a trained network.

    half_plus_two   y = x / 2 + 2, the model of TensorFlow Serving's own examples; predict, classify and regress
    digits          a handwritten digit, 8 x 8 pixels -> which one; a small perceptron trained on scikit-learn's
                    digits by ``scripts/train_digits.py``; predict and classify
    segment         a picture -> foreground or background per pixel, by clustering colours; it has the inputs and
                    the output of a DeepLab export, but does not recognize objects
    shapes          a picture -> boxes, classes and masks of drawn shapes, found by their edges and compared with
                    ideal shapes; it has the interface of the TensorFlow Object Detection API, but is not a network
    colors          a picture -> the shares of fourteen everyday colours
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfs_client.server.backends.functions import FunctionSignature

__all__ = ["MODELS"]


def _signatures(name: str) -> Mapping[str, FunctionSignature]:
    made: Mapping[str, FunctionSignature] = import_module(f"{__name__}.{name}").signatures()
    return made


MODELS: Mapping[str, Callable[[], Mapping[str, FunctionSignature]]] = MappingProxyType(
    {name: partial(_signatures, name) for name in ("colors", "digits", "half_plus_two", "segment", "shapes")}
)
"""By model name, the function that makes the model's signatures. It loads code and weights when it is called."""
