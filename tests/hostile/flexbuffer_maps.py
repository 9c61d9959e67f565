"""FlexBuffers that hold a map from names to strings, as TensorFlow Lite keeps signatures."""

from __future__ import annotations

from collections.abc import Mapping

KEY, STRING, MAP = 4, 5, 9


def written(values: Mapping[bytes, bytes], width: int = 4) -> bytes:
    """The map; sizes and distances take ``width`` bytes. Values that are the same object are written once."""
    data = bytearray()
    packed = width.bit_length() - 1

    def number(value: int) -> None:
        data.extend(value.to_bytes(width, "little"))

    keys = {}
    for key in sorted(values):
        keys[key] = len(data)
        data.extend(key + b"\0")
    strings: dict[int, int] = {}
    for value in values.values():
        if id(value) not in strings:
            number(len(value))
            strings[id(value)] = len(data)
            data.extend(value + b"\0")
    number(len(keys))
    at_keys = len(data)
    for place in keys.values():
        number(len(data) - place)
    number(len(data) - at_keys)
    number(width)
    number(len(keys))
    at = len(data)
    for key in keys:
        number(len(data) - strings[id(values[key])])
    data.extend([STRING << 2 | packed] * len(keys))
    number(len(data) - at)
    data.extend([MAP << 2 | packed, width])
    return bytes(data)
