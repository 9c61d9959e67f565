"""Examples: single rows without a batch axis, stacked to a request and taken apart again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfs_client.batching.rows import arrays_of, check_rows
from tfs_client.codec.containers import refuse_table
from tfs_client.codec.values import as_array
from tfs_client.errors import SignatureError
from tfs_client.results import Prediction

Array = np.ndarray[Any, Any]


class Example(NamedTuple):
    """A row that can be stacked with others of its kind.

    Attributes:
        kind: what must be equal in those: aliases, dtypes, shapes.
        value: arrays by alias; or one array, or whatever stands for one.
    """

    kind: Hashable
    value: Any


def example_of(value: Any) -> Example:
    """A row from what a caller gave: a mapping from input alias to array-like, or one array-like.

    Raises EncodeError for what is no tensor.
    """
    refuse_table(value)
    if isinstance(value, Mapping):
        arrays = arrays_of(value, "input")
        return Example(frozenset((alias, array.dtype, array.shape) for alias, array in arrays.items()), arrays)
    array = as_array(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return Example((array.dtype, array.shape), array)
    return Example(array.shape, value)  # numbers of Python: their dtype comes from the signature


def stacked(examples: Sequence[Example], shared: Mapping[str, Any]) -> Any:
    """The inputs of a request for rows of one kind."""
    first = examples[0].value
    if isinstance(first, dict):
        arrays = {alias: np.stack([example.value[alias] for example in examples]) for alias in first}
        return arrays | dict(shared)
    if shared:
        raise SignatureError("shared inputs go with others that have names: give examples as mappings")
    if isinstance(first, np.ndarray):
        return np.stack([example.value for example in examples])
    return [example.value for example in examples]


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
