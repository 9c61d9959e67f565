"""Test doubles for users' own tests: a fake server that is a real one, over a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfs_client.testing.fake_server import FakeServer as FakeServer

__all__ = ["FakeServer"]


def __getattr__(name: str) -> Any:
    # Imported when first asked for: pytest loads the plugin next door in every run, and grpc takes its time.
    if name != "FakeServer":
        raise AttributeError(f"module 'tfs_client.testing' has no attribute {name!r}")
    from tfs_client.testing.fake_server import FakeServer

    return FakeServer
