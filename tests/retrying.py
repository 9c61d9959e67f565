"""What tests of retries share: servers that refuse the first calls, and clients that soon try again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from calling import calling
from scripted import MODEL, Call, Refusal, Script, Scripted, target_of

from tfs_client import RetryPolicy, StatusCode

X = {"x": [1.0]}
QUICK = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)
PATIENT = RetryPolicy(initial_backoff=60, max_backoff=60)

BUSY = [
    (StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"),
    (StatusCode.RESOURCE_EXHAUSTED, ""),
    (StatusCode.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full"),
]
TOO_LARGE = [
    (StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (10 vs. 4)"),
    (StatusCode.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (10 vs. 4)"),
    (StatusCode.RESOURCE_EXHAUSTED, "OOM when allocating tensor with shape[9,9] and type float"),
]
QUEUE_FULL = BUSY[2]


def failing(
    times: int,
    code: StatusCode = StatusCode.UNAVAILABLE,
    pause: float | None = None,
    details: str = "as the script says",
) -> Script:
    """A script that refuses the first calls."""

    def script(call: Call) -> None:
        if call.number <= times:
            raise Refusal(code, details, pause=pause)

    return script


@contextlib.contextmanager
def client_of(style: str, server: Scripted, retry: RetryPolicy | None = QUICK, **options: Any) -> Iterator[Any]:
    """A client of a server."""
    with calling(
        style, target_of(style, server.port), model=MODEL, **{"timeout": 20, **options}, retry=retry
    ) as client:
        yield client


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)
