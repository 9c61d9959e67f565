"""Records of the log, written so that logging never changes what a call does."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

NOTHING: Mapping[str, object] = MappingProxyType({})
PREFIX = "tfs_"  # of an attribute whose name the program's own log records already have


def write(
    log: logging.Logger,
    level: int,
    text: str,
    *args: object,
    extra: Mapping[str, object] = NOTHING,
    error: BaseException | None = None,
) -> None:
    """Log a record, without raising an Exception.

    Programs replace the factory of log records, and their filters and handlers may fail. Such a failure is printed to
    standard error, as the logging module does with those of handlers.

    Args:
        log: the logger.
        level: the record's level.
        text, args: the message.
        extra: attributes of the record; one that the program's factory has set already gets the prefix ``tfs_``.
        error: its traceback goes with the record; None for no traceback.
    """
    if not log.isEnabledFor(level):
        return
    frame = sys._getframe(1)
    code = frame.f_code
    handled = sys.exc_info()[1]
    trace = None if error is None else (type(error), error, error.__traceback__)
    try:
        # The logger's own methods raise KeyError for an attribute that the record already has.
        record = log.makeRecord(
            log.name, level, code.co_filename, frame.f_lineno, text, args, trace, code.co_name, sinfo=None
        )
        attributes = vars(record)
        taken = {*attributes, "message", "asctime"}
        for name, value in extra.items():
            attributes.setdefault(PREFIX + name if name in taken else name, value)
        log.handle(record)
    except Exception as failure:
        with suppress(Exception):  # it may be of any class
            cut_context(failure, handled)
            _print(log.name, failure)


def cut_context(error: BaseException, handled: BaseException | None) -> None:
    """Remove the exception that was being handled when an error arose from those behind the error.

    The error of a call may quote a token or an input, and did not cause the failure of the hook or of the log.
    """
    left: list[BaseException] = [error]
    seen: set[int] = set()
    while left and handled is not None:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if one.__context__ is handled:
            one.__context__ = None
        if one.__cause__ is handled:
            one.__cause__ = None
        left += [behind for behind in (one.__context__, one.__cause__) if behind is not None]
        inner = getattr(one, "exceptions", ())  # of an exception group
        left += [each for each in inner if isinstance(each, BaseException)] if isinstance(inner, tuple) else []


def _print(name: str, failure: Exception) -> None:
    if not logging.raiseExceptions or sys.stderr is None:
        return
    import traceback  # seldom needed

    lines = traceback.format_exception(type(failure), failure, failure.__traceback__)
    sys.stderr.write(f"{name}: a log record was lost, because logging failed:\n{''.join(lines)}")
