"""The log of tfs-serve on standard error, with the prefix and environment variables of TensorFlow's programs.

Source: xla/tsl/platform/default/logging.cc.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Mapping

from tfs_client._printable import bounded, printable

LETTERS = {logging.DEBUG: "I", logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}
LEVELS = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)  # by TF_CPP_MIN_LOG_LEVEL
VERBOSE = {"http_server": "tfs_client.server.http_server"}  # loggers by the module name in TF_CPP_VMODULE
NET_LOG = "tfs_client.server.net_log"
ALWAYS_LOGGED = ("tfs_client.server.grpc.listening", NET_LOG)  # at any level, because scripts wait for these lines


class Formatter(logging.Formatter):
    """``2026-01-31 12:00:00.123456: I tfs_client/server/lifecycle/core.py:114] Adding/updating models.``

    Messages may contain text from callers and files: control characters are escaped, line breaks too.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback if there is one."""
        # Text from callers may contain escape sequences, which a terminal would obey.
        text = printable(super().format(record))
        if record.name == NET_LOG:  # the model server's has no prefix either
            return text
        seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        micros = int(record.created % 1 * 1e6)
        letter = LETTERS.get(record.levelno, "I")
        place = "".join(record.pathname.replace("\\", "/").rpartition("tfs_client/")[1:])
        return f"{seconds}.{micros:06d}: {letter} {place}:{record.lineno}] {text}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the message. Line breaks stay only if the format string has them: others could fake log entries."""
        message = bounded(super().formatMessage(record))
        return message if "\n" in str(record.msg) else message.replace("\n", "\\n")


def log_to_stderr(environment: Mapping[str, str]) -> None:
    """Log to standard error: this package from INFO, other packages from WARNING.

    ``TF_CPP_MIN_LOG_LEVEL``, ``TF_CPP_VMODULE`` and ``TF_CPP_MAX_VLOG_LEVEL`` change the levels.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = LEVELS[min(max(_integer(environment.get("TF_CPP_MIN_LOG_LEVEL", "")), 0), len(LEVELS) - 1)]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("tfs_client").setLevel(level)
    for name in ALWAYS_LOGGED:
        logging.getLogger(name).setLevel(logging.INFO)
    everywhere, modules = _integer(environment.get("TF_CPP_MAX_VLOG_LEVEL", "")), _modules(environment)
    for module, name in VERBOSE.items():
        if max(everywhere, modules.get(module, 0)) >= 1:
            logging.getLogger(name).setLevel(logging.DEBUG)


def _modules(environment: Mapping[str, str]) -> dict[str, int]:
    """Parse ``a=1,b=2``, the levels of modules; the last one for a module counts."""
    items = (item.partition("=") for item in environment.get("TF_CPP_VMODULE", "").split(","))
    return {module: _integer(level) for module, _, level in items}


def _integer(text: str) -> int:
    """Return the number at the start of a text; 0 without one, as in TensorFlow."""
    found = re.match(r"\s*([+-]?[0-9]{1,9})", text, re.ASCII)
    return int(found[1]) if found else 0
