"""Exceptions from models' code as texts: a client waits for an answer, whatever was raised."""

from __future__ import annotations

from tfs_client.errors import CallError
from tfs_client.shown import bounded

LONGEST = 1 << 16  # characters of an error's details; a reply should not contain a dump of the data


def text_of(error: BaseException) -> str:
    """``ValueError: the text``, of bounded length."""
    return f"{type(error).__name__}: {said(error)}"


def said(error: BaseException) -> str:
    """An exception's own text, of bounded length."""
    try:
        return bounded(str(error))
    except BaseException:  # its code may fail with anything, too
        return "(its text cannot be shown)"


def details_of(error: CallError) -> str:
    """The details of an error that a model's code chose, which may be of any type and length."""
    details: object = error.details
    if isinstance(details, str):
        return details if len(details) <= LONGEST else bounded(details)
    return text_of(details) if isinstance(details, BaseException) else bounded(repr(details))
