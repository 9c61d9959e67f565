"""The dtypes and shapes of the arrays that ``empty`` makes, from what the user states or from a signature."""

from __future__ import annotations

import operator
from collections.abc import Mapping

from tfs_client._codec.dtypes import ArrayShape, DType, find
from tfs_client._printable import shown
from tfs_client.errors import EncodeError, SignatureError, TFServingError
from tfs_client.signatures import Signature, TensorSpec

_PAIR = "a pair of shape and dtype, such as ((32, 224, 224, 3), 'uint8')"


def checked_rows(rows: object) -> int | None:
    """Return the number of rows. Raises EncodeError."""
    if rows is None:
        return None
    try:
        number = -1 if isinstance(rows, bool) else operator.index(rows)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < 0:
        raise EncodeError(f"expected rows= as a number of rows, got {shown(rows)}")
    return number


def stated_shapes(inputs: object, rows: int | None) -> dict[str, ArrayShape]:
    """Return what a mapping from alias to (shape, dtype), or to TensorSpec, states. Raises EncodeError."""
    if not isinstance(inputs, Mapping):
        raise EncodeError(f"expected a mapping from input alias to {_PAIR}, got {shown(inputs)}")
    found = {}
    for alias, stated in inputs.items():
        if not isinstance(alias, str):
            raise EncodeError(f"expected the name of an input as text, got {shown(alias)}")
        if isinstance(stated, TensorSpec):
            found[alias] = _by_spec(alias, stated, rows)
            continue
        if not isinstance(stated, (tuple, list)) or len(stated) != 2:
            raise EncodeError(f"input {alias!r}: expected {_PAIR}, got {shown(stated)}")
        shape, dtype = stated
        try:
            sizes = tuple(operator.index(size) for size in shape)
        except TypeError:
            is_open = isinstance(shape, (tuple, list)) and any(size is None for size in shape)
            advice = "; use TensorSpec for open sizes" if is_open else ""
            raise EncodeError(
                f"input {alias!r}: expected a shape as a tuple of sizes, got {shown(shape)}{advice}"
            ) from None
        if any(size < 0 for size in sizes):
            raise EncodeError(f"input {alias!r}: expected a shape without negative sizes, got {shown(sizes)}")
        try:
            found[alias] = ArrayShape(_writable(find(dtype)), sizes)
        except TFServingError as error:
            raise EncodeError(f"input {alias!r}: {error}") from error.__cause__
    if rows is not None and not any(isinstance(stated, TensorSpec) for stated in inputs.values()):
        raise EncodeError(
            f"expected rows= only with shapes that leave it open, got rows={rows} and the shapes themselves"
        )
    return found


def signature_shapes(signature: Signature, rows: int | None) -> dict[str, ArrayShape]:
    """Return the inputs that a signature requires. Raises SignatureError for sizes that nothing states."""
    return {alias: _by_spec(alias, signature.inputs[alias], rows) for alias in signature.required}


def _by_spec(alias: str, spec: TensorSpec, rows: int | None) -> ArrayShape:
    stated = spec.shape
    if stated is not None and stated and stated[0] is None and rows is not None:
        stated = (rows, *stated[1:])
    if stated is not None and stated and rows is not None and stated[0] != rows:
        raise SignatureError(f"input {alias!r} expects {spec}: expected rows={stated[0]}, got rows={rows}")
    if stated is None or None in stated:
        missing = "the number of rows: pass rows=" if stated and None not in stated[1:] else "every size"
        advice = "" if missing.endswith("rows=") else f": pass a mapping from alias to {_PAIR}"
        raise SignatureError(f"input {alias!r} expects {spec}, which does not state {missing}{advice}")
    try:
        return ArrayShape(_writable(spec.row), tuple(size for size in stated if size is not None))
    except TFServingError as error:
        raise SignatureError(f"input {alias!r} expects {spec}: {error}") from error.__cause__


def _writable(row: DType) -> DType:
    """Check that numpy has the dtype, and a tensor too. Raises TFServingError."""
    _ = row.dtype
    if row.field is None:
        raise EncodeError(f"{row.name} tensors cannot be written")
    return row
