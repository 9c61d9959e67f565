"""Exit codes of the commands, and what they print: results on standard output, one line for an error."""

from __future__ import annotations

import _thread
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TextIO

from tfs_client._printable import printable
from tfs_client.errors import (
    CallError,
    DeadlineExceededError,
    DecodeError,
    TFServingError,
    UnavailableError,
)

OK = 0
FAILED = 1  # an unforeseen error, or a reply that cannot be read
USAGE = 2  # arguments, files or inputs that cannot be used
UNREACHABLE = 3
REFUSED = 4
DEADLINE = 5
NOT_READY = 6  # tfs-admin: the server answered, and the model or service is not serving
DECLINED = 7  # tfs-admin: the user answered the question with no
INCOMPLETE = 8  # tfs-predict, several pictures: some failed
DIFFERENT = 9  # tfs-admin: a comparison found differences, or a check found errors
INTERRUPTED = 130  # Ctrl-C; shells use the same number

_OF_ALL = """exit codes:
  0    success
  1    {failed}
  2    usage error: {usage}
"""
_OF_SERVERS = """\
  3    the server cannot be reached
  4    the server refused the call
  5    no answer in time
"""

ANOTHER_LIMIT = "--timeout S sets another limit."


def table(usage: str, *, server: bool = True, failed: str = "") -> str:
    """Return the exit codes that commands share; ``usage`` names the errors of usage.

    Args:
        server: whether the command calls a server; otherwise it reads and writes files only.
        failed: what ends with FAILED; by default a reply, or a recording, that cannot be read.
    """
    what = "reply" if server else "recording"
    text = _OF_ALL.format(usage=usage, failed=failed or f"the {what} cannot be read, or the output cannot be written")
    return text + _OF_SERVERS if server else text


def code_of(error: TFServingError) -> int:
    """Return the exit code for an error."""
    if isinstance(error, UnavailableError):
        return UNREACHABLE
    if isinstance(error, DeadlineExceededError):
        return DEADLINE
    if isinstance(error, CallError):
        return REFUSED
    return FAILED if isinstance(error, DecodeError) else USAGE


def guarded(program: str, run: Callable[[], int], words: Iterable[tuple[str, str]] = ()) -> int:
    """Run a command; turn errors into one line on standard error and an exit code.

    ``words`` are pairs: a phrase of the library's error texts, and its replacement.
    """
    code = OK
    try:
        code = run()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except TFServingError as error:
        return show_error(program, text_of(error, words), code_of(error))
    except BrokenPipeError:
        _discard_output()
        return code
    except (OSError, UnicodeEncodeError) as error:  # cannot write the output: a full disk, an ASCII terminal
        return show_error(program, str(error), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


class Interrupts:
    """Ctrl-C in a console script: the first one ends the command in order, a later one immediately.

    Within the context, the process always ends with INTERRUPTED after an interrupt. Interrupts in quick
    succession count as one: ``timeout`` and some shells send the signal to a process and again to its group.
    Ignored interrupts, as in a script's background jobs, stay ignored.

    An interrupt can be lost or do harm in the main thread: Python's handler does not run during some lookups of names
    or in a wait for a lock that began just as the signal arrived, and in grpc the exception may strike where its
    channel can never be closed again. So a thread reads the signals too, from the wakeup file. It signals the main
    thread until the interrupt is seen, and ends the process when cleaning up takes too long.
    """

    SAME_INTERRUPT = 1.0  # seconds; later ones are new interrupts
    CLEAN_UP = 1.5  # seconds before the process is ended; files are complete even then
    RESEND = 0.5  # seconds until the main thread is signalled again; grpc reacts once no signal came for 0.2 s

    def __init__(self) -> None:
        import signal

        self._first: float | None = None
        self._main = _thread.get_ident()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)
            read, write = os.pipe()
            os.set_blocking(write, False)
            signal.set_wakeup_fd(write, warn_on_full_buffer=False)
            # Not a thread of threading, because the interrupted code may hold its locks.
            _thread.start_new_thread(self._watch, (read,))

    @property
    def seen(self) -> bool:
        """Whether an interrupt occurred."""
        return self._first is not None

    def _interrupt(self, *_: object) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            # The interrupt may cut off a constructor; the object's ``__del__`` then fails: no message for users.
            sys.unraisablehook = lambda _: None
            raise KeyboardInterrupt
        if now - self._first > self.SAME_INTERRUPT:
            os._exit(INTERRUPTED)

    def _watch(self, signals: int) -> None:
        """Run in a thread: wait for an interrupt, repeat it until it is seen, and end the process after CLEAN_UP."""
        import signal

        while signal.SIGINT not in os.read(signals, 1):
            pass
        end = time.monotonic() + self.CLEAN_UP
        while time.monotonic() < end:
            time.sleep(self.RESEND)
            if not self.seen and hasattr(signal, "pthread_kill"):
                signal.pthread_kill(self._main, signal.SIGINT)
        os._exit(INTERRUPTED)

    def __enter__(self) -> Interrupts:
        return self

    def __exit__(self, *_: object) -> None:
        import signal

        if self.seen:
            os._exit(INTERRUPTED)
        if signal.getsignal(signal.SIGINT) == self._interrupt:  # the command has finished
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def warn_in_one_line(program: str) -> None:
    """Print warnings, also those of libraries, as one line that begins with the command's name."""
    import warnings

    def show_warning(message: Warning | str, *_: object, **__: object) -> None:
        show_note(f"{program}: warning: {message}")

    warnings.showwarning = show_warning


def show(text: str) -> None:
    """Print a text and flush it. A closed pipe is not an error.

    The text may contain text from servers and files, so control characters are escaped: a terminal would obey them.
    """
    try:
        print(_encodable(printable(text), sys.stdout), flush=True)
    except BrokenPipeError:
        _discard_output()


def show_error(program: str, text: str, code: int) -> int:
    """Print an error as one line on standard error, after the command's name. Returns the exit code."""
    show_note(f"{program}: {text}")
    return code


def show_note(text: str) -> None:
    """Print a text as one line on standard error, with control characters escaped."""
    if sys.stderr is not None:
        print(_encodable(printable(in_one_line(text)), sys.stderr), file=sys.stderr)


def _encodable(text: str, file: TextIO | None) -> str:
    """Replace the arrow in our own texts where a terminal's encoding lacks it."""
    if "\u2192" not in text:
        return text
    try:
        "\u2192".encode(getattr(file, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return text.replace("\u2192", "->")
    return text


def in_one_line(text: str) -> str:
    """Return a text with its lines joined; end each with a full stop where it has no punctuation."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    ended = [line if line[-1] in ".:;,?!" else f"{line}." for line in lines[:-1]]
    return " ".join([*ended, *lines[-1:]])


def _discard_output() -> None:
    """Redirect standard output to the null device after its reader closed it: Python flushes it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def text_of(error: TFServingError, words: Iterable[tuple[str, str]]) -> str:
    """Return an error's text, with the command's words and hints in place of the library's."""
    if isinstance(error, DeadlineExceededError) and not error.hint.startswith(ANOTHER_LIMIT):
        error = DeadlineExceededError(error.details, error.method, hint=ANOTHER_LIMIT)
    text = str(error)
    for library, command in words:
        text = text.replace(library, command)
    return text
