"""Metrics: counts and latencies for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tfs_client.telemetry import Prometheus


class Metrics:
    """The metrics of one app, in a registry that tests need not share."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "digits_requests", "Requests by route and HTTP status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram("digits_request_seconds", "Latency by route.", ["route"], registry=self.registry)
        self.calls = Prometheus(self.registry)  # a hook of the client: tfs_client_calls_total and so on
        self.waiting = Gauge("digits_waiting", "Requests that wait for the model.", registry=self.registry)
