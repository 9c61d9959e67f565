"""ReplyFacts: what is known about a reply besides its content."""

from __future__ import annotations

from tfs_client.errors import ReplyMetadata


class ReplyFacts:
    """The facts of a reply that a prediction keeps. Replies of the transports have more of them than this base class.

    Args:
        peer: the address that the reply came from; "" if unknown.
        request_id: the id that was sent with the call; "" for none.
        attempts: how often the call was sent; 0 if unknown.
    """

    __slots__ = ("attempts", "peer", "request_id")

    def __init__(self, peer: str = "", request_id: str = "", attempts: int = 0) -> None:
        self.peer = peer
        self.request_id = request_id
        self.attempts = attempts

    @property
    def metadata(self) -> ReplyMetadata:
        """The metadata of the reply."""
        return ReplyMetadata()

    @property
    def raw(self) -> bytes | None:
        """The reply as received; None if it is not kept."""
        return None

    def without_body(self) -> ReplyFacts:
        """The same facts of a row of the reply, which does not keep the whole of it."""
        return self


UNKNOWN = ReplyFacts()  # of predictions that no server answered, and of unpickled ones
