"""Columns of a table as the inputs of a model, and its outputs as columns.

A table is what engines hand to a function: a mapping from column to values with a row each, or a pandas frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfs_client.codec import containers, extents
from tfs_client.codec.dtypes import STRING
from tfs_client.codec.values import check_strings
from tfs_client.errors import (
    CallError,
    ConfigError,
    DecodeError,
    EncodeError,
    SignatureError,
    TFServingError,
    unreadable,
)
from tfs_client.results import Prediction
from tfs_client.shown import shown
from tfs_client.signatures import TensorSpec

Array = np.ndarray[Any, Any]
Rows = Array | list[Array | TFServingError]  # an array with a row each, or a list of rows and of why some are none
Names = (
    str | Iterable[str] | Mapping[str, str]
)  # of columns: of the only tensor, of tensors of the same names, by alias


def by_alias(names: Names, what: str) -> dict[str, str]:
    """The column of each alias; a single name is the column of the only tensor, whose alias is left "".

    Raises ConfigError.
    """
    if isinstance(names, str):
        found: dict[Any, Any] = {"": names}
    elif isinstance(names, Mapping):
        found = dict(names)
    else:
        try:
            found = {name: name for name in names}
        except TypeError:
            found = {}
    if not found or not all(isinstance(name, str) for pair in found.items() for name in pair):
        raise ConfigError(f"expected {what} as a column, a list of columns or columns by alias, got {names!r}")
    return found


def with_aliases(columns: Mapping[str, str], specs: Mapping[str, TensorSpec], what: str) -> dict[str, str]:
    """Columns by alias, the only tensor's alias filled in. Raises SignatureError for those that are not there."""
    listed = ", ".join(f"{alias}: {spec}" for alias, spec in sorted(specs.items())) or "none"
    if "" in columns:
        if len(specs) != 1:
            raise SignatureError(f"which {what} is column {columns['']!r}? Give columns by alias; there are: {listed}")
        return {next(iter(specs)): columns[""]}
    for alias in columns:
        if alias not in specs:
            raise SignatureError(f"there is no {what} {alias!r}; there are: {listed}")
    return dict(columns)


class Table:
    """A batch of rows, of either kind.

    Args:
        batch: a mapping from column to values, or a pandas frame.

    Raises ConfigError for what is neither, and for columns of different lengths.
    """

    def __init__(self, batch: Any) -> None:
        self._batch = batch
        self._frame = not isinstance(batch, Mapping)
        if self._frame and not (hasattr(batch, "columns") and hasattr(batch, "assign")):
            raise ConfigError(
                f"expected a batch as a mapping from column to array, or a pandas frame, got {type(batch).__name__}; "
                "batch_format='numpy' gives such a mapping in Ray"
            )
        lengths = {len(batch)} if self._frame else {len(values) for values in batch.values()}
        if len(lengths) != 1:
            raise ConfigError(f"expected columns of one length, got {sorted(lengths) or 'no columns'}")
        self.count = lengths.pop()

    def column(self, name: str) -> Array:
        """The values of a column, by position; None where a row is missing.

        Raises ConfigError for a column that is not there, which lists the columns, or is there twice.
        """
        if name not in self._batch:
            raise ConfigError(f"the batch has no column {name!r}; its columns: {', '.join(map(str, self._batch))}")
        if self._frame and list(self._batch.columns).count(name) > 1:
            raise ConfigError(f"the batch has more than one column {name!r}")
        values = self._batch[name]
        if isinstance(values, np.ndarray):
            return values
        try:
            rows = containers.rows(values)
        except EncodeError as error:
            raise ConfigError(f"column {name!r} of the batch: {error}") from error
        return rows if isinstance(rows, np.ndarray) else _as_objects(rows)

    def extended(self, columns: Mapping[str, Array], keep: Sequence[str] | None) -> Any:
        """The batch with more columns, of its own kind; of those it had, only the ones to ``keep``, if given."""
        for name in keep or ():
            if name not in self._batch:
                raise ConfigError(f"there is no column {name!r} to keep: {', '.join(map(str, self._batch))}")
        if not self._frame:
            return {name: self._batch[name] for name in (self._batch if keep is None else keep)} | dict(columns)
        kept = self._batch if keep is None else self._batch[list(keep)]
        # A frame has one value in a cell, which may be an array.
        return kept.assign(**{name: array if array.ndim == 1 else list(array) for name, array in columns.items()})


def _as_objects(values: Iterable[Any]) -> Array:
    rows = list(values)
    array = np.empty(len(rows), object)
    for index, row in enumerate(rows):
        array[index] = row
    return array


