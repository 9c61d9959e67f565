"""Metadata over REST as the message that gRPC would have carried, with everything that a client ignores."""

from __future__ import annotations

from tfs_client._codec import json_text
from tfs_client.errors import DecodeError, reads


@reads("the reply of GetModelMetadata")
def metadata(body: bytes) -> bytes:
    """Return a GetModelMetadataResponse. Raises DecodeError."""
    from tfs_client.protos import json_format
    from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataResponse,
        SignatureDefMap,
    )

    found = json_text.loads(body)
    try:
        spec, signatures = found["model_spec"], found["metadata"]["signature_def"]
    except (KeyError, TypeError):
        raise DecodeError(f"expected signatures as JSON, got {json_text.excerpt(body)}") from None
    response = GetModelMetadataResponse()
    json_format.ParseDict(spec, response.model_spec, ignore_unknown_fields=True)
    every = json_format.ParseDict(signatures, SignatureDefMap(), ignore_unknown_fields=True)
    response.metadata["signature_def"].Pack(every)
    return response.SerializeToString()
