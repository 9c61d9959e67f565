"""Hooks: the user's functions that receive records. They are checked once, and their errors never reach a call."""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from tfs_client._flows.contradictions import AUTHORIZATION, REQUEST_ID, check_settled
from tfs_client._printable import bounded, shown
from tfs_client._transports.log_records import cut_context, write
from tfs_client.errors import ConfigError
from tfs_client.options import MetadataPairs, checked_metadata
from tfs_client.telemetry.logs import one_line
from tfs_client.telemetry.records import CallRecord, CallStarted, Hook

_log = logging.getLogger("tfs_client.hooks")

PERIOD = 10.0  # seconds between two lines about failures of one hook

# Set while a hook runs, also for the tasks that it creates. Calls made by hooks have no records: a hook that made a
# call would otherwise start another call with every record of it.
_running: ContextVar[bool] = ContextVar("tfs_client_hook_runs", default=False)

_EXPECTED = "expected hooks= as a function of one record, or a sequence of such functions"

# What hooks must not set, and what does.
_OPTIONS = {AUTHORIZATION: "token= to the client", REQUEST_ID: "request_id= to the client or the call"}


class ClientHook:
    """A hook that a client was given, and what was logged about its failures. Derived clients share it.

    Attributes:
        function: the hook itself.
    """

    def __init__(self, function: Hook) -> None:
        self.function = function
        self._failures = 0  # since the last line about them
        self._reported: float | None = None  # when that was

    def __reduce__(self) -> tuple[object, ...]:
        return ClientHook, (self.function,)

    def failed(self, error: Exception, record: CallRecord) -> None:
        """Log the first failure with its traceback, and then at most one line per period."""
        # A hook that always fails would otherwise write a traceback for every call.
        self._failures += 1
        now, kind = time.monotonic(), type(record).__name__
        if self._reported is not None and now - self._reported < PERIOD:
            return
        first, number = self._reported is None, self._failures
        self._failures, self._reported = 0, now
        name = one_line(name_of(self.function))
        if first:
            write(_log, logging.ERROR, "hook %s failed on %s; the call continues", name, kind, error=error)
        else:
            text = type(error).__name__
            with suppress(Exception):  # of its own texts
                text = one_line(f"{text}: {error}")
            write(_log, logging.ERROR, "hook %s failed again (%d times), last on %s: %s", name, number, kind, text)


def checked_hooks(hooks: object) -> tuple[ClientHook, ...]:
    """Return hooks as a tuple. Raises ConfigError."""
    if callable(hooks):
        return (_checked(hooks),)
    if not isinstance(hooks, Sequence) or isinstance(hooks, (str, bytes)):
        raise ConfigError(f"{_EXPECTED}, got {shown(hooks)}")
    return tuple(map(_checked, hooks))


def _checked(hook: Any) -> ClientHook:
    if isinstance(hook, type):
        raise ConfigError(f"{_EXPECTED}, got the class {hook.__name__} itself; pass an instance")
    if not callable(hook):
        raise ConfigError(f"{_EXPECTED}, got {shown(hook)}")
    if is_async(hook):
        raise ConfigError(
            f"{_EXPECTED}, got the coroutine function {name_of(hook)}: clients do not await hooks; pass a plain "
            "function, which may put records into a queue or create a task"
        )
    return ClientHook(hook)


def is_async(function: Any) -> bool:
    """Return whether a callable, or its ``__call__``, is declared with ``async def``."""
    functions = (function, type(function).__call__)
    return any(map(inspect.iscoroutinefunction, functions)) or any(map(inspect.isasyncgenfunction, functions))


def check_pickled(hooks: Sequence[ClientHook]) -> None:
    """Raise TypeError for hooks that pickle cannot copy, with what to do about it."""
    if not hooks or {"cloudpickle", "dill"} & sys.modules.keys():  # they may copy more, and this may be one of them
        return
    import pickle  # few clients are pickled

    for hook in hooks:
        try:
            pickle.dumps(hook.function)
        except Exception as error:
            name = name_of(hook.function)
            raise TypeError(
                f"the client cannot be pickled because of its hook {name}: {bounded(str(error))}. Define the "
                "hook as a function of a module, or as an object that can be pickled; or make the client in the "
                "process that uses it"
            ) from None


def name_of(hook: Hook) -> str:
    """The name of a hook, for texts."""
    return str(getattr(hook, "__qualname__", None) or type(hook).__qualname__)


def hook_runs() -> bool:
    """Whether this code was called by a hook."""
    return _running.get()


class Reports:
    """Gives the records of one call to hooks.

    Args:
        hooks: receive the records, in this order.
        settled: metadata keys that hooks must not set, because the client's settings determine their values, and why.
    """

    def __init__(self, hooks: Sequence[ClientHook], settled: Mapping[str, str]) -> None:
        self._hooks = hooks
        self._settled = settled

    def give(self, record: CallRecord) -> MetadataPairs:
        """Give a record to all hooks; returns the metadata with which they answer.

        Raises the first exception that is not an Exception, such as KeyboardInterrupt, when all hooks have the record.
        """
        added: MetadataPairs = ()
        interruption: BaseException | None = None
        handled = sys.exc_info()[1]  # the failure of the call: it may quote secrets, and no hook caused it
        runs = _running.set(True)
        try:
            for hook in self._hooks:
                try:
                    answer = hook.function(record)
                    if answer is not None:
                        added += self._metadata(answer, record)
                except Exception as error:
                    with suppress(Exception):  # the hook's name, and its error, may be anything
                        if error is handled:  # a bare ``raise`` in the hook
                            error = RuntimeError(f"the hook raised the error of the call again: {type(error).__name__}")
                        cut_context(error, handled)
                        hook.failed(error, record)
                except BaseException as error:
                    interruption = interruption or error
        finally:
            _running.reset(runs)
        if interruption is not None:
            try:
                raise interruption
            finally:
                del interruption  # it refers to this frame
        return added

    def _metadata(self, answer: object, record: CallRecord) -> MetadataPairs:
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()  # otherwise Python warns that it was never awaited
            raise ConfigError("expected a hook that returns None or metadata, got an awaitable; clients do not await")
        if not isinstance(answer, Mapping) or type(record) is not CallStarted:
            return ()
        pairs = checked_metadata(answer)
        check_settled(pairs, self._settled)
        for key, _ in pairs:
            if key in _OPTIONS:
                raise ConfigError(f"a hook cannot set {key!r}: pass {_OPTIONS[key]}")
        return pairs


def without_keys(pairs: Iterable[tuple[str, str | bytes]], keys: Iterable[str]) -> MetadataPairs:
    """The pairs with other keys; of several pairs with one key, the first."""
    found: list[tuple[str, str | bytes]] = []
    taken = set(keys)
    for key, value in pairs:
        if key not in taken:
            taken.add(key)
            found.append((key, value))
    return tuple(found)
