"""RestHost: uvicorn in a thread of its own, on a socket that we have bound."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from tfs_client.errors import ConfigError
from tfs_client.server.access.accepting import Acceptor
from tfs_client.server.access.connections import Connections
from tfs_client.server.config import ServerConfig
from tfs_client.server.methods import Methods
from tfs_client.server.rest import replies
from tfs_client.server.rest.app import JSON, RestApp
from tfs_client.server.rest.connection import RestConnection, page_answer
from tfs_client.server.rest.pages import Page
from tfs_client.server.served import Observer
from tfs_client.server.thread_pool import ThreadPool

log = logging.getLogger(__name__)

FOR_EVER = 86400  # seconds after which uvicorn closes idle connections; see access/ for when that really happens
TURNS = 5  # of the event loop, in which a connection that has been accepted is made, or one that has ended is noticed
FIRST_LOOKS = 0.02  # seconds in which a connection whose client sends no more has looked for that client a few times
LAST_BYTES = 0.5  # seconds for the rest of requests that have begun when the server stops
LAST_WORDS = 0.5  # seconds for answers that are on their way when the grace is over
TOO_MANY = page_answer(
    b"503 Service Unavailable",
    replies.error("the server has too many connections"),
    {"content-type": JSON, "retry-after": "1", "connection": "close"},
)


class RestHost:
    """The REST side of a server. It listens once it is made, and answers once ``start`` has returned.

    uvicorn's own Server class is not used: it looks for signals, sleeps in steps while it stops, and writes to logs
    that belong to whoever runs this process. What it would do besides is a few lines.
    """

    def __init__(
        self,
        methods: Methods,
        config: ServerConfig,
        port: int,
        observer: Observer | None,
        pages: Mapping[str, Page] | None = None,
        *,
        began: Observer | None = None,
    ) -> None:
        self._socket = listening(config.host, port)
        self.port: int = self._socket.getsockname()[1]
        self._executor = ThreadPool(config.threads, "tfs-serve-rest")
        self._lookups = ThreadPool(1, "tfs-serve-rest-lookups")
        self._app = RestApp(methods, config, self._executor, self._lookups, observer, pages, began=began)
        self._options = uvicorn.Config(
            self._app,
            http=RestConnection,
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            log_level=None,
            lifespan="off",
            ws="none",
            timeout_keep_alive=FOR_EVER,
        )
        self._bounds = config.bounds
        self._state = ServerState()
        self._loop = asyncio.SelectorEventLoop() if os.name == "nt" else asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._grace = 0.0
        self._thread = threading.Thread(target=self._run, name="tfs-serve-rest-loop", daemon=True)
        self._ready = threading.Event()

    def start(self) -> None:
        """Begin to answer; returns when it does."""
        self._thread.start()
        self._ready.wait()

    def stop(self, grace: float) -> None:
        """Refuse new calls, let running ones finish for ``grace`` seconds, close every connection, join the thread."""
        self._grace = grace
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        for executor in (self._executor, self._lookups):
            executor.shutdown(wait=False, cancel_futures=True)

    def catch_up(self) -> None:
        """Return when the loop has noticed which connections have ended by now; at once if it has stopped."""

        async def turns() -> None:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            connections: list[Any] = list(self._state.connections)
            if any(connection.half_closed for connection in connections):  # until they know whether the client has gone
                await asyncio.sleep(FIRST_LOOKS)

        waiting = turns()
        try:
            asyncio.run_coroutine_threadsafe(waiting, self._loop).result(LAST_WORDS)
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
        opened: Any = self._state.connections
        connections = Connections(opened, self._bounds, self._loop)
        acceptor = Acceptor(self._socket, connections, lambda: len(opened), connection, TOO_MANY, self._loop)
        connections.start()
        acceptor.start()
        self._ready.set()
        await self._stopping.wait()
        self._app.closing = True
        acceptor.stop()
        for _ in range(TURNS):  # connections that have been accepted are made
            await asyncio.sleep(0)
        acceptor.close()
        connections.stop()
        await self._finish()

    async def _finish(self) -> None:
        """Close idle connections at once, and the others when their call has ended, or when it has taken too long."""
        for open_connection in list(self._state.connections):
            open_connection.shutdown()
        if tasks := set(self._state.tasks):
            late = await self._without_unread(tasks)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=LAST_WORDS)
        await self._until_closed()
        for open_connection in list(self._state.connections):  # whoever does not read what we have to say
            open_connection.transport.abort()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
        await self._until_closed()

    async def _without_unread(self, tasks: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
        """Wait as long as the grace is; the tasks that are not done then. What has not all come by now is no call."""
        end = self._loop.time() + self._grace
        _, late = await asyncio.wait(tasks, timeout=min(self._grace, LAST_BYTES))
        for task in late & self._app.reading:
            task.cancel()
        return (await asyncio.wait(late, timeout=end - self._loop.time()))[1] if late else late

    async def _until_closed(self) -> None:
        """Wait for the ends of all connections, but not long."""
        connections: list[Any] = list(self._state.connections)
        ends = [connection.ended.wait() for connection in connections]
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*ends), LAST_WORDS)


def listening(host: str, port: int) -> socket.socket:
    """A bound socket. Raises ConfigError when the address cannot be had."""
    sock = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        if os.name == "posix":  # where it means: not to wait until old connections are forgotten
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1024)
        return sock
    except OSError as error:
        if sock is not None:
            sock.close()
        raise ConfigError(
            f"cannot listen at {host}:{port} for REST ({error.strerror or error}): the port is taken or not ours to "
            "use, or the host is no address of this machine"
        ) from None
