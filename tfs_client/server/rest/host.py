"""RestHost: uvicorn in a separate thread, on sockets that we have bound."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

import uvicorn
from uvicorn.server import ServerState

from tfs_client.server.access.accepting import Acceptor
from tfs_client.server.access.connection_limits import Connections
from tfs_client.server.call_hooks import CallHooks
from tfs_client.server.call_record import Observer, Peers
from tfs_client.server.config import ServerConfig
from tfs_client.server.grpc.listening import rest_sockets
from tfs_client.server.methods import Methods
from tfs_client.server.rest import replies
from tfs_client.server.rest.app import RestApp
from tfs_client.server.rest.pages import JSON, Page
from tfs_client.server.rest.rest_connection import RestConnection, raw_response
from tfs_client.server.thread_pool import ThreadPool

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

KEEP_ALIVE = 86400  # seconds; practically no limit for uvicorn, because access/ closes idle connections
TURNS = 5  # of the event loop: enough to set up an accepted connection, and to notice that one has ended
FIRST_CHECKS = 0.02  # seconds; within them a half-closed connection has checked several times for its client
REST_OF_REQUEST = 0.5  # seconds for the rest of requests that have begun when the server stops
LAST_WRITES = 0.5  # seconds for responses that are being sent when the grace period is over
TOO_MANY = raw_response(
    b"503 Service Unavailable",
    replies.error("the server has too many connections"),
    {"content-type": JSON, "retry-after": "1", "connection": "close"},
)


class App(Protocol):
    """An ASGI application.

    Attributes:
        closing: when it is set, responses announce that the connection closes.
        reading: the tasks of requests whose bodies have not been received completely.
    """

    closing: bool
    reading: set[asyncio.Task[object]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""


class AsgiHost:
    """An application on a REST port. It listens from its construction, and responds once ``start`` has returned.

    uvicorn's Server class is not used: it handles signals, polls while it stops, and configures logging, all of which
    belong to the surrounding program. The rest of its work takes a few lines.

    Args:
        app: the application.
        pools: the threads that it uses, which end with it.
        close: awaited on the event loop when all requests have ended.
    """

    def __init__(
        self,
        app: App,
        config: ServerConfig,
        port: int,
        pools: Sequence[ThreadPool] = (),
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._sockets = rest_sockets(config.host, port)
        self.port: int = self._sockets[0].getsockname()[1]
        self._pools = pools
        self._app = app
        self._close = close
        self._options = uvicorn.Config(
            self._app,
            http=RestConnection,
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            log_level=None,
            lifespan="off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._bounds = config.bounds
        self._state = ServerState()
        self._loop = asyncio.SelectorEventLoop() if os.name == "nt" else asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._grace = 0.0
        self._thread = threading.Thread(target=self._run, name="tfs-serve-rest-loop", daemon=True)
        self._ready = threading.Event()

    def start(self) -> None:
        """Start the event loop; returns when it runs."""
        self._thread.start()
        self._ready.wait()

    def stop(self, grace: float) -> None:
        """Refuse new calls, let running ones finish for ``grace`` seconds, close every connection, join the thread."""
        self._grace = grace
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def catch_up(self) -> None:
        """Wait until the loop has noticed which connections have ended; returns at once if it has stopped."""

        async def turns() -> None:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if any(connection.half_closed for connection in self._connections()):
                await asyncio.sleep(FIRST_CHECKS)  # a client that has gone refuses the first byte
                for connection in self._connections():
                    connection.check_client()

        waiting = turns()
        try:
            asyncio.run_coroutine_threadsafe(waiting, self._loop).result(LAST_WRITES)
        except (RuntimeError, TimeoutError, concurrent.futures.TimeoutError):
            waiting.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        def connection() -> asyncio.Protocol:
            return RestConnection(self._options, self._state, self._bounds)

        self._options.load()
        opened = cast("set[RestConnection]", self._state.connections)  # all are made by ``connection``
        connections = Connections(opened, self._bounds, self._loop)
        acceptor = Acceptor(self._sockets, connections, lambda: len(opened), connection, TOO_MANY, self._loop)
        connections.start()
        acceptor.start()
        self._ready.set()
        await self._stopping.wait()
        self._app.closing = True
        acceptor.stop()
        for _ in range(TURNS):  # accepted connections are set up
            await asyncio.sleep(0)
        acceptor.close()
        connections.stop()
        await self._finish()
        if self._close is not None:
            await self._close()

    async def _finish(self) -> None:
        """Close idle connections at once, and the others when their call has ended or has taken too long."""
        for connection in self._connections():
            connection.shutdown()
        if tasks := set(self._state.tasks):
            late = await self._unfinished(tasks)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=LAST_WRITES)
        await self._until_closed()
        for connection in self._connections():  # their clients do not read the responses
            connection.transport.abort()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
        await self._until_closed()

    def _connections(self) -> list[RestConnection]:
        """Return the open connections."""
        return [connection for connection in self._state.connections if isinstance(connection, RestConnection)]

    async def _unfinished(self, tasks: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Wait for the grace period, and return the tasks that are not done.

        A request that is not complete after REST_OF_REQUEST is not a call yet, and is cancelled.
        """
        end = self._loop.time() + self._grace
        _, late = await asyncio.wait(tasks, timeout=min(self._grace, REST_OF_REQUEST))
        for task in late & self._app.reading:
            task.cancel()
        return (await asyncio.wait(late, timeout=end - self._loop.time()))[1] if late else late

    async def _until_closed(self) -> None:
        """Wait until all connections are closed, for at most LAST_WRITES seconds."""
        ends = [connection.ended.wait() for connection in self._connections()]
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*ends), LAST_WRITES)


class RestHost(AsgiHost):
    """The REST port of a server."""

    def __init__(
        self,
        methods: Methods,
        config: ServerConfig,
        port: int,
        observer: Observer | None,
        pages: Mapping[str, Page] | None = None,
        *,
        began: Observer | None = None,
        hooks: CallHooks | None = None,
        peers: Peers | None = None,
    ) -> None:
        executor = ThreadPool(config.rest_threads or config.threads, "tfs-serve-rest")
        lookups = ThreadPool(1, "tfs-serve-rest-lookups")
        app = RestApp(methods, config, executor, lookups, observer, pages, began=began, hooks=hooks, peers=peers)
        super().__init__(app, config, port, (executor, lookups))
