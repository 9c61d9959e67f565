"""Read the signatures of ``saved_model.pb`` without its graph, which may have gigabytes.

Messages: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto. protobuf itself cannot read the file, because it
contains the graph, whose messages this package does not have.

Strategy: a walk over the fields of each MetaGraphDef notes where its signatures are, and reads its tags. Signatures may
come before or after the tags, so they are read at the end, and only of the graph that is served.
"""

from __future__ import annotations

from collections.abc import Set
from typing import BinaryIO, NamedTuple

from tfs_client._codec import signature_defs, wire
from tfs_client._codec.field_limits import MOST_BYTES
from tfs_client._codec.signature_defs import SignatureInfo
from tfs_client._codec.wire_file import WireFile, located
from tfs_client.errors import DecodeError, reads

SERVE = frozenset({"serve"})  # the tags of the graph for serving

_META_GRAPH = wire.tag(2, wire.LENGTH)
_META_INFO = wire.tag(1, wire.LENGTH)
_TAG = wire.tag(4, wire.LENGTH)
_SIGNATURE_DEF = wire.tag(5, wire.LENGTH)


class SavedSignature(NamedTuple):
    """A signature, and the bytes of its SignatureDef, which contain more than it."""

    info: SignatureInfo
    data: bytes


@reads("the SavedModel")
def read(file: BinaryIO, tags: Set[str] = SERVE) -> dict[str, SavedSignature] | None:
    """Read the signatures of the first graph with exactly these tags, by name; None without such a graph.

    The order of signatures is that of the file. Raises DecodeError, with the offset, for a file that is damaged or cut
    off; the parts that are skipped are not checked.
    """
    message = WireFile(file)
    found: dict[str, SavedSignature] | None = None
    for tag, start, stop in message.fields(0, message.size):  # to the end, because a file may be cut off
        if tag == _META_GRAPH and found is None:
            found = _graph(message, start, stop, tags)
    return found


def _graph(message: WireFile, at: int, end: int, tags: Set[str]) -> dict[str, SavedSignature] | None:
    own: set[str] = set()
    entries: list[tuple[int, int]] = []
    for tag, start, stop in message.fields(at, end):
        if tag == _META_INFO:
            own |= _tags(message, start, stop)
        elif tag == _SIGNATURE_DEF:
            entries.append((start, stop))
    if own != tags:
        return None
    total = sum(stop - start for start, stop in entries)
    if total > MOST_BYTES:
        raise DecodeError(f"expected signatures of at most {MOST_BYTES} bytes at byte {at}, got {total}")
    found: dict[str, SavedSignature] = {}
    for start, stop in entries:
        whole = message.read(start, stop)
        with located("the signature", start):
            name, (data, first, last) = signature_defs.entry(whole, 0, len(whole))
            found[name] = SavedSignature(signature_defs.signature(data, first, last), data[first:last])
    return found


def _tags(message: WireFile, at: int, end: int) -> set[str]:
    """Read the tags in a MetaInfoDef, which may also have a long list of ops."""
    found = set()
    for tag, start, stop in message.fields(at, end):
        if tag == _TAG:
            data = message.read(start, stop)
            with located("a tag", start):
                found.add(wire.text(data, 0, len(data), "a tag"))
    return found
