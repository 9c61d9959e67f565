"""The outcome of a picture: a row of results, or a failure. And which errors concern the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfs_client._codec.dtypes import Array
from tfs_client._transports.error_meanings import Meaning, meaning_of
from tfs_client.errors import CallError, DecodeError, ImageError, StatusCode, TFServingError
from tfs_client.results import ModelVersion


@dataclass(frozen=True)
class Row:
    """The results for a picture.

    Attributes:
        image: the picture's name, as it was listed.
        model: the version that answered.
        outputs: arrays by alias, without the batch axis.
        size: width and height of the picture, as the model's answers refer to it; None if they are unknown.
    """

    image: str
    model: ModelVersion
    outputs: Mapping[str, Array]
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Failed:
    """A picture without results, and the error."""

    image: str
    error: TFServingError

    @property
    def text(self) -> str:
        """The error in one line, without the picture's name at its beginning."""
        error, name = self.error, repr(self.image)
        if isinstance(error, CallError):
            text = f"{error.code.name}: {error.details}"
        else:
            text = str(error).removeprefix(f"{name}: ").removeprefix(f"{name} ")
            for what in ("cannot read", "cannot draw on"):
                if text.startswith(begin := f"{what} {name}: "):
                    text = f"{what} it: {text.removeprefix(begin)}"
        return " ".join(text.split())


Outcome = Row | Failed


def fails_alone(error: TFServingError) -> bool:
    """Whether an error concerns a single picture. Any other would recur for the next ones, so it ends the run."""
    if not isinstance(error, CallError):
        return isinstance(error, (ImageError, DecodeError)) or isinstance(error.__cause__, MemoryError)
    if error.code is StatusCode.UNIMPLEMENTED:
        return False
    return error.code is StatusCode.ABORTED or meaning_of(error) in (Meaning.INPUTS, Meaning.TOO_LARGE)
