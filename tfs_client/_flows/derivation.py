"""Derivation: the options by which a client differs from the one that it was derived from, without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfs_client._printable import listed, shown
from tfs_client.options import UNSET, MetadataPairs

# Metadata, tokens, request ids, and what policies and hooks print may be secret, or long.
_IN_FULL = {"model", "version", "label", "signature", "timeout", "validate", "cast", "compression"}


@dataclass(frozen=True)
class Derivation:
    """How a client was derived, directly or not, from one that was not derived.

    Attributes:
        first: the repr of that one, without its class.
        changed: the options that ``with_options`` got, and their reprs.
        keys: the keys of the metadata that it got.
    """

    first: str
    changed: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.first}.with_options({', '.join(f'{name}={text}' for name, text in self.changed.items())})"

    def further(self, model: str, metadata: MetadataPairs, options: Mapping[str, object]) -> Derivation:
        """Derive another client.

        Args:
            model: the model of this one.
            metadata: what ``with_options`` adds to the metadata.
            options: its other arguments, which are valid; UNSET for those left out.
        """
        given = {name: value for name, value in options.items() if value is not UNSET}
        replaced: set[str] = set()
        if given.get("model", model) != model:  # another model inherits none of them
            replaced |= {"version", "label", "signature"}
        if given.keys() & {"version", "label"}:  # one replaces both
            replaced |= {"version", "label"}
        changed = {name: text for name, text in self.changed.items() if name not in replaced}
        changed.update((name, _shown(name, value)) for name, value in given.items())
        keys = tuple(dict.fromkeys([*self.keys, *(key for key, _ in metadata)]))
        if keys:
            changed["metadata"] = f"{{{listed([f'{key!r}: ...' for key in keys])}}}"
        return Derivation(self.first, changed, keys)


def _shown(name: str, value: object) -> str:
    harmless = value is None or isinstance(value, bool) or (type(value) is tuple and not value)
    return shown(value) if name in _IN_FULL or harmless else "..."
