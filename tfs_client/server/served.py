"""ServedCall: what a call was and what became of it, whichever face of the server it came to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tfs_client.errors import CallError, DecodeError, StatusCode
from tfs_client.server.servable import Array

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class ServedCall:
    """What a call was and what became of it.

    Attributes:
        method: the API method, e.g. "Predict".
        model: the name asked for.
        version: the version that answered; None when none was found.
        signature: the signature asked for; "" for the default one.
        inputs, outputs: the tensors of a Predict call, by alias, as far as it got.
        metadata: what the client sent along, by key; of several values the last. Over REST the HTTP headers.
        code, details: how it ended; CANCELLED when the client gave up first.
        transport: "grpc" or "rest".
    """

    method: str
    model: str = ""
    version: int | None = None
    signature: str = ""
    inputs: Mapping[str, Array] = field(default_factory=dict)
    outputs: Mapping[str, Array] = field(default_factory=dict)
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    code: StatusCode = StatusCode.OK
    details: str = ""
    transport: str = "grpc"

    def gave_up(self) -> None:
        """Nobody waits for the answer any more."""
        self.code, self.details = StatusCode.CANCELLED, "the client gave up"


Observer = Callable[[ServedCall], None]


def settle(call: ServedCall, work: Callable[[], T]) -> T | None:
    """Do the work of a call; what goes wrong is written down in the record, and there is no result then."""
    try:
        return work()
    except CallError as error:
        call.code, call.details = error.code or StatusCode.INTERNAL, error.details  # OK is no error
    except DecodeError as error:
        call.code, call.details = StatusCode.INTERNAL, f"the request is no message of {call.method}: {error}"
    except BaseException as error:  # also SystemExit and pytest's outcomes: somebody waits for an answer
        log.exception("%s failed", call.method)
        call.code, call.details = StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
    return None


def observe(observer: Observer | None, call: ServedCall) -> None:
    """Tell the observer, if there is one, of a call that has ended."""
    if observer is not None:
        try:
            observer(call)
        except Exception:  # the observer's trouble is not the caller's
            log.exception("the observer failed")
