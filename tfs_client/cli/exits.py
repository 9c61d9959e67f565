"""Exit codes, and the one line on standard error that goes with them."""

from __future__ import annotations

import _thread
import os
import sys
import time
from collections.abc import Callable, Iterable

from tfs_client.errors import (
    CallError,
    DeadlineExceededError,
    DecodeError,
    TFServingError,
    UnavailableError,
)
from tfs_client.shown import printable

OK = 0
FAILED = 1  # something this program did not foresee, or a reply that makes no sense
USAGE = 2  # arguments, files or inputs that cannot be used
UNREACHABLE = 3
REFUSED = 4
DEADLINE = 5
NOT_READY = 6  # of tfs-admin: the server answered, and what was asked about does not serve
DECLINED = 7  # of tfs-admin: somebody was asked, and said no
INTERRUPTED = 130  # by Ctrl-C, as shells say it
INCOMPLETE = 8  # of tfs-predict in bulk: the run came to its end, and some pictures failed

TABLE = """exit codes:
  0  done
  1  the reply makes no sense, or the output cannot be written
  2  usage: wrong arguments, a file that cannot be read, inputs that do not fit
  3  the server cannot be reached
  4  the server refused the call
  5  no answer in time
"""


def code_of(error: TFServingError) -> int:
    """The exit code of an error."""
    if isinstance(error, UnavailableError):
        return UNREACHABLE
    if isinstance(error, DeadlineExceededError):
        return DEADLINE
    if isinstance(error, CallError):
        return REFUSED
    return FAILED if isinstance(error, DecodeError) else USAGE


def guarded(program: str, run: Callable[[], int], words: Iterable[tuple[str, str]] = ()) -> int:
    """Run a command; errors become one line on standard error and an exit code.

    ``words`` are pairs: what the library's texts call a thing, and what the command calls it.
    """
    code = OK
    try:
        code = run()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except TFServingError as error:
        return said(program, _text(error, words), code_of(error))
    except BrokenPipeError:
        _nobody_reads()
        return code
    except (OSError, UnicodeEncodeError) as error:  # the output cannot be written: a full disk, a terminal for ASCII
        return said(program, str(error), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


class Interrupts:
    """Ctrl-C in a console script: the first one ends the command in order, a later one at once.

    Within a context of it the process ends with INTERRUPTED after an interrupt, whatever else it comes to. Several that
    come nearly at once are one: ``timeout`` and some shells send the signal to a process and again to its group.
    Where interrupts are ignored, as in the background of a script, they stay so.
    """

    AT_ONCE = 1.0  # seconds
    CLEAN_UP = 3.0  # seconds that it may take; files are whole without it

    def __init__(self) -> None:
        import signal

        self._first: float | None = None
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)

    @property
    def seen(self) -> bool:
        """Whether there was one."""
        return self._first is not None

    def _interrupt(self, *_: object) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            # An interrupt may strike grpc where its channel can never be closed again. A thread ends that wherever the
            # main one stands; the handler of an alarm would wait for it to come back to Python. Not one of threading's,
            # whose locks the interrupted code may hold.
            _thread.start_new_thread(self._cut_off, ())
            raise KeyboardInterrupt
        if now - self._first > self.AT_ONCE:
            os._exit(INTERRUPTED)

    def _cut_off(self) -> None:
        time.sleep(self.CLEAN_UP)
        os._exit(INTERRUPTED)

    def __enter__(self) -> Interrupts:
        return self

    def __exit__(self, *_: object) -> None:
        import signal

        if self.seen:
            os._exit(INTERRUPTED)
        if signal.getsignal(signal.SIGINT) == self._interrupt:  # the command has come to its end
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def warn_in_one_line(program: str) -> None:
    """Say warnings, of libraries too, in one line after the command's name."""
    import warnings

    def show_warning(message: Warning | str, *_: object, **__: object) -> None:
        said(program, f"warning: {message}", OK)

    warnings.showwarning = show_warning


def show(text: str) -> None:
    """Print, at once: what has been shown is seen whatever comes next. A reader that has enough is no failure.

    Texts of servers and files may be part of it, so control characters are written out; a terminal would obey them.
    """
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        _nobody_reads()


def said(program: str, text: str, code: int) -> int:
    """Say a text, in one line, on standard error, after the command's name; returns the exit code that goes with it.

    Control characters are written out, as in ``show``.
    """
    note(f"{program}: {text}")
    return code


def note(text: str) -> None:
    """Say a text, in one line, on standard error, with control characters written out."""
    if sys.stderr is not None:
        print(printable(_in_one_line(text)), file=sys.stderr)


def _in_one_line(text: str) -> str:
    """The lines of a text one after the other, as sentences, whether or not they end like some."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    ended = [line if line[-1] in ".:;,?!" else f"{line};" for line in lines[:-1]]
    return " ".join([*ended, *lines[-1:]])


def _nobody_reads() -> None:
    """Let go of standard output: whoever read it has enough, and Python itself still wants to flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _text(error: TFServingError, words: Iterable[tuple[str, str]]) -> str:
    """An error's text, with the words and hints of the command in place of the library's."""
    if isinstance(error, DeadlineExceededError):
        error = DeadlineExceededError(error.details, error.method, hint="--timeout S sets another limit.")
    text = str(error)
    for library, command in words:
        text = text.replace(library, command)
    return text
