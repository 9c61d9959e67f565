"""Reply: the bytes of a reply, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfs_client._codec.reply_facts import ReplyFacts
from tfs_client.errors import ReplyMetadata
from tfs_client.options import MetadataPairs

RawPairs = Iterable[tuple[Any, Any]] | None
"""Metadata as gRPC returns it, or HTTP headers as bytes."""


class Reply(ReplyFacts):
    """The answer to a Send. It refers to no call, no request and no connection.

    Args:
        body: the reply, inflated.
        peer: the address that it came from; "" if unknown.
        initial: the metadata before the reply; over REST its headers.
        trailing: the metadata after it.
    """

    __slots__ = ("_initial", "_trailing", "_without_body", "body")

    def __init__(self, body: bytes, peer: str = "", initial: RawPairs = (), trailing: RawPairs = ()) -> None:
        # Created for every call, so it only stores its arguments.
        self.body = body
        self.peer = peer
        self.request_id = ""
        self.attempts = 1
        self._initial = initial
        self._trailing = trailing

    @property
    def metadata(self) -> ReplyMetadata:
        """The metadata of the reply."""
        return ReplyMetadata(pairs(self._initial), pairs(self._trailing))

    @property
    def raw(self) -> bytes | None:
        """The reply as received."""
        return self.body

    def without_body(self) -> ReplyFacts:
        """The same facts for the rows of a batch, which share them. Over REST the JSON is far larger than a row."""
        try:
            return self._without_body
        except AttributeError:  # few replies have rows
            facts = _Bodiless(b"", self.peer, self._initial, self._trailing)
            facts.request_id, facts.attempts = self.request_id, self.attempts
            self._without_body: ReplyFacts = facts  # last: another thread may take a row at the same time
            return facts


class _Bodiless(Reply):
    """The facts of a reply whose bytes are not kept."""

    __slots__ = ()

    @property
    def raw(self) -> None:
        """None."""


def pairs(found: RawPairs) -> MetadataPairs:
    """Metadata as pairs of key and value. What is not metadata, such as an interceptor's own objects, gives none."""
    try:
        return tuple(_pair(key, value) for key, value in found or ())
    except Exception:  # the objects are not gRPC's
        return ()


def _pair(key: str | bytes, value: str | bytes) -> tuple[str, str | bytes]:
    if isinstance(key, bytes):  # an HTTP header
        return key.decode("latin-1").lower(), value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return str(key), value if isinstance(value, bytes) else str(value)


def address(found: object) -> str:
    """The address of a socket's peer, as text; "" if unknown."""
    if isinstance(found, tuple) and len(found) >= 2 and isinstance(found[0], str):
        host, port = found[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"unix:{found}" if isinstance(found, str) and found else ""
