"""The log of tfs-serve on standard error, with the prefix that TensorFlow's programs have."""

from __future__ import annotations

import logging
import sys
import time

from tfs_client.shown import bounded, printable

LETTERS = {logging.DEBUG: "D", logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}


class Formatter(logging.Formatter):
    """``2026-01-31 12:00:00.123456: I tfs_client/server/core.py:114] Adding/updating models.``

    Callers and files may put any text into a message: control characters are written out, and it stays in its line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback where there is one."""
        seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        micros = int(record.created % 1 * 1e6)
        letter = LETTERS.get(record.levelno, "I")
        place = "".join(record.pathname.replace("\\", "/").rpartition("tfs_client/")[1:])
        prefix = f"{seconds}.{micros:06d}: {letter} {place}:{record.lineno}] "
        # Names and texts of callers may hold escape sequences, which a terminal would obey.
        return prefix + printable(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message. Only a text of the program itself has several lines; of others they would look like entries."""
        message = bounded(super().formatMessage(record))
        return message if "\n" in str(record.msg) else message.replace("\n", "\\n")


def log_to_stderr() -> None:
    """Send the log to standard error: of this package from INFO on, of others warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger("tfs_client").setLevel(logging.INFO)
