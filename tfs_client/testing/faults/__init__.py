"""The faults that a fake server can produce, and the steps of a sequence of them.

::

    from tfs_client.testing import faults

    server.faults.add(faults.Busy(), times=2)            # the next two calls; the third one succeeds
    server.faults.sequence([faults.Latency(0.2), faults.Pass(times=3), faults.VersionVanishes()], model="m")

These objects only describe faults; ``FakeServer.faults`` decides which calls have them. The texts are TensorFlow
Serving's.
"""

from __future__ import annotations

from tfs_client.testing.faults.kinds import (
    Busy,
    ConnectionReset,
    DeadlineOverrun,
    Fault,
    GarbageReply,
    HtmlErrorPage,
    Latency,
    LognormalLatency,
    OversizedReply,
    QueueFull,
    SlowReply,
    Status,
    TruncatedReply,
    UniformLatency,
    VersionVanishes,
)
from tfs_client.testing.faults.sequence_steps import (
    Pass,
    Repeat,
    Step,
    VersionFails,
    VersionLoading,
    VersionUnloading,
)

__all__ = [
    "Busy",
    "ConnectionReset",
    "DeadlineOverrun",
    "Fault",
    "GarbageReply",
    "HtmlErrorPage",
    "Latency",
    "LognormalLatency",
    "OversizedReply",
    "Pass",
    "QueueFull",
    "Repeat",
    "SlowReply",
    "Status",
    "Step",
    "TruncatedReply",
    "UniformLatency",
    "VersionFails",
    "VersionLoading",
    "VersionUnloading",
    "VersionVanishes",
]
