"""The list of a server's models, and the addresses of the calls that only tfs-serve has."""

from __future__ import annotations

from collections.abc import Iterable

from tfs_client.errors import DecodeError, reads

SERVICE = "/tfs_client.ModelService"
PAGE = "/tfs_client/models"


def write(names: Iterable[str]) -> bytes:
    """Return the reply: a JSON object, over gRPC too."""
    from tfs_client._codec import json_text  # here and below: it may import orjson

    return json_text.dumps({"models": [*names]})


@reads("the list of models")
def read(reply: bytes) -> tuple[str, ...]:
    """Return the names. Raises DecodeError."""
    from tfs_client._codec import json_text

    body = json_text.loads(reply)
    names = body.get("models") if isinstance(body, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DecodeError(f"expected a list of models as JSON, got {json_text.excerpt(reply)}")
    return tuple(names)
