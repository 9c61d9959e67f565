"""Snapshots: inputs as they are at hand-over. The caller may refill its arrays afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfs_client.codec.values import Array, Untyped, read
from tfs_client.errors import EncodeError

Read = Array | Untyped

_FRESH = frozenset((bool, int, float, complex, str, bytes, list, tuple, range))  # ``read`` copies these
_TEXT = "OSU"  # numpy's kinds of strings


def snapshot(inputs: Any) -> Any:
    """Inputs that share no memory with the caller's: a dict for a mapping, else a single value.

    Values that are no tensor stay as they are: the call that comes across them explains them best.
    """
    if isinstance(inputs, Mapping):
        return {alias: _kept(values, read) for alias, values in inputs.items()}
    return _kept(inputs, read_bare)


def owned(found: Read, values: Any) -> Read:
    """What was read from values, in memory that nobody else writes to."""
    return found if isinstance(found, Untyped) else _copied(found, values)


def read_bare(values: Any) -> Read:
    """A single value without a name. Numbers in Python's containers are Untyped, also where they are numpy's scalars:
    the one input that they are for decides their dtype.

    Raises EncodeError as ``read``.
    """
    found = read(values)
    if isinstance(found, Untyped) or hasattr(values, "dtype") or hasattr(values, "__array__"):
        return found
    return found if found.dtype.kind in _TEXT else Untyped(_copied(found, values))


def read_named(inputs: Mapping[str, Any], what: str, *, own: bool = False) -> dict[str, Read]:
    """Values by alias, each as an array or Untyped; with ``own`` none of them shares memory with the caller's.

    Raises EncodeError, which names the input, whatever a value's conversion raises.
    """
    found: dict[str, Read] = {}
    for alias, values in inputs.items():
        try:
            found[alias] = owned(read(values), values) if own else read(values)
        except EncodeError as error:
            raise EncodeError(f"{what} {alias!r}: {error}") from error.__cause__
        except Exception as error:  # from the object itself, such as its __array__
            raise EncodeError(f"{what} {alias!r}: {type(error).__name__}: {error}") from error
    return found


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
