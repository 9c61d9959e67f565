"""Calls as episodes, for tests of recordings."""

from __future__ import annotations

from tfs_client._codec import signature_defs, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.model_spec import write as write_spec
from tfs_client.errors import StatusCode
from tfs_client.recordings import Episode


def predicted(number: int, size: int = 20) -> Episode:
    """A successful call; the version identifies it."""
    spec = ModelSpec("m", number)
    return Episode("Predict", spec, wire.delimited(1, write_spec(spec)) + wire.delimited(3, b"y" * size), b"")


def failed(number: int) -> Episode:
    """A call that has no record."""
    request = signature_defs.write_request(ModelSpec("m", number))
    return Episode("GetModelMetadata", ModelSpec("m", number), request, None, StatusCode.NOT_FOUND, f"no {number}")


MIXED = [predicted(0), failed(1), predicted(2), predicted(3), failed(4)]
