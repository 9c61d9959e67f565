"""The arguments of the batch calls: their types, defaults and checks."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeVar

from tfs_client._printable import shown
from tfs_client.errors import ConfigError
from tfs_client.options import CallOptions

OnError = Literal["raise", "return"]
InFlight = int | Literal["auto"]
Progress = bool | Callable[[int, int | None], object]
"""True for a display; or a function of the rows with an outcome, and of all rows if their number is known."""

BATCH_SIZE = 32
IN_FLIGHT = 4
MAX_DELAY = 3600.0  # seconds

Examples = TypeVar("Examples")


class ManyOptions(CallOptions, total=False):
    """The options of ``predict_many`` that do not change the type of its results."""

    batch_size: int
    in_flight: InFlight
    ordered: bool
    max_delay: float | None
    shared: Mapping[str, object] | None
    progress: Progress


def checked_batch_size(size: object) -> int:
    """A number of rows. Raises ConfigError."""
    try:
        rows = 0 if isinstance(size, bool) else operator.index(size)  # type: ignore[arg-type]  # numpy's integers too
    except TypeError:
        rows = 0
    if rows < 1:
        raise ConfigError(f"expected a batch size of at least 1, got {shown(size)}")
    return rows


def checked_delay(seconds: object) -> float:
    """A delay in seconds. Raises ConfigError."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= MAX_DELAY:
        raise ConfigError(f"expected max_delay in seconds, from 0 to {MAX_DELAY:g}, got {shown(seconds)}")
    return float(seconds)


def length_of(examples: object) -> int | None:
    """The number of examples; None if only the end of the source shows it."""
    try:
        return len(examples)  # type: ignore[arg-type]
    except TypeError:  # also of sources that have a length only sometimes
        return None


def checked_examples(examples: Examples, kinds: tuple[type, ...]) -> Examples | Iterable[object]:
    """An iterable of examples in a defined order. Raises ConfigError; EncodeError for a table."""
    from tfs_client._codec.containers import refuse_table, rows

    refuse_table(examples)
    if not isinstance(examples, kinds) or isinstance(examples, (str, bytes, Mapping)):
        raise ConfigError(
            f"expected an iterable of examples, got {type(examples).__name__}"
            + ("; pass one mapping of whole arrays to predict_batched" if isinstance(examples, Mapping) else "")
        )
    if isinstance(examples, (set, frozenset)) or getattr(examples, "shape", None) == ():
        raise ConfigError(f"expected ordered examples, got {shown(examples)}; pass a list")
    # Iterating over an Arrow column gives Arrow's own scalars, not Python values.
    return rows(examples) if hasattr(type(examples), "to_pylist") else examples
