"""A client in a process whose gRPC and httpx are instrumented: a program, for some instrumentations cannot be undone.

    python instrumented.py sentry|ddtrace STYLE

It prints as JSON what two calls gave, the metadata that the server saw, and the spans.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
from calling import calling

from tfs_client import NotFoundError, TensorSpec
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))


def report(style: str, spans: Any) -> None:
    """Make a call that succeeds and one that fails, and print what came of it."""
    with FakeServer() as server:
        server.add_model("m", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        found: dict[str, Any] = {}
        with calling(style, server, model="m", timeout=60) as client:
            found["answer"] = client.predict({"x": np.array([1], np.float32)}).array.tolist()
            try:
                client.predict({"x": np.array([1], np.float32)}, model="nobody")
            except NotFoundError as error:
                found["error"] = error.details
        found["metadata"] = next(call.metadata for call in server.calls if call.method == "Predict")
    found["spans"] = spans()
    print(json.dumps(found, default=str))


def sentry(style: str) -> None:
    import sentry_sdk
    from sentry_sdk.integrations.grpc import GRPCIntegration
    from sentry_sdk.integrations.httpx import HttpxIntegration

    seen: list[Any] = []

    def keep(event: Any, hint: Any) -> None:
        seen.extend((span["op"], span.get("description")) for span in event["spans"])

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        traces_sample_rate=1.0,
        integrations=[GRPCIntegration(), HttpxIntegration()],
        before_send_transaction=keep,
        trace_propagation_targets=[".*"],
    )
    with sentry_sdk.start_transaction(name="test"):
        inside(style, seen)


def inside(style: str, seen: list[Any]) -> None:
    report(style, lambda: seen)


def ddtrace(style: str) -> None:
    os.environ["DD_INSTRUMENTATION_TELEMETRY_ENABLED"] = os.environ["DD_REMOTE_CONFIGURATION_ENABLED"] = "false"
    import logging

    from ddtrace import patch
    from ddtrace.trace import TraceFilter, tracer

    logging.getLogger("ddtrace").setLevel(logging.CRITICAL)
    seen: list[Any] = []

    class Keep(TraceFilter):
        def process_trace(self, trace: Any) -> None:
            seen.extend((span.name, span.error) for span in trace)

    tracer.configure(trace_processors=[Keep()])
    patch(grpc=True, httpx=True)
    report(style, lambda: seen)


if __name__ == "__main__":
    {"sentry": sentry, "ddtrace": ddtrace}[sys.argv[1]](sys.argv[2])
