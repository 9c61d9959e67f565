"""Verdicts: what the failure of a request means for the rows in it."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TypeVar

from tfs_client.error_meanings import Meaning, meaning_of, row_limit
from tfs_client.errors import CallError, TFServingError

Failure = TypeVar("Failure", bound=BaseException)


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
    meaning = meaning_of(error)
    if meaning is Meaning.TOO_LARGE:
        limit = row_limit(error)
        if limit is not None:
            return TooLarge(limit, always=True) if limit < rows else Lost()
        return TooLarge(rows // 2, always=False) if rows > 1 else Lost()
    if meaning is Meaning.BUSY:
        return Busy(error.retry_after if isinstance(error, CallError) else None)
    # What is of another kind than the signature's concerns all rows, for they are of one kind.
    if meaning is Meaning.INPUTS and isinstance(error, TFServingError) and not error.mismatch:
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
