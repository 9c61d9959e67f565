"""Models that come with the package, so that a server can be tried without downloading or training anything.

They are demo models: small, plain numpy, honest about what they can do, and no substitute for a trained network.

    half_plus_two   y = x / 2 + 2, the model of TensorFlow Serving's own examples; predict, classify and regress
    digits          a handwritten digit, 8 x 8 pixels -> which one; a small perceptron trained on scikit-learn's
                    digits by ``scripts/train_digits.py``; predict and classify
    segment         a picture -> foreground or background per pixel, by clustering colours; it has the inputs and
                    the output of a DeepLab export, but no idea of what the things in the picture are
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
    {name: partial(_signatures, name) for name in ("colors", "digits", "half_plus_two", "segment")}
)
"""By model name, what makes the model's signatures; code and weights are loaded by that call, not before."""
