"""Fixtures: a fake model server, and the service in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from digit_app.app import create_app
from digit_app.settings import Settings
from digit_models import add_digits
from flask.testing import FlaskClient

from tfs_client.testing import FakeServer

SETTINGS = Settings(timeout=5.0, ready_for=0.0)  # probes are not cached

StartService = Callable[..., FlaskClient]


@pytest.fixture
def digits(fake_server: FakeServer) -> FakeServer:
    """A fake model server with the model that the service calls."""
    add_digits(fake_server)
    return fake_server


@pytest.fixture
def start_service() -> Iterator[StartService]:
    """Start the service: ``start_service(target, timeout=0.2)``. It stops after the test."""
    with ExitStack() as stack:

        def start(target: str, **settings: object) -> FlaskClient:
            app = create_app(replace(SETTINGS, target=target, **settings))
            stack.callback(app.extensions["digits"].close)
            return app.test_client()

        yield start


@pytest.fixture
def service(digits: FakeServer, start_service: StartService) -> FlaskClient:
    """The service in front of the fake model server."""
    return start_service(digits.target)
