"""What came of a gRPC call, also where an interceptor has put a call object in gRPC's place, or an error of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import grpc

from tfs_client.errors import StatusCode


class Outcome(NamedTuple):
    """How a call failed.

    Attributes:
        code: its status; UNKNOWN where the call does not say.
        details: its text.
        trailing: its trailing metadata.
    """

    code: StatusCode
    details: str
    trailing: Iterable[Any]


def outcome(ended: Any) -> Outcome:
    """The outcome of a call that failed: of the call object, or of the error that gRPC raised."""
    code, details, trailing = (_said(ended, name) for name in ("code", "details", "trailing_metadata"))
    status = StatusCode(code.value[0]) if isinstance(code, grpc.StatusCode) else StatusCode.UNKNOWN
    if details is None and not hasattr(ended, "details"):
        details = str(ended)
    return Outcome(status, str(details or ""), trailing or ())


def _said(ended: Any, name: str) -> Any:
    method = getattr(ended, name, None)
    try:
        return method() if callable(method) else None
    except Exception:  # of a call object that is not gRPC's
        return None
