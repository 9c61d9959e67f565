"""The public TensorFlow Serving schema under its public module layout.

``tensorflow_serving.apis.predict_pb2`` is ``tfs_client.protos.tensorflow_serving.apis.predict_pb2`` here, and so on.
The classes live in a descriptor pool of their own, so TensorFlow may be imported in the same process. A message of
theirs and one of ours are different types that agree on every byte: pass messages across as bytes.

protobuf's formatters look up what an ``Any`` holds in the default pool, where these types are not. The functions of
``tfs_client.protos.json_format`` and ``tfs_client.protos.text_format`` look in the right one; so do protobuf's own with
``descriptor_pool=tfs_client.protos.pool()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool


def pool() -> DescriptorPool:
    """The descriptor pool of the schema, for the argument ``descriptor_pool`` of protobuf's formatters."""
    from tfs_client.protos import _pool

    return _pool.pool()
