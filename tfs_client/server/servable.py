"""Servable: one version of a model that can run, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tfs_client.signatures import Signature

Array = np.ndarray[Any, Any]


class Servable(Protocol):
    """What the server needs of a model version."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Values of the inputs that a request may leave out, by alias."""

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Compute the named outputs.

        Every input of the signature is there and has the signature's dtype; shapes are not checked.
        Raises CallError with the code and text that the caller shall see.
        """
