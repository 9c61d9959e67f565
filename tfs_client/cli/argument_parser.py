"""The parser of the commands' arguments."""

from __future__ import annotations

import argparse
from typing import NoReturn

from tfs_client.shown import bounded


class ArgumentParser(argparse.ArgumentParser):
    """argparse's parser. Its errors, which repeat what was given, are printable and have at most 4 KB."""

    def error(self, message: str) -> NoReturn:
        """Print usage and the error; end with code 2."""
        super().error(bounded(message))
