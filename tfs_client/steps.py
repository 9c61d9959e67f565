"""Steps: what a call asks of the world outside. Flows yield them; each calling style performs them in its own way."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from tfs_client.options import UNSET, Deadline, MetadataPairs, Unset

Result = TypeVar("Result")


class Send(NamedTuple):
    """Send a request; the answer is the reply's bytes.

    Attributes:
        address: the method path in gRPC; over REST the HTTP method and the path, "POST /v1/models/m:predict".
        body: the request.
        deadline: when the reply must be there.
        metadata: pairs that go along; HTTP headers over REST.
        compression: of the request; UNSET means the client's.
        wait_for_ready: whether the transport waits for a server that cannot be reached yet; None leaves it to the
            channel, which does not unless the user's own service config says so. Retries wait by attempts instead,
            for an attempt that fails says why.
    """

    address: str
    body: bytes
    deadline: Deadline
    metadata: MetadataPairs = ()
    compression: str | Unset | None = UNSET
    wait_for_ready: bool | None = None


class Sleep(NamedTuple):
    """Let time pass."""

    seconds: float


class Ask(NamedTuple):
    """Call a function of the user's; what it gives is awaited, until the deadline, where that can be."""

    function: Callable[[], Any]
    deadline: Deadline


Step = Send | Sleep | Ask
Flow = Generator[Step, Any, Result]
