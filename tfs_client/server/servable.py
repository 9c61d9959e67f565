"""Servable: one version of a model that can run, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tfs_client.signatures import Signature

Array = np.ndarray[Any, Any]


class Run(NamedTuple):
    """What ``Servable.run`` is asked for."""

    signature: str
    inputs: Mapping[str, Array]
    outputs: Sequence[str]


class Servable(Protocol):
    """What the server needs of a model version.

    Three things more count where a servable has them: a method ``run_together``, see the function of this name; an
    attribute ``signature_defs``, with the serialized SignatureDefs by name, which say more than ``signatures`` can, and
    are the metadata then, unmodified (None is as good as nothing); and an attribute ``checked_shapes``, with the names
    of signatures whose inputs must have the shapes that they declare.
    """

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Values of the inputs that a request may leave out, by alias."""

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Compute the named outputs.

        Every input of the signature is there and has the signature's dtype; shapes are not checked, unless the
        signature is one of ``checked_shapes``.
        Raises CallError with the code and text that the caller shall see.
        """


def run_together(servable: Servable, runs: Sequence[Run]) -> Sequence[Mapping[str, Array]]:
    """The outputs of several signatures, each under its own aliases, in the order of ``runs``.

    A servable with a method ``run_together(runs)`` computes all in one execution, in which inputs that are the same
    tensor are the same array. Others run one signature after the other. Raises CallError as ``run`` does.
    """
    if len(runs) > 1 and hasattr(servable, "run_together"):
        answers: Sequence[Mapping[str, Array]] = servable.run_together(runs)
        return answers
    return [servable.run(*run) for run in runs]
