"""Tracebacks of errors that calls raise: the caller's lines and the client's method, without what lies below.

The error says what went wrong and what to do; frames of flows, performers, transports, gRPC and httpx add nothing for a
caller. The exception of gRPC or httpx behind a CallError becomes its ``transport_error``; an exception that the caller
handles meanwhile stays its context, as if the client's method had raised the error itself. Everything stays if a frame
belongs to the user, such as a token function or an interceptor, and while the logger ``tfs_client.tracebacks`` itself
has the level DEBUG. Levels of its parents have no effect: logging calls must not change their exceptions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import wraps
from inspect import iscoroutinefunction
from types import FunctionType, TracebackType
from typing import Any, ParamSpec, TypeVar

from tfs_client._transports.traceback_frames import caught_by_caller, is_below
from tfs_client.errors import CallError, ClosedError, TFServingError

Arguments = ParamSpec("Arguments")
Kind = TypeVar("Kind")
Result = TypeVar("Result")

_switch = logging.getLogger("tfs_client.tracebacks")

_SPECIAL = {"__init__", "__exit__", "__aexit__"}  # methods that users call by other means than their names


def shorten(error: TFServingError, kept: TracebackType | None = None) -> None:
    """Remove the frames below the caller from an error that is about to be raised again by a bare ``raise``.

    Args:
        kept: the traceback whose first frame stays; None for no frame of this package.

    Without it, the frame that raises again does not appear either, from Python 3.11 on.
    """
    _note_cause(error)
    if 0 < _switch.level <= logging.DEBUG or not is_below(error.__traceback__):
        return
    if kept is not None:
        kept.tb_next = None
    replace(error, kept)
    _hide_causes(error)


def short_tracebacks(*, but: str = "") -> Callable[[type[Kind]], type[Kind]]:
    """Decorate a class whose public methods shorten their errors, except the method named ``but``."""

    def decorate(kind: type[Kind]) -> type[Kind]:
        for name, method in list(vars(kind).items()):
            if isinstance(method, FunctionType) and name != but and (not name.startswith("_") or name in _SPECIAL):
                setattr(kind, name, (_shortened_async if iscoroutinefunction(method) else _shortened)(method))
        return kind

    return decorate


def _shortened(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    @wraps(method)
    def shortened(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return method(*args, **kwargs)
        except TFServingError as error:
            shorten(error, _second(error.__traceback__))
            raise

    return shortened


def _shortened_async(
    method: Callable[Arguments, Coroutine[Any, Any, Result]],
) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
    @wraps(method)
    async def shortened(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return await method(*args, **kwargs)
        except TFServingError as error:
            shorten(error, _second(error.__traceback__))
            raise

    return shortened


def replace(error: BaseException, rest: TracebackType | None) -> None:
    """Replace the traceback of an error that is about to be raised again by a bare ``raise``."""
    first = error.__traceback__
    if first is not None and first is not rest:
        first.tb_next = rest  # Python 3.10 raises with this one again, whatever the error says
    error.__traceback__ = rest


class ResultFuture(Future[Result]):
    """A future whose error has the same traceback each time that ``result()`` raises it, with the caller's lines.

    The class that it extends adds the lines of every caller to those before, and keeps what an earlier one handled,
    because they share one error.
    """

    _failure: BaseException | None = None
    _traceback: TracebackType | None = None
    _context: BaseException | None = None

    def set_exception(self, exception: BaseException | None) -> None:
        if isinstance(exception, TFServingError):
            shorten(exception)
        if exception is not None:
            self._failure, self._traceback, self._context = exception, exception.__traceback__, exception.__context__
        super().set_exception(exception)

    def result(self, timeout: float | None = None) -> Result:
        try:
            if self._failure is not None:
                self._failure.__context__ = self._context
            return super().result(timeout)
        except BaseException as error:  # the user's functions may raise anything
            if error is self._failure:
                replace(error, self._traceback)
            raise
        finally:
            del self  # on Python 3.10 this frame is part of the traceback, and the error refers to it


def _note_cause(error: TFServingError) -> None:
    cause = error.__cause__
    if isinstance(error, CallError) and isinstance(cause, Exception) and not isinstance(cause, TFServingError):
        error.transport_error = cause


def _hide_causes(error: TFServingError) -> None:
    """Remove from the chain of an error what was raised below the caller and adds nothing for it."""
    cause = error.__cause__
    if isinstance(cause, TFServingError):  # why an earlier attempt failed: it stays
        if is_below(cause.__traceback__):
            _note_cause(cause)
            cause.__traceback__ = None
            _hide_causes(cause)
        return
    if cause is not None and not isinstance(error, (CallError, ClosedError)):
        return  # why a value cannot be sent, or a file cannot be read
    shown = error.__context__ if cause is None and not error.__suppress_context__ else cause
    if shown is None or is_below(shown.__traceback__):
        error.__context__ = _handled(error)
        error.__cause__ = None
        error.__suppress_context__ = False


def _handled(error: BaseException) -> BaseException | None:
    """Return the exception that the caller of a failed call was handling; None if it was handling none.

    It is the context of the first exception that was raised below the caller.
    """
    seen: set[int] = set()
    waiting = [error.__context__, error.__cause__]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        if caught_by_caller(found):
            return found
        if is_below(found.__traceback__):
            waiting += [found.__context__, found.__cause__]
    return None


def _second(traceback: TracebackType | None) -> TracebackType | None:
    return None if traceback is None else traceback.tb_next
