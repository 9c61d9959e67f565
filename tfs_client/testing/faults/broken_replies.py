"""Broken replies: from the reply of a call to bytes that a client must refuse, or to more bytes than it may accept."""

from __future__ import annotations

from random import Random

from tfs_client._codec import wire
from tfs_client.errors import DecodeError
from tfs_client.server.call_hooks import HttpReply

PADDING = 1000  # the number of a field that no message here has
HEADERS = 512  # bytes; more than the headers of our own responses


def truncated(message: bytes) -> bytes:
    """Return about the first half of a message, which ends within a field: as a whole it is not a message."""
    try:
        ends = {stop for _, _, stop in wire.fields(message, 0, len(message))}
    except DecodeError:  # another fault has broken it already
        return message
    half = max(1, len(message) // 2)
    # A field has at least two bytes, so of two positions in a row one is within a field.
    return (message[:half] if half not in ends else message[: half - 1]) or b"\x0a"


def truncation(body: bytes) -> tuple[bytes, int]:
    """Return the body of a response to truncate over HTTP, and the number of bytes after which to cut its headers and
    the body, so that the cut is within the body and the client has got no complete JSON.

    The size of the headers is not known here. Leading whitespace makes room for any.
    """
    return b" " * HEADERS + body, HEADERS + len(body) // 2


def garbage(size: int, seed: int) -> bytes:
    """Return random bytes that begin neither a message nor JSON.

    The first one has a wire type that protobuf does not have, and continues a character that has not begun. Without
    zeros no reader of JSON takes the text for UTF-16.
    """
    random = Random(seed)
    first = 0x87 | random.randrange(8) << 3 & 0x38
    return bytes((first,)) + random.randbytes(size - 1).replace(b"\0", b"\1")


def padded_message(message: bytes, size: int) -> bytes:
    """Return the message with an unknown field, so that it has at least ``size`` bytes."""
    missing = size - len(message)
    return message if missing <= 0 else message + wire.delimited(PADDING, bytes(missing))


def padded_json(body: bytes, size: int) -> bytes:
    """Return the JSON text with whitespace, so that it has at least ``size`` bytes."""
    return body.ljust(size, b" ")


def html_page(status: int, page: str | None) -> HttpReply:
    """Return the error page of a proxy."""
    from http.client import responses

    title = f"{status} {responses.get(status, 'Error')}"
    if page is None:
        page = f"<html>\n<head><title>{title}</title></head>\n<body><h1>{title}</h1></body>\n</html>\n"
    return HttpReply(status, page.encode(errors="replace"), "text/html")
