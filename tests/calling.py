"""The ways of calling: over gRPC and REST, blocking, by futures and awaited, behind one face for tests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from tfs_client import AsyncPredictClient, PredictClient

STYLES = ("grpc", "grpc-futures", "grpc-aio", "rest", "rest-futures", "rest-aio")
GRPC = tuple(style for style in STYLES if style.startswith("grpc"))
REST = tuple(style for style in STYLES if style.startswith("rest"))
PATIENCE = 60  # seconds that no test should need


def all_calls(server: Any) -> list[Any]:
    """The calls and look-ups that a FakeServer has had, in the order of their ends."""
    return sorted(server.calls + server.lookups, key=lambda call: call.began + call.seconds)


class Awaited:
    """An AsyncPredictClient whose coroutines run in a loop of its own thread; to the test its methods block."""

    def __init__(self, target: Any, **options: Any) -> None:
        self.client = AsyncPredictClient(target, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def call(*args: Any, **options: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(method(*args, **options), self._loop).result(PATIENCE)

        return call

    def end(self) -> None:
        """Close the client and end its loop."""
        self.close()
        asyncio.run_coroutine_threadsafe(self._loop.shutdown_asyncgens(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class ByFutures:
    """A PredictClient that predicts by futures."""

    def __init__(self, target: Any, **options: Any) -> None:
        self.client = PredictClient(target, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def predict(self, *args: Any, **options: Any) -> Any:
        return self.client.predict_future(*args, **options).result(PATIENCE)


def target_of(style: str, server: Any) -> str:
    """The address that a style of calling uses of a server."""
    target: str = server.rest_url if style.startswith("rest") else server.target
    return target


@contextlib.contextmanager
def calling(style: str, server: Any, **options: Any) -> Iterator[Any]:
    """A client of that style; ``server`` has ``target`` and ``rest_url``, or is a target itself."""
    target = server if isinstance(server, (str, list)) else target_of(style, server)
    if style.endswith("aio"):
        client: Any = Awaited(target, **options)
        try:
            yield client
        finally:
            client.end()
        return
    with (
        PredictClient(target, **options)
        if not style.endswith("futures")
        else contextlib.closing(ByFutures(target, **options)) as client
    ):
        yield client
