"""Metrics: counts and latencies for Prometheus, summed over the worker processes."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from tfs_client.telemetry import Prometheus


class Metrics:
    """The metrics of one app."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "digits_requests", "Requests by route and HTTP status.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram("digits_request_seconds", "Latency by route.", ["route"], registry=self._registry)
        self.calls = Prometheus(self._registry)  # a hook of the client: tfs_client_calls_total and so on
        self.waiting = Gauge(
            "digits_waiting", "Requests that wait for the model.", registry=self._registry, multiprocess_mode="livesum"
        )

    def page(self) -> bytes:
        """The page for Prometheus. Under gunicorn (see gunicorn.conf.py), any worker shows the sums of all."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        everywhere = CollectorRegistry()
        MultiProcessCollector(everywhere)  # type: ignore[no-untyped-call, unused-ignore]
        return generate_latest(everywhere)
