"""Exit codes, and the one line on standard error that goes with them."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tfs_client.errors import (
    CallError,
    DeadlineExceededError,
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
  1  the reply makes no sense
  2  usage: wrong arguments, a file that cannot be read, inputs that do not fit
  3  the server cannot be reached
  4  the server refused the call
  5  no answer in time
"""


def code_of(error: TFServingError) -> int:
    """The exit code of an error."""
    from tfs_client.errors import DecodeError

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
        return run()
    except TFServingError as error:
        text = " ".join(str(error).split())
        print(f"{program}: {text}", file=sys.stderr)
        return code_of(error)
    except BrokenPipeError:  # whoever read our output has enough
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        return 130
