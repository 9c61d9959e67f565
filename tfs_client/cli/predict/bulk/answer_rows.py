"""The rows of an answer, the same in all formats: a row per picture, or one per detection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tfs_client.cli.predict.report import DECIMALS
from tfs_client.errors import EncodeError
from tfs_client.images import Answer, Classification, Detections, Segmentation

DETECTION = ("number", "count", "label", "class", "score")
EDGES = ("left", "top", "right", "bottom")  # in pixels of the picture


@dataclass(frozen=True)
class DetectionRow:
    """A detection as a row.

    Attributes:
        number: from 1; 0 if the picture has none.
        count: the number of detections of the picture.
        label, class_, score: None if the picture has none.
        box: left, top, right and bottom edge in pixels; None if the picture has none.
    """

    number: int
    count: int
    label: str | None
    class_: int | None
    score: float | None
    box: tuple[float, float, float, float] | None

    @property
    def values(self) -> tuple[object, ...]:
        """The values of the columns ``DETECTION`` and ``EDGES``."""
        return (self.number, self.count, self.label, self.class_, self.score, *(self.box or (None,) * 4))


def detection_rows(found: Detections) -> Iterator[DetectionRow]:
    """Yield a row for each detection; a picture without any has a row, too, so that --resume knows it."""
    if not len(found):
        yield DetectionRow(0, 0, None, None, None, None)
    for number, one in enumerate(found, 1):
        left, top, right, bottom = (round(edge, DECIMALS) for edge in one.box)
        yield DetectionRow(number, len(found), one.label, one.number, one.score, (left, top, right, bottom))


def labelled(answer: Answer | None) -> list[tuple[str, float]]:
    """Return the labels of a picture with their scores or shares; empty for other answers."""
    if isinstance(answer, Classification):
        return [(one.label, one.score) for one in answer.classes]
    if isinstance(answer, Segmentation):
        return [(one.label, one.share) for one in answer.shares]
    return []


def kind_of(answer: Answer | None) -> str:
    """Return the kind of a row, which determines its columns."""
    if isinstance(answer, Detections):
        return "detections"
    return f"{value_name(answer)}s" if isinstance(answer, Classification | Segmentation) else "outputs"


def value_name(answer: Answer | None) -> str:
    """Return what the numbers next to labels are."""
    return "share" if isinstance(answer, Segmentation) else "score"


class OneKind:
    """Makes sure that all rows of a table have the same columns for answers.

    Attributes:
        kind: "scores", "shares", "detections", or "outputs" if rows have no labels; None before the first row.
    """

    def __init__(self, kind: str | None = None) -> None:
        self.kind: str | None = kind

    def check(self, answer: Answer | None) -> None:
        """Raise EncodeError for an answer of another kind than those before."""
        kind = kind_of(answer)
        if self.kind not in (None, kind):
            raise EncodeError(
                f"expected {self.kind} as in the rows before, got {kind}: --task says what the outputs of all pictures "
                "are"
            )
        self.kind = kind
