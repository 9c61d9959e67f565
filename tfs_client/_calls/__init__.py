"""One module per API method: how its request is written and its reply is read, over gRPC and over REST."""

from __future__ import annotations

from typing import Protocol, TypeVar

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import Join, plain_join
from tfs_client.signatures import Signatures

Result = TypeVar("Result", covariant=True)


class Call(Protocol[Result]):
    """One call as bytes: writes its request and reads its reply, without I/O and independent of the transport."""

    path: str
    """The gRPC method path."""
    method: str
    """The API method's name, for error texts."""
    spec: ModelSpec
    """Which model the call is for."""

    def write(self, join: Join = plain_join) -> bytes:
        """Return the request; ``join`` assembles it from its parts."""

    def read(self, reply: bytes) -> Result:
        """Return the result in the reply. Raises DecodeError."""


class RestCall(Call[Result], Protocol):
    """A call that can also be made over REST, or refuses to."""

    def write_rest(self) -> tuple[str, bytes]:
        """Return HTTP method and path, and the body. Raises UnimplementedError for calls that REST does not have."""

    def read_rest(self, reply: bytes) -> Result:
        """Return the result in a REST reply. Raises DecodeError."""


class BlamableCall(RestCall[Result], Protocol):
    """A call with examples, which can explain by the model's signatures why it was refused."""

    examples: object
    """The examples as the user passed them."""

    def blame(self, signatures: Signatures) -> str:
        """Describe how the request contradicts the signatures; empty if it does not."""
