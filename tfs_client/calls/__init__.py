"""One module per API method: how its request is written and its reply is read, over gRPC and over REST."""

from __future__ import annotations

from typing import Protocol, TypeVar

from tfs_client.codec.model_spec import ModelSpec
from tfs_client.codec.predict import Join, plain_join
from tfs_client.signatures import Signatures

Result = TypeVar("Result", covariant=True)


class Call(Protocol[Result]):
    """One call: bytes out, bytes in. It does no I/O and knows no transport."""

    path: str
    """The gRPC method path."""
    method: str
    """The API method's name, for error texts."""
    spec: ModelSpec
    """Which model the call is for."""

    def write(self, join: Join = plain_join) -> bytes:
        """The request; ``join`` makes it of its parts."""

    def read(self, reply: bytes) -> Result:
        """The result that the reply stands for. Raises DecodeError."""


class RestCall(Call[Result], Protocol):
    """A call that is made over REST too, or says that it cannot be."""

    def write_rest(self) -> tuple[str, bytes]:
        """HTTP method and path, and the body. Raises UnimplementedError for what REST does not have."""

    def read_rest(self, reply: bytes) -> Result:
        """The result that a REST reply stands for. Raises DecodeError."""


class BlamableCall(RestCall[Result], Protocol):
    """A call that can tell from the model's signatures why it was refused."""

    def blame(self, signatures: Signatures) -> str:
        """What the signatures say to the request; empty when they say nothing."""
