"""The output of tfs-predict: the answer about a picture, or the tensors; as text and as JSON."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._printable import bounded
from tfs_client.results import Prediction

if TYPE_CHECKING:
    from tfs_client.images import Answer, Classification, Preparation

LONGEST_LABEL = 400  # bytes; longer labels are truncated in text output
FIRST_VALUES = 6  # of an embedding
DECIMALS = 3  # of a box in pixels


def for_people(prediction: Prediction, answer: Answer | None, line: str = "") -> str:
    """Return a prediction as text; ``line`` says what happened to the picture."""
    model = prediction.model
    lines = [f"{model}, signature {model.signature or 'serving_default'}"]
    lines += repr(prediction).splitlines()[1:] if answer is None else answer_lines(answer)
    lines += [line] if line else []
    lines.append(str(prediction.timing))
    return "\n".join(lines)


def answer_lines(answer: Answer) -> list[str]:
    """Return an answer as lines of text."""
    from tfs_client.images import Classification

    if isinstance(answer, Classification):
        rows = [(found.label, f"{found.score:.4f}") for found in answer.classes]
        return [*_columns(rows), _kind_of_scores(answer)]
    from tfs_client.images import Detections, Segmentation  # most processes need one kind

    if isinstance(answer, Detections):
        boxes = [(found.label, f"{found.score:.4f}", *map(_pixels, found.box)) for found in answer]
        if not boxes:
            return ["no detections"]
        return [
            f"{len(boxes)} detection{'s' * (len(boxes) != 1)} (label, score; left, top, right, bottom in pixels)",
            *_columns(boxes),
        ]
    if isinstance(answer, Segmentation):
        height, width = answer.map.shape
        rows = [(found.label, f"{found.share:6.1%}") for found in answer.shares]
        return [f"segmentation map, {width} x {height}", *_columns(rows)]
    first = " ".join(f"{value:.4f}" for value in answer.vector[:FIRST_VALUES].tolist())
    more = " ..." if answer.vector.size > FIRST_VALUES else ""
    return [f"embedding of {answer.vector.size} values, norm {answer.norm:.4f}", f"  {first}{more}"]


def _pixels(edge: float) -> str:
    return f"{edge:.1f}"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align rows of a label and numbers."""
    cells = [(in_a_line(label), *numbers) for label, *numbers in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        f"  {label:<{widths[0]}}  "
        + "  ".join(f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))
        for label, *numbers in cells
    ]


def _kind_of_scores(answer: Classification) -> str:
    if answer.probabilities:
        return "scores are probabilities"
    logits = any(not 0 <= found.score <= 1 and found.number is not None for found in answer.classes)
    return f"scores are not probabilities{' (--softmax turns logits into probabilities)' if logits else ''}"


def in_a_line(name: str) -> str:
    """Escape and truncate a label from a server or file so that it fits in one line."""
    return bounded(name, LONGEST_LABEL).replace("\n", "\\n").replace("\t", "\\t")


def for_machines(
    prediction: Prediction,
    answer: Answer | None,
    line: str = "",
    preparation: Preparation | None = None,
    assumed: Sequence[str] = (),
    draw: str | None = None,
) -> dict[str, object]:
    """Return a prediction for JSON; ``assumed`` are sentences about the answer, ``draw`` is the path of its drawing.

    Non-finite floats become null; bytes that are not UTF-8 become {"b64": …}.
    """
    model, timing = prediction.model, prediction.timing
    return {
        "model": model.name,
        "version": model.version,
        "signature": model.signature or "serving_default",
        **answer_for_machines(answer),
        "outputs": outputs_for_machines(prediction),
        "picture": line or None,
        "preparation": None if preparation is None else preparation_for_machines(preparation),
        "assumed": list(assumed),
        "draw": draw,
        "milliseconds": {
            "encode": timing.encode * 1e3,
            "wait": timing.wait * 1e3,
            "decode": timing.decode * 1e3,
        },
    }


def answer_for_machines(answer: Answer | None) -> dict[str, object]:
    """Return the members of a JSON object that an answer adds: "task", "top", and what the task has besides."""
    if answer is None:
        return {"task": None, "top": []}
    from tfs_client.images import Classification

    if isinstance(answer, Classification):
        return {
            "task": "classify",
            "top": [{"label": found.label, "score": _finite(found.score)} for found in answer.classes],
            "probabilities": answer.probabilities,
        }
    from tfs_client.images import Detections, Segmentation

    if isinstance(answer, Detections):
        items = [
            {
                "label": found.label,
                "class": found.number,
                "score": _finite(found.score),
                "box": [_finite(round(edge, DECIMALS)) for edge in found.box],
            }
            for found in answer
        ]
        return {"task": "detect", "top": [], "detections": items}
    if isinstance(answer, Segmentation):
        shares = [{"label": found.label, "class": found.number, "share": found.share} for found in answer.shares]
        return {"task": "segment", "top": [], "shares": shares}
    embedding = {"output": answer.output, "length": int(answer.vector.size), "norm": _finite(answer.norm)}
    return {"task": "embed", "top": [], "embedding": embedding}


def preparation_for_machines(preparation: Preparation) -> dict[str, object]:
    """Return the fields of a preparation for JSON."""
    found = {field.name: getattr(preparation, field.name) for field in fields(preparation)}
    return {
        name: list(value) if isinstance(value, tuple) else str(value) if isinstance(value, np.dtype) else value
        for name, value in found.items()
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def outputs_for_machines(outputs: Mapping[str, Array]) -> dict[str, object]:
    """Return outputs for JSON. Raises DecodeError for arrays that declare far more values than the reply held."""
    return {
        alias: {
            "dtype": "string" if array.dtype.kind == "O" else str(array.dtype),
            "shape": list(array.shape),
            "values": plain(array, alias),
        }
        for alias, array in outputs.items()
    }


def plain(array: Array, alias: str) -> object:
    """Return an array for JSON. Raises DecodeError for one that declares far more values than the reply held."""
    expansion.check_lists(array, f"output {alias!r}")
    if array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool(np.isfinite(array).all())):
        values: object = array.tolist()  # the common case, which may be large: no copy
        return values
    return _plain(array.tolist())


def _plain(value: object) -> object:
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


def text(value: object) -> str:
    """Return a string element as text."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
