"""Bodies of HTTP replies: how much of one is read, and how a compressed one becomes plain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

from tfs_client.errors import DecodeError
from tfs_client.inflating import Inflation, TooLarge
from tfs_client.options import Limits

ACCEPTED = "gzip, deflate"  # what replies may be encoded in, as the header says it
_READ = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}


class ReplyBody:
    """A body while it arrives.

    Args:
        encoding: the reply's Content-Encoding; "" for none.
        length: its Content-Length; "" for none.
        limits: those of the client.

    Raises TooLarge for a length over the limit, DecodeError for an encoding that is not read.
    """

    def __init__(self, encoding: str, length: str, limits: Limits) -> None:
        self._limit = limits.reply
        self._size = 0
        self._plain = BytesIO()
        found = [name for name in re.split(r"[,\s]+", encoding.lower()) if name not in ("", "identity")]
        if len(found) > 1 or any(name not in _READ for name in found):
            raise DecodeError(f"expected a reply in one content encoding at most, gzip or deflate, got {encoding!r}")
        self._inflation = Inflation(_READ[found[0]], limits.inflated_reply) if found else None
        if length.isdecimal() and len(length) < 20:
            self._check(int(length))

    def add(self, data: bytes) -> Iterator[None]:
        """Take the next bytes. Yields after each piece of work. Raises TooLarge and DecodeError."""
        self._size += len(data)
        self._check(self._size)
        if self._inflation is not None:
            yield from self._inflation.add(data)
        else:
            self._plain.write(data)
            yield

    def whole(self) -> bytes:
        """The plain body. Raises DecodeError for a compressed one that is cut off."""
        return self._plain.getvalue() if self._inflation is None else self._inflation.whole()

    def _check(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise TooLarge(self._limit)
