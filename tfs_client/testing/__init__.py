"""Test doubles for users' own tests: a fake server that is a real one, over a real socket."""

from tfs_client.testing.fake_server import FakeServer

__all__ = ["FakeServer"]
