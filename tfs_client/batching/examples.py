"""Examples: single rows without a batch axis, and the results that are taken apart again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfs_client.batching.rows import check_rows
from tfs_client.codec.containers import refuse_table
from tfs_client.codec.snapshots import Read, array_of, read_named
from tfs_client.codec.values import Untyped, read_single
from tfs_client.errors import EncodeError
from tfs_client.results import Prediction

Array = np.ndarray[Any, Any]

_EXACT = 1 << 53  # up to here every integer is a float64


class Example(NamedTuple):
    """A row that can be sent together with others of its kind.

    Attributes:
        kind: what must be equal in those: aliases, dtypes, shapes.
        value: what was read, by alias; or of a single value. It may still be the caller's own memory.
    """

    kind: Hashable
    value: dict[str, Read] | Read


def example_of(value: Any) -> Example:
    """A row from what a caller gave: a mapping from input alias to array-like, or one array-like.

    Raises EncodeError for what is no tensor, whatever its conversion raises.
    """
    refuse_table(value)
    try:
        if isinstance(value, Mapping):
            found = read_named(value, "input")
            return Example(frozenset([(alias, *_kind(values)) for alias, values in found.items()]), found)
        bare = read_single(value)
        return Example(_kind(bare), bare)
    except EncodeError:
        raise
    except Exception as error:
        raise unreadable(error) from error


def unreadable(error: Exception) -> EncodeError:
    """The error of an example for one that is none of this package's, such as a lack of memory."""
    return EncodeError(f"the example cannot be read: {type(error).__name__}: {error}")


def _kind(values: Read) -> tuple[Hashable, tuple[int, ...]]:
    if not isinstance(values, Untyped):
        return values.dtype, values.shape
    array = array_of(values)
    number = array.dtype == np.float64 or (
        array.dtype == np.int64 and (not array.size or (array.min() >= -_EXACT and array.max() <= _EXACT))
    )
    return "number" if number else f"Python's {array.dtype}", array.shape


def taken_apart(prediction: Prediction, numbers: Sequence[int | None]) -> list[Prediction]:
    """A result for each row, without the batch axis: views. Raises SignatureError for outputs that have no rows.

    ``numbers`` are the places of the rows' examples in their source, or None where there is none.
    """
    check_rows(prediction, len(numbers))
    columns = [(alias, _rows(array)) for alias, array in prediction.items()]
    return [
        prediction.with_outputs({alias: rows[index] for alias, rows in columns}, number)
        for index, number in enumerate(numbers)
    ]


def _rows(array: Array) -> Sequence[Array]:
    """Every row as an array; numpy would make scalars of the rows of a vector."""
    if array.ndim > 1:
        return list(array)
    return [array[index : index + 1].reshape(()) for index in range(len(array))]
