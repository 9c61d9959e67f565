"""The JSON of requests and replies."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, field_validator

Brightness = Annotated[float, Field(ge=0, le=1)]


class DigitRequest(BaseModel):
    """A grey picture: rows of brightness, from 0 (background) to 1 (ink). The model decides about its size."""

    pixels: Annotated[list[Annotated[list[Brightness], Field(max_length=64)]], Field(min_length=1, max_length=64)]

    @field_validator("pixels")
    @classmethod
    def _is_rectangle(cls, rows: list[list[float]]) -> list[list[float]]:
        if len({len(row) for row in rows}) > 1:
            raise ValueError("the rows have different lengths")
        return rows


class DigitReply(BaseModel):
    """The digit in the picture, how sure the model is, and which version of it answered."""

    digit: int
    probability: float
    version: int | None


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str
    message: str
    request_id: str


class ErrorReply(BaseModel):
    """The body of every reply that is an error."""

    error: ErrorDetail
