"""HTTP/2 as far as the relay needs it: where frames end, which streams are open, and an HTML page as the reply.

See RFC 9113 for the frames and RFC 7541 for the headers.
"""

from __future__ import annotations

DATA, HEADERS, RST_STREAM, GOAWAY, CONTINUATION = 0, 1, 3, 7, 9
END_STREAM, END_HEADERS = 1, 4
HEAD = 9  # bytes before the payload of a frame: length, kind, flags, stream
PREFACE = 24  # bytes that a client sends before its first frame
MAX_PAGE = 1 << 14  # bytes; every peer accepts a frame of this size


class Frames:
    """Find the ends of frames in one direction of a connection, whatever pieces the bytes arrive in.

    Args:
        skip: bytes before the first frame.
    """

    def __init__(self, skip: int = 0) -> None:
        self._head = bytearray(HEAD if skip else 0)
        self._missing = skip  # bytes of the payload, once the head is complete
        self._continued = False  # a CONTINUATION frame must follow

    @property
    def between(self) -> bool:
        """Whether another frame may be inserted here."""
        return not self._head and not self._continued

    def ended(self, data: memoryview) -> list[tuple[int, int, int, int]]:
        """Return kind, flags, stream and the position of the end of every frame that ends in ``data``."""
        found = []
        position, size = 0, len(data)
        while position < size:
            if len(self._head) < HEAD:
                taken = data[position : position + HEAD - len(self._head)]
                self._head += taken
                position += len(taken)
                if len(self._head) < HEAD:
                    break
                self._missing = int.from_bytes(self._head[:3], "big")
            step = min(self._missing, size - position)
            position += step
            self._missing -= step
            if self._missing:
                break
            kind, flags, stream = self._head[3], self._head[4], int.from_bytes(self._head[5:], "big")
            if kind in (HEADERS, CONTINUATION):
                self._continued = not flags & END_HEADERS
            found.append((kind, flags, stream & 0x7FFFFFFF, position))
            self._head.clear()
        return found


class Http2Streams:
    """The streams of an HTTP/2 connection that wait for the end of their reply.

    Attributes:
        open: their numbers, in the order in which they were opened.
    """

    def __init__(self) -> None:
        self._requests = Frames(skip=PREFACE)
        self._replies = Frames()
        self.open: dict[int, None] = {}

    @property
    def between_replies(self) -> bool:
        """Whether the server's last frame is complete."""
        return self._replies.between

    def requested(self, data: memoryview) -> None:
        """Follow bytes of the client."""
        for kind, _, stream, _ in self._requests.ended(data):
            if kind == HEADERS:
                self.open[stream] = None
            elif kind == RST_STREAM:
                self.open.pop(stream, None)

    def replied(self, data: memoryview) -> int | None:
        """Follow bytes of the server. Returns the first position at which another frame may be inserted, if any."""
        first = None
        for kind, flags, stream, end in self._replies.ended(data):
            if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
                self.open.pop(stream, None)
            if first is None and not (kind in (HEADERS, CONTINUATION) and not flags & END_HEADERS):
                first = end
        return first

    def page(self, status: int, page: bytes) -> bytes:
        """Return frames that answer every open stream with an HTML page, and ask for another connection."""
        headers = b"".join(
            _literal(name, value)
            for name, value in (
                (b":status", b"%d" % status),
                (b"content-type", b"text/html"),
                (b"content-length", b"%d" % len(page)),
            )
        )
        last = max(self.open, default=0)
        return _frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + bytes(4)) + b"".join(
            _frame(HEADERS, END_HEADERS, stream, headers) + _frame(DATA, END_STREAM, stream, page)
            for stream in self.open
        )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that neither uses nor changes the table that compresses headers. Both are short."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
