"""One module per API method: how its request is written and its reply is read."""

from __future__ import annotations

from typing import Protocol, TypeVar

from tfs_client.codec.predict import Join, plain_join

Result = TypeVar("Result", covariant=True)


class Call(Protocol[Result]):
    """One call: bytes out, bytes in. It does no I/O and knows no transport."""

    path: str
    """The gRPC method path."""
    method: str
    """The API method's name, for error texts."""

    def write(self, join: Join = plain_join) -> bytes:
        """The request; ``join`` makes it of its parts."""

    def read(self, reply: bytes) -> Result:
        """The result that the reply stands for. Raises DecodeError."""
