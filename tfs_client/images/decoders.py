"""Decoder: reads one layout of outputs as an answer; and what answers should contain."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import ConfigError
from tfs_client.images.argument_checks import is_whole
from tfs_client.signatures import TensorSpec

if TYPE_CHECKING:
    from tfs_client.images.answers import Answer
    from tfs_client.images.geometry import Geometry
    from tfs_client.images.labels import Labels

TASKS = ("classify", "detect", "segment", "embed")
"""The kinds of answers, each a class: ``Classification``, ``Detections``, ``Segmentation``, ``Embedding``."""

Outputs = Mapping[str, Array]  # of one picture, without the batch axis
Specs = Mapping[str, TensorSpec]  # the same: shapes without the batch axis


@dataclass(frozen=True, init=False)
class AnswerOptions:
    """What answers should contain. None is for what is not given.

    Attributes:
        labels: class names; None without any.
        top: the number of classes or shares; by default 5.
        softmax: whether scores are logits that become probabilities.
        min_score: the least score of a detection; by default 0.25.
        max_detections: the largest number of detections; by default 100.
        iou: boxes of one class that overlap more than this are one object, where the model leaves that to its callers;
            by default 0.45.
        output: the alias of the output that is meant; "" leaves the choice to the decoder.
        given: the names of the options that are not defaults because an argument says so.

    Raises ConfigError for numbers out of range, and for values of another type.
    """

    labels: Labels | None
    top: int
    softmax: bool
    min_score: float
    max_detections: int
    iou: float
    output: str
    given: frozenset[str] = field(compare=False)

    def __init__(
        self,
        *,
        labels: Labels | None = None,
        top: int | None = None,
        softmax: bool = False,
        min_score: float | None = None,
        max_detections: int | None = None,
        iou: float | None = None,
        output: str = "",
    ) -> None:
        for name, count in (("top", top), ("max_detections", max_detections)):
            if count is not None and not (is_whole(count) and count > 0):
                raise ConfigError(f"expected {name} as a whole number above 0, got {shown(count)}")
        for name, part in (("min_score", min_score), ("iou", iou)):
            if part is not None and not (isinstance(part, Real) and not isinstance(part, bool) and 0 <= part <= 1):
                raise ConfigError(f"expected {name} from 0 to 1, got {shown(part)}")
        if not isinstance(softmax, (bool, np.bool_)):
            raise ConfigError(f"expected softmax as True or False, got {shown(softmax)}")
        if not isinstance(output, str):
            raise ConfigError(f"expected output as the alias of an output, got {shown(output)}")
        if labels is not None:
            _check_labels(labels)
        arguments = {
            "labels": labels,
            "top": top,
            "softmax": softmax or None,
            "min_score": min_score,
            "max_detections": max_detections,
            "iou": iou,
            "output": output or None,
        }
        given = {name: value for name, value in arguments.items() if value is not None}
        for name, value in {**_DEFAULTS, **given, "given": frozenset(given)}.items():
            object.__setattr__(self, name, value)

    def of_output(self, alias: str) -> AnswerOptions:
        """Return the options with the output that is meant."""
        found = copy(self)
        object.__setattr__(found, "output", alias)
        return found


_DEFAULTS: Mapping[str, object] = {
    "labels": None,
    "top": 5,
    "softmax": False,
    "min_score": 0.25,
    "max_detections": 100,
    "iou": 0.45,
    "output": "",
}


class Decoder(Protocol):
    """Reads one layout of outputs. ``register`` adds one to those that are known.

    A decoder may also have a method ``assumed(specs, options)``. It takes what ``classes`` does, and returns sentences:
    what neither the outputs nor the options decide and can make every answer wrong. ``AnswerReader.assumed`` has them.

    Attributes:
        name: of the layout, such as "yolov8".
        task: one of ``TASKS``.
    """

    @property
    def name(self) -> str: ...

    @property
    def task(self) -> str: ...

    def candidates(self, specs: Specs, size: tuple[int, int] | None, *, explicit: bool) -> list[str]:
        """Return the aliases that could be the outputs of this layout; empty if it is another layout.

        Args:
            specs: the outputs of one picture. None is a size that is not known before the answer.
            size: width and height of the tensor that was sent; None if pictures keep theirs.
            explicit: whether the caller asked for this task. Otherwise only outputs that can hardly be anything else
                should be recognised.
        """

    def classes(self, specs: Specs, size: tuple[int, int] | None, options: AnswerOptions) -> int | None:
        """Return the number of classes; None if the outputs do not show it.

        Args:
            specs: as for ``candidates``.
            size: as for ``candidates``.
            options: what the answer should contain.

        Raises ConfigError for options that contradict the layout. ``options.output`` is one of the candidates.
        """

    def decode(self, outputs: Outputs, geometry: Geometry, options: AnswerOptions) -> Answer:
        """Return the answer. Raises DecodeError for outputs that do not have the layout."""


def assumed_by(decoder: Decoder, specs: Specs, options: AnswerOptions) -> tuple[str, ...]:
    """Return what a decoder assumes, in sentences; empty if it has no such method."""
    assumed = getattr(decoder, "assumed", None)
    return () if assumed is None else tuple(assumed(specs, options))


def _check_labels(labels: object) -> None:
    from tfs_client.images.labels import Labels

    if not isinstance(labels, Labels):
        raise ConfigError(
            "expected labels as images.read_labels(path) or images.Labels(dict(enumerate(names))) returns them, got "
            f"{shown(labels)}"
        )


def specs_of(outputs: Outputs) -> dict[str, TensorSpec]:
    """Return the specs of arrays."""
    return {alias: TensorSpec(array.dtype, array.shape) for alias, array in outputs.items()}


def without_batch(specs: Specs) -> dict[str, TensorSpec]:
    """Return specs without their first axis."""
    return {alias: TensorSpec(spec.row, spec.shape[1:] if spec.shape else spec.shape) for alias, spec in specs.items()}
