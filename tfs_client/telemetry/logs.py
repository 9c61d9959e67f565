"""The client's logs: a logger for each topic, and the lines about calls and attempts.

    tfs_client.calls         DEBUG: each call. WARNING: requests that would be much faster over gRPC
    tfs_client.retries       WARNING: each attempt that is retried
    tfs_client.connections   INFO: connected, lost, addresses resolved. DEBUG: closed
    tfs_client.models        INFO: versions, signatures. WARNING: signatures that are fetched again and again
    tfs_client.hooks         ERROR: hooks that failed
    tfs_client.tracebacks    nothing. While this logger itself has the level DEBUG, exceptions keep their tracebacks

Facts are attributes of the log records, under the names that the records for hooks use. Messages are one line: foreign
text is bounded, and its line breaks are escaped.
"""

from __future__ import annotations

import logging
import os

from tfs_client._printable import bounded
from tfs_client._transports.log_records import write
from tfs_client.telemetry.records import CallEnded, CallRecord

VARIABLE = "TFS_CLIENT_LOG"
LONGEST = 300  # bytes of a foreign text within a message; the attribute of the log record has up to 4 kB

root_log: logging.Logger = logging.getLogger()
package_log: logging.Logger = logging.getLogger("tfs_client")
calls_log: logging.Logger = logging.getLogger("tfs_client.calls")
retries_log: logging.Logger = logging.getLogger("tfs_client.retries")
models_log: logging.Logger = logging.getLogger("tfs_client.models")

# Calls report their outcome themselves: without any configuration, Python would print these warnings. Not so for other
# topics: failures of hooks, and of servers in this process, are reported by the log alone.
for _topic in (calls_log, retries_log, models_log, logging.getLogger("tfs_client.connections")):
    _topic.addHandler(logging.NullHandler())
if os.environ.get(VARIABLE):
    from tfs_client.telemetry.log_output import set_up  # few programs need it

    set_up(os.environ[VARIABLE])


def one_line(text: str, limit: int | None = None) -> str:
    """Return a text as one bounded, printable line."""
    text = bounded(text) if limit is None else bounded(text, limit)
    return text.replace("\n", "\\n").replace("\t", "\\t")


def log_call(record: CallRecord) -> None:
    """Log the end of a call at DEBUG, also of a failed one: its exception is the report."""
    if type(record) is not CallEnded or not calls_log.isEnabledFor(logging.DEBUG):
        return
    fields = {
        "method": record.method,
        "call": record.call,
        "model": one_line(record.model),
        "version": record.version if record.answered is None else record.answered,
        "label": record.label,
        "signature": one_line(record.signature),
        "rows": record.rows,
        "batch": "" if record.batch is None else record.batch.kind,
        "code": "" if record.code is None else record.code.name,
        "error": record.error,
        # The client's own texts about inputs and outputs quote them.
        "details": "" if record.code is None else one_line(record.details),
        "hint": "" if record.code is None else one_line(record.hint),
        "seconds": record.seconds,
        "encode": record.encode,
        "wait": record.wait,
        "paused": record.paused,
        "decode": record.decode,
        "bytes_out": record.bytes_out,
        "bytes_in": record.bytes_in,
        "attempts": record.attempts,
        "request_id": one_line(record.request_id),
        "transport": record.transport,
        "target": record.target,
    }
    write(calls_log, logging.DEBUG, "%s", _line(fields), extra=fields)


def _line(fields: dict[str, object]) -> str:
    """The facts of a call as ``name=value``; without those that are not known."""
    shown = {**fields, "hint": None, "transport": None, "paused": fields["paused"] or None}  # evident from the target
    pairs = (f"{name}={_value(value)}" for name, value in shown.items() if value not in (None, "") and name != "method")
    return " ".join((str(fields["method"]), *pairs))


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    text = value if isinstance(value, str) else str(value)
    if text.isprintable() and not any(character in text for character in ' "='):
        return text
    return '"' + one_line(text, LONGEST).replace('"', '\\"') + '"'


def log_large_json(model: str, size: int) -> None:
    """Log that requests are large for REST."""
    write(
        calls_log,
        logging.WARNING,
        "a request of %.1f MB of JSON for model %r: gRPC carries the same tensors many times faster",
        size / 1e6,
        one_line(model),
        extra={"model": one_line(model), "bytes_out": size},
    )
