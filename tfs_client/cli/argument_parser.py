"""The argument parser of the commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from functools import partial
from typing import NoReturn

from tfs_client._printable import bounded, shown
from tfs_client.cli import exits

# A fixed width: to find the terminal's, argparse would import shutil and its dependencies.
FORMATTER = partial(argparse.RawDescriptionHelpFormatter, width=110)

_UNKNOWN = "unrecognized arguments: "
_NO_VALUE = re.compile(r"argument (\S+): expected (one|at least one) argument")


class ArgumentParser(argparse.ArgumentParser):
    """argparse's parser. Its errors, which quote arguments, are printable, in one line and limited to 4 KB."""

    def error(self, message: str) -> NoReturn:
        """Print the error with a hint instead of the usage, which would fill the terminal; exit with code 2."""
        program, *_ = self.prog.split()
        text = bounded(f"{message}{self._hint(message)}")
        self.exit(exits.show_error(program, f"{text} ({self.prog} --help shows the options)", exits.USAGE))

    def _hint(self, message: str) -> str:
        if found := _NO_VALUE.fullmatch(message):
            flag, *_ = found[1].split("/")
            return f"; if the value begins with '-', write {flag}=VALUE"
        if message.startswith(_UNKNOWN):
            return self._similar(message.removeprefix(_UNKNOWN))
        return ""

    def _similar(self, arguments: str) -> str:
        from difflib import get_close_matches  # slow to import, and only needed for an error

        known = [flag for flag in dict.fromkeys(_flags(self)) if flag.startswith("--")]
        unknown = (argument.partition("=")[0] for argument in arguments.split() if argument.startswith("--"))
        for flag in unknown:
            if near := get_close_matches(flag[:80], known, n=1, cutoff=0.7):
                return f": did you mean {near[0]}?"
        return ""


def time_limit(text: str) -> float:
    """Return a time limit in seconds, as a type for argparse; infinity means no limit."""
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, or inf for no limit, got {shown(text)}")
    return limit


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the flags of a parser and of its commands, whose unknown arguments it reports."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _flags(command)
