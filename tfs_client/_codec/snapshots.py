"""Snapshots: copies of a call's inputs, because the caller may refill its arrays after the call returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfs_client._codec.dtypes import Array
from tfs_client._codec.values import Untyped, converted, read, read_single

Read = Array | Untyped

_FRESH = frozenset((bool, int, float, complex, str, bytes, list, tuple, range))  # types that ``read`` copies


def snapshot(inputs: object) -> Any:
    """Copy inputs so that they share no memory with the caller's: a dict for a mapping, else a single value.

    Values that cannot become a tensor are returned unchanged; the call that encodes them reports the error.
    """
    if isinstance(inputs, Mapping):
        return {alias: _kept(values, read) for alias, values in inputs.items()}
    return _kept(inputs, read_single)


def owned(found: Read, values: object) -> Read:
    """Return what was read from ``values`` in memory that the caller cannot change."""
    return found if isinstance(found, Untyped) else _copied(found, values)


def read_named(inputs: Mapping[str, object], what: str, *, own: bool = False) -> dict[str, Read]:
    """Read values by alias, each as an array or Untyped; with ``own`` none of them shares memory with the caller's.

    Raises EncodeError, which names the input.
    """
    return converted(inputs, (lambda values: owned(read(values), values)) if own else read, what)


def array_of(found: Read) -> Array:
    """Return the array of values with or without a dtype."""
    return found.array if isinstance(found, Untyped) else found


def _copied(array: Array, values: object) -> Array:
    return array if type(values) in _FRESH else array.copy()


def _kept(values: Any, reader: Any) -> Any:
    try:
        return owned(reader(values), values)
    except Exception:
        return values
