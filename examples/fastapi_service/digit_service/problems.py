"""Problems: the errors of tfs_client as HTTP statuses and JSON bodies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tfs_client import (
    CallError,
    ClosedError,
    DeadlineExceededError,
    DecodeError,
    EncodeError,
    SignatureError,
    StatusCode,
    TFServingError,
)

RETRY_AFTER = 1.0  # seconds, unless the model server says


class Overloaded(Exception):
    """More requests wait for the model than the service allows."""


@dataclass(frozen=True)
class Problem:
    """What the caller of the service gets: an HTTP status, a short code, a text, and when to try again."""

    status: int
    code: str
    message: str
    retry_after: float | None = None

    def headers(self) -> dict[str, str]:
        """The headers of the reply; Retry-After takes whole seconds."""
        return {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}

    def body(self, request_id: str) -> dict[str, dict[str, str]]:
        """The JSON body of the reply."""
        return {"error": {"code": self.code, "message": self.message, "request_id": request_id}}


FAILED = Problem(500, "internal_server_error", "the service failed")
OVERLOADED = Problem(429, "overloaded", "too many requests wait for the model", RETRY_AFTER)
INVALID = Problem(400, "invalid_input", "the model refuses this input")
BUSY = Problem(429, "busy", "the model server is busy", RETRY_AFTER)
UNAVAILABLE = Problem(503, "unavailable", "the model is not available", RETRY_AFTER)
TIMEOUT = Problem(504, "timeout", "the model did not answer in time")
MALFORMED = Problem(502, "malformed_reply", "the model server sent a reply that cannot be read")
MODEL_FAILED = Problem(502, "model_failed", "the model server failed")

# Every status code that is not here, such as INTERNAL or UNAUTHENTICATED, is MODEL_FAILED: the caller cannot help it.
BY_CODE = {
    StatusCode.CANCELLED: UNAVAILABLE,  # the service stops
    StatusCode.INVALID_ARGUMENT: INVALID,
    StatusCode.NOT_FOUND: UNAVAILABLE,  # the model is not loaded yet, or is gone
    StatusCode.RESOURCE_EXHAUSTED: BUSY,
    StatusCode.UNAVAILABLE: UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED: TIMEOUT,
}


def line_of(error: TFServingError) -> str:
    """The text of an error for a line of a log: it quotes the model server, which may send newlines."""
    return str(error).encode("unicode_escape").decode()


def problem_of(error: TFServingError, *, version: int | None = None) -> Problem:
    """Return the problem for an error of a call.

    The caller gets fixed texts, and what the client says about their input; texts of the model server are for the log.

    Args:
        version: the version of the model that the caller asked for; None if they left it to the service.
    """
    if isinstance(error, DeadlineExceededError) and isinstance(error.__cause__, CallError):
        error = error.__cause__  # why the last attempt failed: the server was busy, or out of reach, until the deadline
    if isinstance(error, (EncodeError, SignatureError)):  # found before anything was sent
        return replace(INVALID, message=str(error))
    if isinstance(error, ClosedError):
        return UNAVAILABLE
    if isinstance(error, DecodeError):
        return MALFORMED
    if not isinstance(error, CallError):
        return MODEL_FAILED
    if error.code is StatusCode.NOT_FOUND and version is not None:
        return Problem(404, "unknown_version", f"version {version} is not served")
    problem = UNAVAILABLE if error.unreached else BY_CODE.get(error.code, MODEL_FAILED)
    if problem is INVALID and error.hint:
        return replace(problem, message=error.hint)
    if problem.retry_after is not None and error.retry_after is not None:
        return replace(problem, retry_after=error.retry_after)
    return problem
