"""Servable: the interface of a loaded version of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from tfs_client._codec.dtypes import Array
from tfs_client.signatures import Signature


class Run(NamedTuple):
    """The arguments of one ``Servable.run``."""

    signature: str
    inputs: Mapping[str, Array]
    outputs: Sequence[str]


class Servable(Protocol):
    """The interface of a loaded version of a model.

    Three more members are optional: the method ``run_together``, see the function of this name; the attribute
    ``signature_defs``, the serialized SignatureDefs by name, which the server sends unmodified as metadata because they
    contain more than ``signatures`` (None counts as absent); and the attribute ``checked_shapes``, the names of
    signatures whose inputs must have the declared shapes.
    """

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """The default values of inputs that a request may omit, by alias."""

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Compute the named outputs.

        ``inputs`` has every input of the signature, with the signature's dtype. Shapes are checked only for signatures
        in ``checked_shapes``.
        Raises CallError with the code and text for the caller.
        """


def run_together(servable: Servable, runs: Sequence[Run]) -> Sequence[Mapping[str, Array]]:
    """Return the outputs of several signatures by alias, in the order of ``runs``.

    A servable with a method ``run_together(runs)`` computes all in one execution. Inputs that are the same tensor are
    the same array there. Other servables run one signature after the other. Raises CallError as ``run`` does.
    """
    if len(runs) > 1 and hasattr(servable, "run_together"):
        answers: Sequence[Mapping[str, Array]] = servable.run_together(runs)
        return answers
    return [servable.run(*run) for run in runs]
