"""What tfs-predict prints of a prediction: labels with scores, a map's shares, or the tensors themselves."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfs_client.codec import extents
from tfs_client.results import Prediction
from tfs_client.shown import bounded

Array = np.ndarray[Any, Any]

LONGEST_LABEL = 400  # bytes; longer ones are cut where people read them
MAP_SIDE = 8  # pixels; a smaller array of integers is no segmentation map


def top(prediction: Mapping[str, Array], count: int, labels: Sequence[str]) -> list[tuple[str, float]]:
    """The best labels with their scores; empty when the outputs are not of that kind.

    A classification is a pair of outputs of one shape, strings and floats, or one row of floats, whose positions
    are the classes.
    """
    sound = {alias: array for alias, array in prediction.items() if not extents.is_overstated(array)}
    texts = {alias: array for alias, array in sound.items() if array.dtype.kind == "O"}
    floats = {alias: array for alias, array in sound.items() if array.dtype.kind == "f"}
    for names in texts.values():
        for scores in floats.values():
            if names.shape == scores.shape and scores.ndim in (1, 2) and scores.size:
                row, found = _first_row(scores), _first_row(names)
                return [(text(found[index]), float(row[index])) for index in _best(row, count)]
    vectors = [array for array in floats.values() if array.ndim == 2 and array.shape[0] == 1 and array.shape[1] > 1]
    if len(vectors) == 1 and vectors[0].size:
        row = _first_row(vectors[0])
        return [
            (labels[index] if index < len(labels) else f"class {index}", float(row[index]))
            for index in _best(row, count)
        ]
    return []


def _first_row(array: Array) -> Array:
    return array[0] if array.ndim == 2 else array


def _best(scores: Array, count: int) -> list[int]:
    wide = scores.astype(np.float64 if scores.dtype.itemsize > 4 else np.float32)
    order: list[int] = np.argsort(-wide, kind="stable")[:count].tolist()
    return order


def label_map(prediction: Prediction, size: tuple[int, int] | None = None) -> Array | None:
    """The first output that is a map of labels, (height, width) integers; None when there is none.

    Scores per pixel and class, as some segmentation models give them, count too: the best class wins.

    Args:
        size: the width and height that a map must have, for arrays may be anything; None takes what could be one.
    """
    maps = (found for array in prediction.values() if (found := _as_map(array, guess=size is None)) is not None)
    return next((found for found in maps if size is None or found.shape == size[::-1]), None)


def _as_map(array: Array, *, guess: bool) -> Array | None:
    if extents.is_overstated(array):
        return None
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim in (2, 3) and array.dtype.kind in "iub" and min(array.shape[-2:]) >= MAP_SIDE:
        return (array[0] if array.ndim == 3 else array).astype(np.int64)
    # Up to four channels may be another picture.
    if (
        array.ndim == 4
        and array.dtype.kind == "f"
        and min(array.shape[1:3]) >= MAP_SIDE
        and (guess or array.shape[3] > 4)
    ):
        best: Array = array[0].argmax(axis=-1)
        return best
    return None


def shares(labels: Array, names: Sequence[str], count: int) -> list[tuple[str, float]]:
    """What part of a map each label takes, largest first."""
    found, counts = np.unique(labels, return_counts=True)
    pairs = sorted(zip(found.tolist(), (counts / labels.size).tolist(), strict=True), key=lambda pair: -pair[1])
    return [(names[label] if 0 <= label < len(names) else f"label {label}", share) for label, share in pairs[:count]]


def for_people(
    prediction: Prediction, *, count: int, labels: Sequence[str], size: tuple[int, int] | None = None
) -> str:
    """The lines to print; ``size`` is that of the picture that was sent."""
    model = prediction.model
    lines = [f"{model}, signature {model.signature or 'serving_default'}"]
    rows = top(prediction, count, labels)
    percent = False
    if not rows and size is not None and (found := label_map(prediction, size)) is not None:
        lines.append(f"segmentation map, {found.shape[1]} x {found.shape[0]}")
        rows, percent = shares(found, labels, count), True
    rows = [(in_a_line(name), value) for name, value in rows]
    width = max((len(name) for name, _ in rows), default=0)
    lines += [f"  {name:<{width}}  {f'{value:6.1%}' if percent else f'{value:.4f}'}" for name, value in rows]
    if not rows:
        lines += repr(prediction).splitlines()[1:]
    lines.append(str(prediction.timing))
    return "\n".join(lines)


def in_a_line(name: str) -> str:
    """A label as it stands in a line of its own, whatever a server or a file has called it."""
    return bounded(name, LONGEST_LABEL).replace("\n", "\\n").replace("\t", "\\t")


def for_machines(prediction: Prediction, *, count: int, labels: Sequence[str]) -> dict[str, Any]:
    """Everything as values for JSON. Non-finite floats become null; bytes that are no text become {"b64": …}."""
    model, timing = prediction.model, prediction.timing
    return {
        "model": model.name,
        "version": model.version,
        "signature": model.signature or "serving_default",
        "top": [{"label": label, "score": score} for label, score in top(prediction, count, labels)],
        "outputs": outputs_for_machines(prediction),
        "milliseconds": {
            "encode": timing.encode * 1e3,
            "wait": timing.wait * 1e3,
            "decode": timing.decode * 1e3,
        },
    }


def outputs_for_machines(outputs: Mapping[str, Array]) -> dict[str, Any]:
    """Outputs as values for JSON. Raises DecodeError for those that hold next to nothing of what they declare."""
    return {
        alias: {
            "dtype": "string" if array.dtype.kind == "O" else str(array.dtype),
            "shape": list(array.shape),
            "values": plain(array, alias),
        }
        for alias, array in outputs.items()
    }


def plain(array: Array, alias: str) -> Any:
    """An array as a value for JSON. Raises DecodeError for one that holds next to nothing of what it declares."""
    extents.check_lists(array, f"output {alias!r}")
    if array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool(np.isfinite(array).all())):
        return array.tolist()  # most are of this kind, and some are large
    return _plain(array.tolist())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": b2a_base64(value, newline=False).decode()}
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def text(value: Any) -> str:
    """A string element for people."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
