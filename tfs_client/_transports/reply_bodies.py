"""Bodies of HTTP replies: limits on their size, and decompression."""

from __future__ import annotations

import re
from collections.abc import Iterable
from io import BytesIO

from tfs_client._codec.inflating import Inflation, TooLarge
from tfs_client._printable import shown
from tfs_client._transports.http_client import Head
from tfs_client.errors import DecodeError
from tfs_client.options import Limits

ACCEPTED = "gzip, deflate"  # the encodings of replies, as a header value
_READ = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_ONCE = (None,)


class ReplyBody:
    """Collects a body while it arrives.

    Args:
        head: the reply's headers.
        limits: the client's limits.

    Raises TooLarge for a length over the limit, DecodeError for an unsupported encoding.
    """

    def __init__(self, head: Head, limits: Limits) -> None:
        self._limit = limits.reply
        self._size = 0
        self._plain = BytesIO()
        self._inflation = None
        if head.encoding and (encoding := _encoding(head.encoding)):
            self._inflation = Inflation(encoding, limits.inflated_reply)
        if self._limit is not None and head.length.isdecimal() and len(head.length) < 20:
            self._check(int(head.length))

    def add(self, data: bytes) -> Iterable[None]:
        """Add the next bytes. Yields after each piece of work. Raises TooLarge and DecodeError."""
        self._size += len(data)
        self._check(self._size)
        if self._inflation is not None:
            return self._inflation.add(data)
        self._plain.write(data)
        return _ONCE

    def whole(self) -> bytes:
        """The decompressed body. Raises DecodeError for a truncated one."""
        return self._plain.getvalue() if self._inflation is None else self._inflation.whole()

    def _check(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            self._plain.close()  # the error keeps this object alive
            raise TooLarge(self._limit)


def _encoding(named: str) -> str:
    """Read a Content-Encoding; "" for none. Raises DecodeError for several, and for unsupported ones."""
    found = [name for name in re.split(r"[,\s]+", named.lower()) if name not in ("", "identity")]
    if len(found) > 1 or any(name not in _READ for name in found):
        raise DecodeError(f"expected a reply in one content encoding at most, gzip or deflate, got {shown(named)}")
    return _READ[found[0]] if found else ""
