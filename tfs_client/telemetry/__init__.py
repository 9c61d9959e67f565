"""What a client reports about its calls: records for hooks, logs, traces and metrics.

``OpenTelemetry`` and ``Prometheus`` are imported on first use, and the packages that they need when a hook is made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfs_client.telemetry.records import AttemptEnded, Batch, CallEnded, CallRecord, CallStarted, Hook

if TYPE_CHECKING:
    from tfs_client.telemetry.opentelemetry import OpenTelemetry as OpenTelemetry
    from tfs_client.telemetry.prometheus import Prometheus as Prometheus

_HOMES = {"OpenTelemetry": "opentelemetry", "Prometheus": "prometheus"}

__all__ = [
    "AttemptEnded",
    "Batch",
    "CallEnded",
    "CallRecord",
    "CallStarted",
    "Hook",
    "OpenTelemetry",
    "Prometheus",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tfs_client.telemetry' has no attribute {name!r}")
    value = getattr(import_module(f"tfs_client.telemetry.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
