"""Verdicts: what the failure of a request means for the rows in it."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass
from typing import TypeVar

from tfs_client.errors import (
    CallError,
    DataLossError,
    DecodeError,
    EncodeError,
    InternalError,
    InvalidArgumentError,
    OutOfRangeError,
    ResourceExhaustedError,
    SignatureError,
    TFServingError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
)

Failure = TypeVar("Failure", bound=BaseException)

# The batching server's texts (batching/streaming_batch_scheduler.h, shared_batch_scheduler.h in TensorFlow).
_TOO_MANY_ROWS = re.compile(r"Task size \d+ is larger than maximum input batch size (\d+)")
_QUEUE_FULL = "The batch scheduling queue to which this task was submitted is full"

# Whatever row it is that brings these about, the others in the request need not share its fate.
_BLAMES_A_ROW = (
    InvalidArgumentError,
    InternalError,
    UnknownError,
    OutOfRangeError,
    DataLossError,
    UnimplementedError,
    EncodeError,
    DecodeError,
    SignatureError,
)


@dataclass(frozen=True)
class TooLarge:
    """The request has more rows than the server takes.

    Attributes:
        most: rows that are welcome.
        always: whether it never takes more; else it may at another time, or of rows of another size.
    """

    most: int
    always: bool


@dataclass(frozen=True)
class Busy:
    """The server has too many requests. It wants to be left alone for ``seconds``; None when it does not say."""

    seconds: float | None


@dataclass(frozen=True)
class Blamed:
    """A row is at fault, and perhaps only one."""


@dataclass(frozen=True)
class Lost:
    """It concerns the request as a whole."""


Verdict = TooLarge | Busy | Blamed | Lost


def judge(error: BaseException, rows: int) -> Verdict:
    """What an error means for a request of so many rows."""
    if isinstance(error, InvalidArgumentError) and (limit := _TOO_MANY_ROWS.search(error.details)):
        most = int(limit[1])
        return TooLarge(most, always=True) if 0 < most < rows else Lost()
    if isinstance(error, UnavailableError) and _QUEUE_FULL in error.details:
        return Busy(error.retry_after)
    if isinstance(error, (UnavailableError, ResourceExhaustedError)) and error.retry_after is not None:
        return Busy(error.retry_after)
    if isinstance(error, ResourceExhaustedError):  # of memory, or of the bytes that a message may have
        return TooLarge(rows // 2, always=False) if rows > 1 else Lost()
    if isinstance(error, _BLAMES_A_ROW) and not error.mismatch:  # else all rows are at fault, for they are of one kind
        return Blamed()
    return Lost()


def with_place(error: TFServingError, place: str) -> TFServingError:
    """A copy of the error that tells which rows it is about."""
    own = own_copy(error)
    if isinstance(own, CallError):
        own.hint = f"{own.hint}\n{place}".strip()
    elif own.args:
        own.args = (f"{own.args[0]} ({place})", *own.args[1:])
    return own


def own_copy(error: Failure) -> Failure:
    """The same error as an object of its own, for everyone who raises one adds a traceback to it.

    An error that cannot be copied, such as one of a user's own class, is returned as it is.
    """
    try:
        twin = copy(error)
    except Exception:
        return error
    if type(twin) is not type(error):
        return error
    twin.__cause__, twin.__suppress_context__ = error.__cause__, error.__suppress_context__
    return twin
