"""Batching: calls that arrive together run as one, as TensorFlow Serving does it with ``--enable_batching``.

``BatchingServable`` wraps any servable. Who may run with whom, and when, is decided in queues.py, with time passed in;
merging.py and padding.py make one call of many and many answers of one; scheduler.py has the threads.
"""

from tfs_client.server.batching.execution import BatchRun
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.batching.scheduler import BatchScheduler
from tfs_client.server.batching.servable import BatchingServable
from tfs_client.server.deadlines import time_limit

__all__ = ["BatchRun", "BatchScheduler", "BatchingParameters", "BatchingServable", "time_limit"]
