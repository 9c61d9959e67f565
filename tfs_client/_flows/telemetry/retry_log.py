"""RetryLog: what the log says about the failed attempts of one client's calls."""

from __future__ import annotations

import logging
import time

from tfs_client._flows.contradictions import REQUEST_ID
from tfs_client._flows.telemetry.masking import Masking
from tfs_client._printable import counted
from tfs_client._transports.log_records import write
from tfs_client._transports.steps import Send
from tfs_client.errors import CallError
from tfs_client.telemetry.logs import LONGEST, one_line, retries_log

PERIOD = 10.0  # seconds between two lines about refused requests of batches


class RetryLog:
    """Logs attempts that are followed by another one.

    Args:
        masking: removes the client's secrets from texts.
    """

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._refused = 0  # requests of batches since the last line about them
        self._reported = -PERIOD  # when that was

    def retried(self, error: CallError, send: Send, model: str, *, most: int, pause: float) -> None:
        """Log an attempt that failed; ``most``: how many the policy permits."""
        if retries_log.isEnabledFor(logging.WARNING):
            fields = self._fields(error, send, model)
            write(
                retries_log,
                logging.WARNING,
                "%s failed with %s: %s; attempt %d of %d, the next one begins in %.2f s",
                _what(error.method, model),
                error.code.name,
                one_line(fields["details"], LONGEST),
                error.attempts,
                most,
                pause,
                extra={**fields, "attempt": error.attempts, "most": most, "pause": pause},
            )

    def waits(self, error: CallError, send: Send, model: str, *, again: bool, requested: bool, pause: float) -> None:
        """Log an attempt that reached no server; the call waits for one.

        Args:
            error: the error of the attempt.
            send: the request.
            model: the model that is called.
            again: whether the call waited before; it makes such attempts several times a second.
            requested: whether the user asked to wait, as ``wait_until_ready`` does, so that nothing is wrong.
            pause: seconds until the next attempt.
        """
        level = logging.DEBUG if again else logging.INFO if requested else logging.WARNING
        if retries_log.isEnabledFor(level):
            fields = self._fields(error, send, model)
            write(
                retries_log,
                level,
                "%s cannot reach the server: %s; it is sent again when one is reachable",
                _what(error.method, model),
                one_line(fields["details"], LONGEST),
                extra={**fields, "attempt": error.attempts, "pause": pause},
            )

    def refused(self, error: CallError, send: Send, model: str) -> None:
        """Log that a busy server refused a request of a batch, which itself sends its rows again.

        While a server is busy, it refuses many: one line per period.
        """
        self._refused += 1
        now = time.monotonic()
        if now - self._reported >= PERIOD and retries_log.isEnabledFor(logging.WARNING):
            number, self._refused, self._reported = self._refused, 0, now
            fields = self._fields(error, send, model)
            write(
                retries_log,
                logging.WARNING,
                "%s failed with %s: %s; the batch slows down and sends the rows again (%s so far)",
                _what(error.method, model),
                error.code.name,
                one_line(fields["details"], LONGEST),
                counted(number, "requests"),
                extra={**fields, "refused": number},
            )

    def _fields(self, error: CallError, send: Send, model: str) -> dict[str, str]:
        """The attributes of a record about a failed attempt, without secrets."""
        masked = self._masking.masked
        request_id = next((str(value) for key, value in send.metadata if key == REQUEST_ID), "")
        return {
            "method": error.method,
            "model": one_line(model),
            "code": error.code.name,
            "details": one_line(masked(error.details, send.metadata)),
            "hint": one_line(masked(error.hint, send.metadata)),
            "request_id": one_line(request_id),
        }


def _what(method: str, model: str) -> str:
    return f"{method or 'the call'} of model {one_line(model)!r}" if model else method or "the call"
