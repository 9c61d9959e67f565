"""Embeddings: one vector of floats for each picture."""

from __future__ import annotations

from tfs_client._codec.dtypes import row_of
from tfs_client.errors import DecodeError
from tfs_client.images.answers import Embedding
from tfs_client.images.decoders import AnswerOptions, Outputs, Specs
from tfs_client.images.geometry import Geometry
from tfs_client.images.vectors import FLOATS, floats, is_vector, vector


class Vector:
    """Reads a vector of floats, of any length, if the task is "embed": without it, a vector is scores."""

    name = "vector"
    task = "embed"

    def candidates(self, specs: Specs, size: tuple[int, int] | None, *, explicit: bool) -> list[str]:
        """Return the aliases of vectors of floats."""
        return [
            alias for alias, spec in specs.items() if explicit and spec.row.name in FLOATS and is_vector(spec.shape)
        ]

    def classes(self, specs: Specs, size: tuple[int, int] | None, options: AnswerOptions) -> int | None:
        """Return None: embeddings have no classes."""
        return None

    def decode(self, outputs: Outputs, geometry: Geometry, options: AnswerOptions) -> Embedding:
        """Return the vector. Raises DecodeError for another output."""
        found = vector(outputs, options.output)
        if row_of(found.dtype).name not in FLOATS:
            raise DecodeError(f"expected floats in output {options.output!r}, got {found.dtype}")
        return Embedding(floats(found), options.output)
