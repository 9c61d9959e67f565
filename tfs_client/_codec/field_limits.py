"""Limits on the bytes and fields of messages that become Python objects, checked before protobuf parses them.

A field of two bytes may become an object of a hundred. Predict's replies become arrays, whose memory grows with the
message; those of the other methods become objects, one for each version, signature, class or value. Real replies stay
far below these limits. Most are so short that they cannot have that many fields of two bytes, and are not walked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfs_client._codec import wire
from tfs_client.errors import DecodeError

MOST_BYTES = 1 << 26
MOST_FIELDS = 1 << 18  # 1,000 signatures with 20 tensors each, or 80,000 classes with labels and scores
MOST_OF_STATUS = 1 << 19  # 130,000 versions, all of which a server remembers until it ends
FIELDS_FOR_EACH_EXAMPLE = 1 << 16  # 20,000 classes with labels and scores
FIELDS_FOR_EACH_VALUE = 4  # of a regression

Tree = Mapping[int, Any]
"""The message fields of a message by their tags, each with its own tree."""


def _tree(**fields: Tree) -> Tree:
    """Build a tree by field numbers: ``_1={}`` is field 1, a message without nested messages."""
    return {wire.tag(int(name[1:]), wire.LENGTH): tree for name, tree in fields.items()}


_SPEC = _tree(_2={})
_CLASSES = _tree(_1=_tree(_1={}))
_VALUES = _tree(_1={})
_INFO = _tree(_2=_tree(_3=_tree(_2={})))  # a map entry of TensorInfo

STATUS = _tree(_1=_tree(_3={}))
METADATA = _tree(_1=_SPEC, _2=_tree(_2=_tree(_2=_tree(_1=_tree(_2=_tree(_1=_INFO, _2=_INFO, _4={}))))))
CLASSIFICATION = _tree(_1=_CLASSES, _2=_SPEC)
REGRESSION = _tree(_1=_VALUES, _2=_SPEC)
MULTI_INFERENCE = _tree(_1=_tree(_1=_SPEC, _2=_CLASSES, _3=_VALUES))
RELOAD = _tree(_1={}, _2={})

MODEL_SERVER_CONFIG = _tree(_1=_tree(_1=_tree(_6={}, _7={}, _8={})))
RELOAD_REQUEST = _tree(_1=MODEL_SERVER_CONFIG)
MULTI_INFERENCE_REQUEST = _tree(_1=_tree(_1=_SPEC))  # its examples are bytes


def check(data: bytes, tree: Tree, what: str, *, examples: int = 0, most: int = MOST_FIELDS) -> None:
    """Raise DecodeError for a reply with more bytes or fields than a real one.

    Args:
        tree: the nested messages of the reply; fields are counted at all its depths.
        what: the reply, e.g. "the reply of GetModelStatus".
        examples: the number of examples in the request, each of which may have many classes.
        most: the maximum number of fields of a reply without examples.
    """
    each = FIELDS_FOR_EACH_VALUE if tree is REGRESSION else FIELDS_FOR_EACH_EXAMPLE
    size = MOST_BYTES + 64 * each * examples
    if len(data) > size:
        raise DecodeError(f"{what} is too large: expected at most {size} bytes, got {len(data)}")
    check_fields(data, tree, what, most + each * examples)


def check_fields(data: bytes, tree: Tree, what: str, most: int = MOST_FIELDS) -> None:
    """Raise DecodeError for a message with more than ``most`` fields."""
    if len(data) > 2 * most and _has_more(data, tree, most):
        raise DecodeError(f"{what} is too large: expected at most {most} fields, got more in {len(data)} bytes")


def _has_more(data: bytes, tree: Tree, most: int) -> bool:
    """Return whether there are more fields than ``most``. Stops at invalid bytes, which the parser reports.

    One loop handles all depths: with two bytes a field, a function call for each would double the time. Fields of
    unknown groups are counted too, and so are the ends of groups.
    """
    at, end, left = 0, len(data), most
    outer: list[tuple[int, Tree]] = []
    try:
        while True:
            while at >= end:
                if not outer:
                    return False
                end, tree = outer.pop()
            left -= 1
            if left < 0:
                return True
            tag = data[at]
            at += 1
            if tag >= 0x80:
                tag, at = wire.read_varint(data, at - 1, end)
            kind = tag & 7
            if kind == wire.LENGTH:
                size = data[at]
                at += 1
                if size >= 0x80:
                    size, at = wire.read_varint(data, at - 1, end)
                if tag not in tree:
                    at += size
                elif size:
                    outer.append((end, tree))
                    end, tree = at + size, tree[tag]
            elif kind == wire.VARINT:
                while data[at] >= 0x80:
                    at += 1
                at += 1
            elif kind == wire.FIXED32:
                at += 4
            elif kind == wire.FIXED64:
                at += 8
    except (IndexError, DecodeError):
        return False
