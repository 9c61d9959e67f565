"""The pytest plugin: the fixture ``fake_server``. Registered by the package; importing it costs next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tfs_client.testing import FakeServer


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    """A running FakeServer without models, stopped at the end of the test."""
    from tfs_client.testing import FakeServer

    with FakeServer() as server:
        yield server
