"""The texts of exceptions from models' code: any exception must become an answer to the client."""

from __future__ import annotations

from tfs_client._printable import bounded
from tfs_client.errors import CallError

LONGEST = 1 << 16  # characters of an error's details, so that a reply does not contain a dump of the data


def text_of(error: BaseException) -> str:
    """Format an exception as ``ValueError: the text``, of bounded length."""
    return f"{type(error).__name__}: {message_of(error)}"


def message_of(error: BaseException) -> str:
    """Return the text of an exception, of bounded length."""
    try:
        return bounded(str(error))
    except BaseException:  # its __str__ may raise anything, too
        return "(its text cannot be shown)"


def details_of(error: CallError) -> str:
    """Return the details of an error as text; a model's code may pass any type and length."""
    details: object = error.details
    if isinstance(details, str):
        return details if len(details) <= LONGEST else bounded(details)
    return text_of(details) if isinstance(details, BaseException) else bounded(repr(details))
