"""The public TensorFlow Serving schema, in its public module layout.

``tensorflow_serving.apis.predict_pb2`` is ``tfs_client.protos.tensorflow_serving.apis.predict_pb2`` here, and so on.
The classes are in a private descriptor pool, so TensorFlow can be imported in the same process. Its messages and ours
are different types with the same wire format: pass messages between them as bytes.

protobuf's formatters look up the content of an ``Any`` in the default pool, which does not have these types. The
functions of ``tfs_client.protos.json_format`` and ``tfs_client.protos.text_format`` use the right pool; protobuf's own
do with ``descriptor_pool=tfs_client.protos.pool()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

__all__ = ["pool"]


def pool() -> DescriptorPool:
    """Return the descriptor pool of the schema, for the argument ``descriptor_pool`` of protobuf's formatters."""
    from tfs_client.protos import _pool

    return _pool.pool()
