"""Classification: the best classes of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Class:
    """A class of a picture.

    Attributes:
        label: its name, "class 7" without one.
        score: its probability or score.
        number: its position in the model's output; None where the model itself returns names.
    """

    label: str
    score: float
    number: int | None = None


@dataclass(frozen=True)
class Classification:
    """The best classes of a picture.

    Attributes:
        classes: best first.
        probabilities: whether the scores are probabilities: from 0 to 1, with the sum 1 over all classes.
        output: the alias of the output.
    """

    classes: Sequence[Class]
    probabilities: bool
    output: str
