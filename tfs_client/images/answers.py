"""Answers: what a model said about one picture. Each kind has a module, so that processes import only what they use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.images.classes import Classification
from tfs_client.images.objects import Detections
from tfs_client.images.segments import Segmentation


@dataclass(frozen=True, eq=False)
class Embedding:
    """A picture as a vector.

    Attributes:
        vector: floats (length,).
        output: the alias of the output.
    """

    vector: Array
    output: str

    @property
    def norm(self) -> float:
        """The Euclidean length of the vector."""
        return float(np.linalg.norm(self.vector.astype(np.float64)))


Answer: TypeAlias = Classification | Detections | Segmentation | Embedding
"""What a model said about one picture."""
