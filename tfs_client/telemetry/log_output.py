"""The log on standard error that ``TFS_CLIENT_LOG`` asks for, as text or as JSON."""

from __future__ import annotations

import logging
import re
import sys
from datetime import datetime, timezone
from typing import TextIO

from tfs_client._printable import bounded, printable, shown

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}
EXPECTED = "expected debug, info, warning or json, or json with a level, as in json:info"
_OWN = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))  # attributes of any log record


def set_up(value: str) -> None:
    """Log to standard error as the value of the variable says. "json" alone means "json:debug"."""
    words = [word for word in re.split(r"[,:\s]+", value.strip().lower()) if word]
    levels = [LEVELS[word] for word in words if word in LEVELS]
    known = len(words) == len(levels) + words.count("json") and len(levels) <= 1 and words.count("json") <= 1
    package = logging.getLogger("tfs_client")
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if known and "json" in words else TextFormatter())
    package.addHandler(handler)
    if not known:
        package.warning("TFS_CLIENT_LOG: %s, got %s; logging warnings only", EXPECTED, shown(value))
    elif words:
        package.setLevel(levels[0] if levels else logging.DEBUG)


class StderrHandler(logging.Handler):
    """Writes to what is standard error at the time, unless another handler already writes the record to a terminal.

    Of a server in the same process, it writes warnings and errors only.
    """

    # The program may configure its own logging before or after the client is imported. Its root handler then gets the
    # records of this package, too, because they propagate. So this is decided for each record.

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        of_server = record.name.startswith("tfs_client.server") and record.levelno < logging.WARNING
        if sys.stderr is None or of_server or self._is_shown_elsewhere(record):
            return
        try:
            line = self.format(record) + "\n"
            encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
            sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
            sys.stderr.flush()
        except Exception:
            self.handleError(record)

    def _is_shown_elsewhere(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            for handler in logger.handlers:
                if handler is not self and record.levelno >= handler.level and _prints(handler, record):
                    return True
            logger = logger.parent if logger.propagate else None
        return False


def _prints(handler: logging.Handler, record: logging.LogRecord) -> bool:
    """Whether a handler writes a record to standard output or standard error; rich's handler has a console."""
    streams: tuple[TextIO | None, ...] = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    stream = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
    if stream is None or all(stream is not one for one in streams):
        return False
    try:
        return bool(handler.filter(record))
    except Exception:  # the program's filter failed, as it will for its own handler
        return False


class TextFormatter(logging.Formatter):
    """``2026-01-31 12:00:00.123 INFO tfs_client.connections: connected to 127.0.0.1:8500``"""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback if there is one."""
        time = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")
        message = bounded(record.getMessage()).replace("\n", "\\n")
        line = f"{time}.{int(record.msecs):03d} {record.levelname} {record.name}: {message}"
        return f"{line}\n{printable(self.formatException(record.exc_info))}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object in a line: time (UTC), level, logger, message, and all facts of the record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        import json  # slow to import

        fields = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": bounded(record.getMessage()),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            fields["traceback"] = bounded(self.formatException(record.exc_info))
        return json.dumps(fields, default=shown)
