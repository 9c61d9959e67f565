"""Recovery: what happens to the rows of a request that failed."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TypeVar

from tfs_client._transports.error_meanings import Meaning, meaning_of, row_limit
from tfs_client.errors import CallError, TFServingError

Failure = TypeVar("Failure", bound=BaseException)


@dataclass(frozen=True)
class FewerRows:
    """Send the rows in smaller requests: the server does not accept so many at once.

    Attributes:
        most: how many rows a request may have.
        always: whether that limit is permanent; otherwise it may depend on the moment, or on the size of the rows.
    """

    most: int
    always: bool


@dataclass(frozen=True)
class RetryLater:
    """Send the rows again later: the server is busy.

    Attributes:
        seconds: how long the server asks to wait; None if it does not say.
    """

    seconds: float | None


@dataclass(frozen=True)
class SplitRows:
    """Send the rows in halves to find the faulty one: the server refuses at least one of them."""


@dataclass(frozen=True)
class GiveUp:
    """Fail all rows: the error is not about single rows, and sending again does not help."""


Recovery = FewerRows | RetryLater | SplitRows | GiveUp


def recovery_from(error: BaseException, rows: int) -> Recovery:
    """The recovery from an error of a request with ``rows`` rows."""
    meaning = meaning_of(error)
    if meaning is Meaning.TOO_LARGE:
        limit = row_limit(error)
        if limit is not None:
            return FewerRows(limit, always=True) if limit < rows else GiveUp()
        return FewerRows(rows // 2, always=False) if rows > 1 else GiveUp()
    if meaning is Meaning.BUSY:
        return RetryLater(error.retry_after if isinstance(error, CallError) else None)
    # A mismatch with the signature applies to all rows, because all rows of a request have the same dtypes and shapes.
    if meaning is Meaning.INPUTS and isinstance(error, TFServingError) and not error.mismatch:
        return SplitRows()
    return GiveUp()


def with_place(error: TFServingError, place: str) -> TFServingError:
    """A copy of the error that also says which rows it is about."""
    own = own_copy(error)
    if isinstance(own, CallError):
        own.hint = f"{own.hint}\n{place}".strip()
    elif own.args:
        own.args = (f"{own.args[0]} ({place})", *own.args[1:])
    return own


def own_copy(error: Failure) -> Failure:
    """A copy of an error, because everyone who raises an error adds a traceback to it.

    An error that cannot be copied, such as one of a user's class, is returned itself.
    """
    try:
        copied = copy(error)
    except Exception:
        return error
    if type(copied) is not type(error):
        return error
    copied.__cause__, copied.__context__ = error.__cause__, error.__context__
    copied.__suppress_context__ = error.__suppress_context__
    return copied
