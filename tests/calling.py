"""The ways of calling: over gRPC and REST, blocking, with futures and with asyncio, behind one interface for tests."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tfs_client import AsyncPredictClient, CallError, PredictClient, RecordingError, UnavailableError, UnknownError

STYLES = ("grpc", "grpc-futures", "grpc-aio", "rest", "rest-futures", "rest-aio")
GRPC = tuple(style for style in STYLES if style.startswith("grpc"))
REST = tuple(style for style in STYLES if style.startswith("rest"))

# What an HTML page with the status 502 or 503 becomes over gRPC. grpcio 1.60 does not report the status.
_NEWER = tuple(map(int, grpc.__version__.split(".")[:2])) > (1, 60)
PAGE_ERROR: type[CallError] = UnavailableError if _NEWER else UnknownError
PAGE_TEXT = "http2 header with status: {}" if _NEWER else "Stream removed"
PATIENCE = 60  # seconds that no test should need


def all_calls(server: Any) -> list[Any]:
    """The calls and look-ups that a FakeServer has had, in the order of their ends."""
    return sorted(server.calls + server.lookups, key=lambda call: call.began + call.seconds)


class Awaited:
    """An AsyncPredictClient with blocking methods: its coroutines run in an event loop in another thread."""

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
        try:
            self.close()
        finally:
            self._end_loop()

    def _end_loop(self) -> None:
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

    def __enter__(self) -> ByFutures:
        return self

    def __exit__(self, *raised: Any) -> None:
        self.client.__exit__(*raised)


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
        except BaseException:
            with contextlib.suppress(RecordingError):  # as the client's own context manager
                client.end()
            raise
        client.end()
        return
    with (ByFutures if style.endswith("futures") else PredictClient)(target, **options) as client:
        yield client


def derived(client: Any, **options: Any) -> Any:
    """The client that ``with_options`` makes of one from ``calling``, with the same style."""
    if isinstance(client, PredictClient):
        return client.with_options(**options)
    other = object.__new__(type(client))
    other.__dict__.update(client.__dict__, client=client.client.with_options(**options))
    return other


def at_once(*styles: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn a check of one ``style`` that mostly waits into a test of all these styles at the same time."""

    def test_of(check: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(check)
        def test(**arguments: Any) -> None:
            with ThreadPoolExecutor(len(styles)) as pool:
                checks = {style: pool.submit(check, style=style, **arguments) for style in styles}
            for style, done in checks.items():
                if error := done.exception():
                    raise AssertionError(f"the check fails for {style}") from error

        signature = inspect.signature(check)
        others = [parameter for name, parameter in signature.parameters.items() if name != "style"]
        test.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return test

    return test_of
