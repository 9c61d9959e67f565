"""Conversion of a table's columns to a model's inputs, and of its outputs to columns.

A table is what engines pass to a function: a mapping from column to values, one per row, or a pandas frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfs_client._codec import containers, expansion
from tfs_client._codec.dtypes import STRING, Array
from tfs_client._codec.values import check_strings
from tfs_client._printable import shown
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
from tfs_client.signatures import TensorSpec

Rows = Array | list[Array | TFServingError]  # an array with all rows, or a list of rows and of errors of single rows
Names = str | Iterable[str] | Mapping[str, str]
"""Columns: that of the only tensor, those of tensors of the same names, or columns by alias."""


def by_alias(names: Names, what: str) -> dict[str, str]:
    """Return the column of each alias. For a single name the alias, that of the only tensor, is "".

    Raises ConfigError.
    """
    if isinstance(names, str):
        found = {"": names}
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
    """Return columns by alias, with the only tensor's alias filled in. Raises SignatureError for unknown aliases."""
    listed = ", ".join(f"{alias}: {spec}" for alias, spec in sorted(specs.items())) or "none"
    if "" in columns:
        if len(specs) != 1:
            raise SignatureError(
                f"expected a model with one {what} for the single column {columns['']!r}; its {what}s: {listed}. "
                "Give columns by alias"
            )
        return {next(iter(specs)): columns[""]}
    for alias in columns:
        if alias not in specs:
            raise SignatureError(f"the model has no {what} {alias!r}; its {what}s: {listed}")
    return dict(columns)


class Table:
    """A batch of rows: a mapping from column to values, or a pandas frame.

    Raises ConfigError for a batch of another type, and for columns of different lengths.
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
        self.count: int = lengths.pop()

    def column(self, name: str) -> Array:
        """Return the values of a column, by position; None where a row has no value.

        Raises ConfigError for a missing column, with a list of the columns, and for a name that two columns have.
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
        """Return a batch of the same type with ``columns`` added, and without columns that are not to ``keep``."""
        for name in keep or ():
            if name not in self._batch:
                raise ConfigError(
                    f"the batch has no column {name!r} to keep; its columns: {', '.join(map(str, self._batch))}"
                )
        if not self._frame:
            return {name: self._batch[name] for name in (self._batch if keep is None else keep)} | dict(columns)
        kept = self._batch if keep is None else self._batch[list(keep)]
        # A cell of a frame holds one value, which may be an array.
        return kept.assign(**{name: array if array.ndim == 1 else list(array) for name, array in columns.items()})


def _as_objects(values: Iterable[object]) -> Array:
    rows = list(values)
    array = np.empty(len(rows), object)
    for index, row in enumerate(rows):
        array[index] = row
    return array


def tensor(values: Array, spec: TensorSpec, alias: str) -> Rows:
    """Convert a column to an input: one array, or a list where rows differ in shape or some do not fit the input."""
    if values.dtype.kind != "O" or spec.row is STRING:
        try:
            return fitting(values, spec, alias)
        except (SignatureError, EncodeError):
            pass  # only some rows may be invalid
    rows = [_row(value, spec, alias) for value in values]
    good = [row for row in rows if isinstance(row, np.ndarray)]
    return np.stack(good) if len(good) == len(rows) and len({row.shape for row in good}) == 1 else rows


def row_errors(inputs: Mapping[str, Rows], count: int) -> list[TFServingError | None]:
    """Return for each row of a table why it cannot be sent; None if it can."""
    errors: list[TFServingError | None] = [None] * count
    for rows in inputs.values():
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            if isinstance(row, TFServingError):
                errors[index] = errors[index] or SignatureError(f"{row} (row {index} of the batch)")
    return errors


def _row(value: object, spec: TensorSpec, alias: str) -> Array | TFServingError:
    try:
        if isinstance(value, np.ndarray) and value.dtype == object and spec.row is not STRING:
            value = value.tolist()  # of arrays: engines nest values that have several axes
        return fitting(value, spec, alias)
    except (SignatureError, EncodeError) as error:
        return error


def fitting(values: object, spec: TensorSpec, alias: str) -> Array:
    """Convert values to the dtype of an input. Tables have 64-bit numbers where models have 32-bit ones: cast them.

    Raises SignatureError for numbers of another kind or out of range, EncodeError for values that are not a tensor.
    """
    if not (
        isinstance(values, (np.ndarray, np.generic))
        and values.dtype.kind in "biufc"
        and isinstance(spec.dtype, np.dtype)
        and np.can_cast(values.dtype, spec.dtype, "same_kind")
    ):
        column = spec.cast(values, alias)
        check_strings(column)  # a missing string is None or NaN in a table
        return column
    array = np.asarray(values)
    if array.dtype.kind == spec.dtype.kind == "f":
        return spec.cast_lossless(array, alias)
    cast = array.astype(spec.dtype, copy=False)
    if spec.dtype.kind in "iu" and not np.array_equal(cast, array):
        raise SignatureError(f"input {alias!r} expects {spec}, got numbers from {array.min()} to {array.max()}")
    return cast


def checked_output(prediction: Prediction, alias: str, count: int) -> Array:
    """Return an output as a column of ``count`` rows.

    Raises SignatureError for another number of rows, DecodeError for an output that declares more than it holds.
    """
    array = prediction[alias]
    expansion.check_copy(array, f"output {alias!r}")
    if not array.ndim or len(array) != count:
        raise SignatureError(
            f"expected a row of output {alias!r} for each of the {count} rows sent, got shape {array.shape}; select "
            "the other outputs with outputs="
        )
    return array


def checked_outcome(outcome: Prediction | TFServingError, aliases: Iterable[str]) -> Prediction | TFServingError:
    """Return the outcome of a row; an error instead if an output declares more than it holds."""
    try:
        if isinstance(outcome, Prediction):
            for alias in aliases:
                expansion.check_copy(outcome[alias], f"output {alias!r}")
    except DecodeError as error:
        return error
    return outcome


def output_column(outcomes: Sequence[Prediction | TFServingError], alias: str, spec: TensorSpec) -> Array:
    """Collect an output of many rows in a column.

    Failed rows hold NaN, 0, False or b"", so that the column keeps its dtype and shape.
    """
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
    """Return the error of each row as text; "" for rows without an error."""
    return _as_objects("" if isinstance(outcome, Prediction) else _text(outcome) for outcome in outcomes)


def _text(error: TFServingError) -> str:
    return f"{error.code.name}: {error.details}" if isinstance(error, CallError) else str(error)
