"""Exit codes, and the one line on standard error that goes with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tfs_client.errors import (
    CallError,
    DeadlineExceededError,
    DecodeError,
    TFServingError,
    UnavailableError,
)

OK = 0
FAILED = 1  # something this program did not foresee, or a reply that makes no sense
USAGE = 2  # arguments, files or inputs that cannot be used
UNREACHABLE = 3
REFUSED = 4
DEADLINE = 5

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


def guarded(program: str, run: Callable[[], int]) -> int:
    """Run a command; errors become one line on standard error and an exit code."""
    try:
        code = run()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except TFServingError as error:
        return _said(program, _line(error), code_of(error))
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python itself still wants to flush
        return OK
    except OSError as error:  # the output cannot be written: a full disk
        return _said(program, str(error), FAILED)
    except KeyboardInterrupt:
        return 130


def _line(error: TFServingError) -> str:
    """An error's text in one line, with the hints of the command in place of the library's."""
    if isinstance(error, DeadlineExceededError):
        error = DeadlineExceededError(error.details, error.method, hint="--timeout S sets another limit.")
    return " ".join(str(error).split())


def _said(program: str, text: str, code: int) -> int:
    if sys.stderr is not None:
        print(f"{program}: {text}", file=sys.stderr)
    return code
