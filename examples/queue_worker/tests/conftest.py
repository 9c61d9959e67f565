"""Fixtures: a queue, and a fake model server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from digit_models import add_digits
from digit_worker.jobs import JobQueue

from tfs_client.testing import FakeServer

LIMIT = 30  # seconds for what takes less than one on an idle machine


@pytest.fixture
def digits(fake_server: FakeServer) -> FakeServer:
    """A fake model server with the model that the worker calls."""
    add_digits(fake_server)
    return fake_server


@pytest.fixture
def open_queue(tmp_path: Path) -> Iterator[Callable[[], JobQueue]]:
    """Open the queue of this test, as each worker does for itself."""
    opened: list[JobQueue] = []

    def open_one() -> JobQueue:
        opened.append(JobQueue(str(tmp_path / "jobs.sqlite3")))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def queue(open_queue: Callable[[], JobQueue]) -> JobQueue:
    """The queue, for the test itself."""
    return open_queue()
