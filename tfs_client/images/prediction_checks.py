"""Checks of a prediction and of outputs that a caller passes, and of a place in a batch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfs_client._printable import shown
from tfs_client.errors import ConfigError
from tfs_client.images.argument_checks import is_whole
from tfs_client.signatures import TensorSpec


def check_outputs(outputs: object) -> None:
    """Raise ConfigError for anything but arrays by alias."""
    if not isinstance(outputs, Mapping):
        raise ConfigError(f"expected a prediction, or arrays by the aliases of outputs, got {shown(outputs)}")
    for alias, array in outputs.items():
        if not isinstance(array, (np.ndarray, np.generic)):
            raise ConfigError(f"expected numpy arrays as outputs, got {shown(array)} as {shown(alias)}")


def check_specs(specs: object) -> None:
    """Raise ConfigError for anything but specs by alias."""
    if not isinstance(specs, Mapping) or not all(isinstance(spec, TensorSpec) for spec in specs.values()):
        raise ConfigError(f"expected the outputs of a signature, a TensorSpec by alias, got {shown(specs)}")


def check_index(index: object, count: int) -> None:
    """Raise ConfigError for anything but the place of a picture in a batch of ``count``."""
    if not (is_whole(index) and 0 <= index < count):
        raise ConfigError(f"expected an index below {count}, the number of pictures in the batch, got {shown(index)}")
