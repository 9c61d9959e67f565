"""Snapshots: inputs as they are at hand-over. The caller may refill its arrays afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfs_client.codec.values import Array, Untyped, converted, read, read_single

Read = Array | Untyped

_FRESH = frozenset((bool, int, float, complex, str, bytes, list, tuple, range))  # ``read`` copies these


def snapshot(inputs: Any) -> Any:
    """Inputs that share no memory with the caller's: a dict for a mapping, else a single value.

    Values that are no tensor stay as they are: the call that comes across them explains them best.
    """
    if isinstance(inputs, Mapping):
        return {alias: _kept(values, read) for alias, values in inputs.items()}
    return _kept(inputs, read_single)


def owned(found: Read, values: Any) -> Read:
    """What was read from values, in memory that nobody else writes to."""
    return found if isinstance(found, Untyped) else _copied(found, values)


def read_named(inputs: Mapping[str, Any], what: str, *, own: bool = False) -> dict[str, Read]:
    """Values by alias, each as an array or Untyped; with ``own`` none of them shares memory with the caller's.

    Raises EncodeError, which names the input.
    """
    return converted(inputs, (lambda values: owned(read(values), values)) if own else read, what)


def array_of(found: Read) -> Array:
    """The values, whether they have a dtype of their own or not."""
    return found.array if isinstance(found, Untyped) else found


def _copied(array: Array, values: Any) -> Array:
    return array if type(values) in _FRESH else array.copy()


def _kept(values: Any, reader: Any) -> Any:
    try:
        return owned(reader(values), values)
    except Exception:
        return values
