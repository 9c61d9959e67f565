"""Detections: the objects in a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tfs_client.images.geometry import Size
from tfs_client.images.masks import Mask


@dataclass(frozen=True)
class Detection:
    """An object in a picture.

    Attributes:
        label: its name, "class 7" without one.
        score: from 0 to 1.
        number: its class, as the model returned it.
        box: left, top, right and bottom edge in pixels of the picture, turned upright.
        mask: the object's pixels; None if the model returns none.
    """

    label: str
    score: float
    number: int
    box: tuple[float, float, float, float]
    mask: Mask | None = None


@dataclass(frozen=True)
class Detections:
    """The objects in a picture.

    Attributes:
        items: best first.
        size: width and height of the picture, turned upright.
        layout: the name of the decoder.
    """

    items: Sequence[Detection]
    size: Size
    layout: str

    def __iter__(self) -> Iterator[Detection]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
