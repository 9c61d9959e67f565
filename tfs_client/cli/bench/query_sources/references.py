"""Reference answers: what the answers under load must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._printable import bounded
from tfs_client.errors import DecodeError
from tfs_client.recordings.differences import differences, equal

LONGEST_TEXT = 300  # characters


@dataclass(frozen=True)
class Tolerance:
    """How far floats may be from the reference: ``atol + rtol * abs(reference)``."""

    rtol: float = 0.0
    atol: float = 0.0


EXACT = Tolerance()


@dataclass(frozen=True, eq=False)
class Reference:
    """The outputs that an answer must have."""

    outputs: Mapping[str, Array]
    tolerance: Tolerance

    def difference(self, got: Mapping[str, Array]) -> str:
        """How outputs differ, in a short text; empty if they do not."""
        rtol, atol = self.tolerance.rtol, self.tolerance.atol
        try:
            if equal(self.outputs, got, rtol=rtol, atol=atol):
                return ""
            found = differences(self.outputs, got, rtol=rtol, atol=atol)
        except DecodeError as error:
            return bounded(str(error), LONGEST_TEXT)
        return bounded("; ".join(" ".join(str(each).split()) for each in found), LONGEST_TEXT)


def kept(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return outputs as a reference that may be copied to other processes.

    Raises DecodeError for an output that declares far more values than it holds.
    """
    for alias, array in outputs.items():
        expansion.check_copy(array, f"output {alias!r}")
    return dict(outputs)
