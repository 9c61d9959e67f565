"""Batching: calls that arrive together run as one, as in TensorFlow Serving with ``--enable_batching``.

``BatchingServable`` wraps any servable. queues.py decides which calls run together, and when, with time passed in;
merging.py and padding.py merge the inputs of a batch and split its outputs; scheduler.py has the threads.
"""

from tfs_client.server.batching.batching_servable import BatchingServable
from tfs_client.server.batching.execution import BatchRun
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.batching.scheduler import BatchScheduler
from tfs_client.server.call_deadlines import time_limit

__all__ = ["BatchRun", "BatchScheduler", "BatchingParameters", "BatchingServable", "time_limit"]
