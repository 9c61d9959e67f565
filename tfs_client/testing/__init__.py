"""Test doubles for your own tests: a fake server with faults and checks, and the real server as a fixture."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfs_client.testing import faults as faults
    from tfs_client.testing.fake_server import FakeServer as FakeServer
    from tfs_client.testing.model_server.model_server import ModelServer as ModelServer
    from tfs_client.testing.scripted_answers import Expectation as Expectation

__all__ = ["Expectation", "FakeServer", "ModelServer", "faults"]

_MODULES = {
    "Expectation": "tfs_client.testing.scripted_answers",
    "FakeServer": "tfs_client.testing.fake_server",
    "ModelServer": "tfs_client.testing.model_server.model_server",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: pytest loads the plugin of this package in every run, and grpc is slow to import.
    if name == "faults":
        return import_module("tfs_client.testing.faults")
    if name not in _MODULES:
        raise AttributeError(f"module 'tfs_client.testing' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
