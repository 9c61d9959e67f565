"""Fixtures: a fake model server, and the service in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import httpx
import pytest
from digit_models import add_digits
from digit_service.app import create_app
from digit_service.settings import Settings

from tfs_client.testing import FakeServer

SETTINGS = Settings(timeout=5.0, ready_for=0.0)  # probes are not cached

StartService = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
def anyio_backend() -> str:
    """The event loop in which tests run."""
    return "asyncio"


@pytest.fixture
def digits(fake_server: FakeServer) -> FakeServer:
    """A fake model server with the model that the service calls."""
    add_digits(fake_server)
    return fake_server


@pytest.fixture
async def start_service() -> AsyncIterator[StartService]:
    """Start the service: ``await start_service(target, timeout=0.2)``. It stops after the test."""
    async with AsyncExitStack() as stack:

        async def start(target: str, **settings: object) -> httpx.AsyncClient:
            app = create_app(replace(SETTINGS, target=target, **settings))
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app)
            return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://service"))

        yield start


@pytest.fixture
async def service(digits: FakeServer, start_service: StartService) -> httpx.AsyncClient:
    """The service in front of the fake model server."""
    return await start_service(digits.target)
