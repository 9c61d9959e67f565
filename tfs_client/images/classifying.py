"""``classify``: from a prediction to the best classes of a picture."""

from __future__ import annotations

from collections.abc import Mapping

from tfs_client._codec.dtypes import Array
from tfs_client.errors import DecodeError
from tfs_client.images.classes import Classification
from tfs_client.images.decoders import AnswerOptions, specs_of
from tfs_client.images.geometry import Geometry
from tfs_client.images.labels import Labels
from tfs_client.images.prediction_checks import check_index, check_outputs
from tfs_client.images.reading import AnswerReader

_NOWHERE = Geometry.of((1, 1), None)  # classes have no place in the picture


def classify(
    prediction: Mapping[str, Array],
    *,
    labels: Labels | None = None,
    top: int = 5,
    output: str = "",
    softmax: bool = False,
    index: int = 0,
) -> Classification:
    """Return the best classes of a picture.

    Args:
        prediction: the model's outputs, with or without the batch axis: floats, one per class; or strings and floats of
            the same shape. Outputs have a batch axis if one of them has two axes or more and the first axis of all has
            the same size.
        labels: class names, from ``read_labels``.
        top: the largest number of classes.
        output: the alias of the output that is meant, if several could be scores.
        softmax: whether the scores are logits, which become probabilities.
        index: the picture's place in the batch.

    Raises ConfigError for arguments of another type, if the outputs are not a classification, if several could be
    meant, for labels that do not fit the model, and for softmax of probabilities; DecodeError for NaN as every score.
    """
    options = AnswerOptions(labels=labels, top=top, output=output, softmax=softmax)
    rows = _of_one(prediction, index)
    found = AnswerReader(specs_of(rows), batch=False, task="classify", options=options)(rows, _NOWHERE)
    if not isinstance(found, Classification):
        raise DecodeError(f"expected a classification from the decoder, got {type(found).__name__}")
    return found


def _of_one(prediction: Mapping[str, Array], index: int) -> Mapping[str, Array]:
    """Return the outputs for one picture."""
    check_outputs(prediction)
    arrays = {alias: array for alias, array in prediction.items() if array.ndim}
    sizes = {len(array) for array in arrays.values()}
    has_batch = len(sizes) == 1 and any(array.ndim > 1 for array in arrays.values())
    count = sizes.pop() if has_batch else 1
    check_index(index, count)
    return {alias: array[index] if has_batch and alias in arrays else array for alias, array in prediction.items()}
