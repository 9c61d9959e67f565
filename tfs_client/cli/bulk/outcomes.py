"""What becomes of a picture: a row of results, or a failure. And which errors are no picture's but the run's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfs_client.error_meanings import Meaning, meaning_of
from tfs_client.errors import CallError, DecodeError, ImageError, StatusCode, TFServingError
from tfs_client.results import ModelVersion

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Row:
    """The results of a picture.

    Attributes:
        image: the picture's name, as it was listed.
        model: the version that answered.
        outputs: arrays by alias, without the batch axis.
    """

    image: str
    model: ModelVersion
    outputs: Mapping[str, Array]


@dataclass(frozen=True)
class Failed:
    """A picture that has no results, and why."""

    image: str
    error: TFServingError

    @property
    def text(self) -> str:
        """What was wrong, in one line."""
        error = self.error
        said = f"{error.code.name}: {error.details}" if isinstance(error, CallError) else str(error)
        return " ".join(said.split())


Outcome = Row | Failed


def fails_alone(error: TFServingError) -> bool:
    """Whether an error concerns its picture only. Any other would meet the next pictures too, and ends the run."""
    if not isinstance(error, CallError):
        return isinstance(error, (ImageError, DecodeError)) or isinstance(error.__cause__, MemoryError)
    if error.code is StatusCode.UNIMPLEMENTED:
        return False
    return error.code is StatusCode.ABORTED or meaning_of(error) in (Meaning.INPUTS, Meaning.TOO_LARGE)