def tensor(values: Array, spec: TensorSpec, alias: str) -> Rows:
    """A column as an input: one array with a row each; or, where rows differ in shape, or some do not fit, a list."""
    if values.dtype.kind != "O" or spec.row is STRING:
        try:
            return fitting(values, spec, alias)
        except (SignatureError, EncodeError):
            pass  # perhaps only some rows are to blame
    rows = [_row(value, spec, alias) for value in values]
    good = [row for row in rows if isinstance(row, np.ndarray)]
    return np.stack(good) if len(good) == len(rows) and len({row.shape for row in good}) == 1 else rows


def unfit(inputs: Mapping[str, Rows], count: int) -> list[TFServingError | None]:
    """For each row of a table why it cannot be sent; None when it can."""
    errors: list[TFServingError | None] = [None] * count
    for rows in inputs.values():
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            if isinstance(row, TFServingError):
                errors[index] = errors[index] or SignatureError(f"{row} (row {index} of the batch)")
    return errors


def _row(value: Any, spec: TensorSpec, alias: str) -> Array | TFServingError:
    try:
        if isinstance(value, np.ndarray) and value.dtype == object and spec.row is not STRING:
            value = value.tolist()  # of arrays: engines nest what has several axes
        return fitting(value, spec, alias)
    except (SignatureError, EncodeError) as error:
        return error


def fitting(values: Any, spec: TensorSpec, alias: str) -> Array:
    """Values in the dtype of an input. Tables have numbers of 64 bits where models have 32: those are cast.

    Raises SignatureError for numbers of another kind, and those that are too large; EncodeError for no tensor.
    """
    numbers = isinstance(values, (np.ndarray, np.generic)) and values.dtype.kind in "biufc"
    if not (numbers and isinstance(spec.dtype, np.dtype) and np.can_cast(values.dtype, spec.dtype, "same_kind")):
        column = spec.cast(values, alias)
        check_strings(column)  # tables have None, or NaN, where a text is missing
        return column
    array = np.asarray(values)
    if array.dtype.kind == spec.dtype.kind == "f":
        return spec.cast_lossless(array, alias)
    cast = array.astype(spec.dtype, copy=False)
    if spec.dtype.kind in "iu" and not np.array_equal(cast, array):
        raise SignatureError(f"input {alias!r} takes {spec}, got numbers from {array.min()} to {array.max()}")
    return cast


def whole(prediction: Prediction, alias: str, count: int) -> Array:
    """An output as a column. Raises SignatureError unless it has a row for each, DecodeError where it is overstated."""
    array = prediction[alias]
    extents.check_copy(array, f"output {alias!r}")
    if not array.ndim or len(array) != count:
        raise SignatureError(
            f"output {alias!r} has no row for each of the {count} rows sent, its shape is {array.shape}; name the "
            "others with outputs="
        )
    return array


def kept(outcome: Prediction | TFServingError, aliases: Iterable[str]) -> Prediction | TFServingError:
    """The outcome of a row; an error where an output is too large to copy for what it holds."""
    try:
        if isinstance(outcome, Prediction):
            for alias in aliases:
                extents.check_copy(outcome[alias], f"output {alias!r}")
    except DecodeError as error:
        return error
    return outcome


def gathered(outcomes: Sequence[Prediction | TFServingError], alias: str, spec: TensorSpec) -> Array:
    """An output of many rows as a column. Rows that failed hold NaN, 0, False or b""; dtype and shape stay."""
    good = {index: outcome[alias] for index, outcome in enumerate(outcomes) if isinstance(outcome, Prediction)}
    shapes = {row.shape for row in good.values()} or {tuple(size or 0 for size in (spec.shape or ())[1:])}
    dtype = next(iter(good.values())).dtype if good else np.dtype(spec.dtype if spec.row.spec is not None else object)
    blank = b"" if dtype.kind == "O" else np.nan if dtype.kind in "fc" else 0
    if len(shapes) > 1:
        axes = len(next(iter(shapes)))
        return _as_objects(good.get(index, np.empty((0,) * axes, dtype)) for index in range(len(outcomes)))
    shape = shapes.pop()
    try:
        column: Array = np.full((len(outcomes), *shape), blank, dtype)
    except (MemoryError, ValueError) as error:
        raise unreadable(f"output {alias!r} as a column of {len(outcomes)} rows of {shown(shape)}", error) from error
    for index, row in good.items():
        column[index] = row[()] if dtype.kind == "O" and not row.ndim else row
    return column


def error_texts(outcomes: Sequence[Prediction | TFServingError]) -> Array:
    """What went wrong in each row; "" where nothing did."""
    return _as_objects("" if isinstance(outcome, Prediction) else _text(outcome) for outcome in outcomes)


def _text(error: TFServingError) -> str:
    return f"{error.code.name}: {error.details}" if isinstance(error, CallError) else str(error)
