"""Steps: the actions that flows yield: send, sleep, ask. Each calling style performs them in its own way."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from tfs_client._transports.deadline import Deadline
from tfs_client._transports.reply import Reply
from tfs_client.options import UNSET, MetadataPairs, Unset

Result = TypeVar("Result")


class Send(NamedTuple):
    """Send a request; the answer is a Reply.

    Attributes:
        address: over gRPC the method path; over REST the HTTP method and the path, "POST /v1/models/m:predict".
        body: the request.
        deadline: the time by which the reply must have arrived.
        metadata: the pairs to send; HTTP headers over REST.
        compression: of the request; UNSET for the client's.
        wait_for_ready: whether the transport waits for a server that cannot be reached yet; None leaves it to the
            channel, which does not wait unless the user's own service config says so. Retries wait by repeated attempts
            instead, because a failed attempt says why.
    """

    address: str
    body: bytes
    deadline: Deadline
    metadata: MetadataPairs = ()
    compression: str | Unset | None = UNSET
    wait_for_ready: bool | None = None


class Sleep(NamedTuple):
    """Wait; the answer is None.

    Attributes:
        seconds: how long.
        waiting: whether the call waits for a server that it did not reach: the attempt continues after the pause.
    """

    seconds: float
    waiting: bool = False


class Ask(NamedTuple):
    """Call the user's function; the answer is its result, awaited until the deadline if it is awaitable."""

    function: Callable[[], Any]
    deadline: Deadline


Step = Send | Sleep | Ask
Flow = Generator[Step, Any, Result]
Done = Callable[[Reply | None, Exception | None], None]
"""Receives the answer to a step that was begun: the reply and None, or None and the error."""
