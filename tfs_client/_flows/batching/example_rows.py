"""Examples: single rows without a batch axis, and the split of a prediction into a result for each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfs_client._codec.containers import refuse_table
from tfs_client._codec.dtypes import Array
from tfs_client._codec.snapshots import Read, array_of, read_named
from tfs_client._codec.values import Untyped, read_single
from tfs_client._flows.batching.rows import check_rows
from tfs_client.errors import EncodeError
from tfs_client.results import Prediction

_EXACT = 1 << 53  # a float64 holds every integer up to here exactly


class Example(NamedTuple):
    """A row that can share a request with others of the same kind.

    Attributes:
        kind: the aliases, dtypes and shapes, which must be equal.
        value: the arrays by alias, or the only one. They may still be the caller's memory.
    """

    kind: Hashable
    value: dict[str, Read] | Read


def read_example(value: object) -> Example:
    """Read an example: a mapping from input alias to array-like, or one array-like.

    Raises EncodeError for values that cannot become tensors, whatever error their conversion raises.
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
        raise unreadable_example(error) from error


def unreadable_example(error: Exception) -> EncodeError:
    """The EncodeError for an error from outside this package, such as a lack of memory."""
    return EncodeError(f"the example cannot be read: {type(error).__name__}: {error}")


def _kind(values: Read) -> tuple[Hashable, tuple[int, ...]]:
    if not isinstance(values, Untyped):
        return values.dtype, values.shape
    array = array_of(values)
    number = array.dtype == np.float64 or (
        array.dtype == np.int64 and (not array.size or (array.min() >= -_EXACT and array.max() <= _EXACT))
    )
    return "number" if number else f"Python's {array.dtype}", array.shape


def split_prediction(prediction: Prediction, numbers: Sequence[int | None]) -> list[Prediction]:
    """A result for each row, without the batch axis: views. Raises SignatureError for outputs without rows.

    ``numbers`` are the positions of the rows' examples in their source, or None if they have none.
    """
    check_rows(prediction, len(numbers))
    columns = [(alias, _rows(array)) for alias, array in prediction.items()]
    return [
        prediction.with_outputs({alias: rows[index] for alias, rows in columns}, number)
        for index, number in enumerate(numbers)
    ]


def _rows(array: Array) -> Sequence[Array]:
    """Each row as an array; numpy would make scalars of the rows of a vector."""
    if array.ndim > 1:
        return list(array)
    return [array[index : index + 1].reshape(()) for index in range(len(array))]
