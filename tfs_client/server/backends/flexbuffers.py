"""FlexBuffers, as far as TensorFlow Lite stores signatures in them: a map from names to strings.

The format is read backwards: the last byte is the width of the root, the byte before it its type, and the target of a
reference lies at a distance before the reference.
Source: https://flatbuffers.dev/flexbuffers
"""

from __future__ import annotations

from tfs_client.errors import DecodeError, reads

KEY, STRING, MAP = 4, 5, 9
WIDTHS = (1, 2, 4, 8)


@reads("a FlexBuffer")
def read_strings(data: bytes) -> dict[bytes, bytes]:
    """Read the strings of a map, by their keys; b"" for other values, and an empty map for a root that is not a map.

    Raises DecodeError for bytes that are not a FlexBuffer. The time is linear in the length of the data: keys and
    strings may share bytes, but are refused once they are longer than the data in total.
    """
    return _Reader(data).strings()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = len(data)  # bytes that further keys and strings may have in total

    def strings(self) -> dict[bytes, bytes]:
        if len(self._data) < 3 or self._data[-1] not in WIDTHS:
            raise DecodeError("a FlexBuffer without the width of its root at the end")
        root, width = len(self._data) - 2, self._data[-1]
        kind, own = divmod(self._data[root], 4)
        if kind != MAP:
            return {}
        at, width = self._target(root - width, width), WIDTHS[own]
        keys, key_width = self._target(at - 3 * width, width), self._uint(at - 2 * width, width)
        count, kinds = self._uint(at - width, width), at + self._uint(at - width, width) * width
        if kinds + count > len(self._data):
            raise DecodeError(f"a FlexBuffer of {len(self._data)} bytes with {count} values in a map")
        return {
            self._text(self._target(keys + each * key_width, key_width)): self._value(
                at + each * width, width, self._data[kinds + each]
            )
            for each in range(count)
        }

    def _value(self, at: int, width: int, packed: int) -> bytes:
        kind, own = divmod(packed, 4)
        if kind == KEY:
            return self._text(self._target(at, width))
        if kind != STRING:
            return b""
        start = self._target(at, width)
        return self._bytes(start, self._uint(start - WIDTHS[own], WIDTHS[own]))

    def _text(self, start: int) -> bytes:
        end = self._data.find(b"\0", start)
        if end < 0:
            raise DecodeError("a FlexBuffer with a key that does not end")
        return self._bytes(start, end - start)

    def _bytes(self, start: int, size: int) -> bytes:
        self._left -= size
        if start + size > len(self._data) or self._left < 0:
            raise DecodeError(f"a FlexBuffer of {len(self._data)} bytes with longer strings")
        return self._data[start : start + size]

    def _target(self, at: int, width: int) -> int:
        """Return the target of the reference at a position."""
        distance = self._uint(at, width)
        if not 0 < distance <= at:
            raise DecodeError("a FlexBuffer with a reference to a position outside of it")
        return at - distance

    def _uint(self, at: int, width: int) -> int:
        if width not in WIDTHS or not 0 <= at <= len(self._data) - width:
            raise DecodeError("a truncated FlexBuffer")
        return int.from_bytes(self._data[at : at + width], "little")
