"""The layout of a Predict request around its arrays, each of which begins at an aligned address."""

from __future__ import annotations

from functools import lru_cache

from tfs_client._codec import predict_messages, tensors, wire
from tfs_client._codec.dtypes import ArrayShape
from tfs_client._codec.model_spec import ModelSpec

_ALIGNED = 16  # bytes; where the contents of a bytes object begin in CPython, and the widest dtype


@lru_cache(maxsize=64)
def layout(
    spec: ModelSpec, outputs: tuple[str, ...], shapes: tuple[tuple[str, ArrayShape], ...]
) -> tuple[int, list[bytes]]:
    """Return the size of a request, and the bytes before each of its arrays. Raises EncodeError for over 2 GiB."""
    front = predict_messages.front(spec, outputs)
    size = len(front)
    heads = []
    for alias, each in shapes:
        head = _aligned_head(size, alias, each)
        heads.append(front + head)
        front = b""
        size += len(head) + each.nbytes
    if size > predict_messages.MAX_MESSAGE:
        raise predict_messages.too_large(size, "request")
    return size, heads


def _aligned_head(at: int, alias: str, each: ArrayShape) -> bytes:
    """The bytes at ``at`` of a request, before an array, of a length that aligns the array.

    The tensor's content is written twice, at first as a few zeros: of a field that occurs twice, the last one counts
    (https://protobuf.dev/programming-guides/encoding/#last-one-wins).
    """
    nbytes = each.nbytes
    tensor = tensors.head(each.row, each.shape)
    content = wire.prefix(4, nbytes) if nbytes else b""
    for gap in (0, *range(2, 2 * _ALIGNED)):  # a field takes two bytes at least
        padding = wire.delimited(4, bytes(gap - 2)) if gap else b""
        head = predict_messages.input_head(alias, tensor + padding + content, nbytes)
        if not nbytes or not (at + len(head)) % _ALIGNED:
            return head
    raise AssertionError("one of so many lengths fits")
