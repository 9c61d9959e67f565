"""RestHost: uvicorn in a thread of its own, on a socket that we have bound."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from tfs_client.errors import ConfigError
from tfs_client.server.config import ServerConfig
from tfs_client.server.methods import Methods
from tfs_client.server.rest.app import RestApp
from tfs_client.server.rest.pages import HEADERS, Page, page_text
from tfs_client.server.served import Observer

log = logging.getLogger(__name__)

KEEP_ALIVE = 86400  # seconds that a connection may be idle; the model server knows no limit
MAX_HEADERS = 1 << 20  # bytes; the model server knows no limit
TURNS = 5  # of the event loop, in which a connection that has been accepted is made, or one that has ended is noticed
LAST_BYTES = 0.5  # seconds for the rest of requests that have begun when the server stops
LAST_WORDS = 0.5  # seconds for answers that are on their way when the grace is over
PHRASES = {429: b"Client Error", 499: b"Client Error", 504: b"Gateway Time-out"}


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
        self._executor = ThreadPoolExecutor(config.threads, thread_name_prefix="tfs-serve-rest")
        self._lookups = ThreadPoolExecutor(1, thread_name_prefix="tfs-serve-rest-lookups")
        self._app = RestApp(methods, config, self._executor, self._lookups, observer, pages, began=began)
        self._options = uvicorn.Config(
            self._app,
            http=_Connection,
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            log_level=None,
            lifespan="off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._state = ServerState()
        self._loop = asyncio.new_event_loop()
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
            return _Connection(self._options, self._state, {})

        self._options.load()
        server = await self._loop.create_server(connection, sock=self._socket)
        self._ready.set()
        await self._stopping.wait()
        self._app.closing = True
        await self._accept_no_more()
        server.close()
        await self._finish()

    async def _accept_no_more(self) -> None:
        """Connections that have been accepted must be made before the server closes, or asyncio forgets them open."""
        with suppress(NotImplementedError):  # event loops that accept in another way
            self._loop.remove_reader(self._socket.fileno())
        for _ in range(TURNS):
            await asyncio.sleep(0)

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


class _Connection(H11Protocol):
    """uvicorn's HTTP/1.1, without a log of requests, and with the model server's page for what is no HTTP.

    Requests have in their state when the connection has "ended", and how to "watch" for it.
    """

    def __init__(self, config: uvicorn.Config, state: ServerState, app_state: dict[str, Any]) -> None:
        self.ended = asyncio.Event()
        super().__init__(config, state, app_state | {"ended": self.ended, "watch": self._watch})
        self.conn = _Answers(h11.SERVER, MAX_HEADERS)
        self.logger = log
        self.access_log = False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ended.set()

    def _watch(self) -> None:
        """Notice when the client goes. After a large body uvicorn reads no more until it is asked for the next part."""
        self.flow.resume_reading()

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _should_upgrade(self) -> bool:
        return False  # there is nothing to upgrade to, which uvicorn would say in the log each time

    def send_400_response(self, msg: str) -> None:
        page = page_text(400)
        head = [f"{name}: {value}\r\n" for name, value in {**HEADERS, "content-length": str(len(page))}.items()]
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{''.join(head)}\r\n".encode() + page)
        self.transport.close()


class _Answers(h11.Connection):
    """h11's side of a connection. An answer's head and body leave in one piece, and have the model server's phrases."""

    _head: Sequence[bytes] = ()

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        if isinstance(event, h11.Response):
            phrase = PHRASES.get(event.status_code)
            self._head = super().send_with_data_passthrough(replace(event, reason=phrase) if phrase else event) or ()
            return []
        parts = super().send_with_data_passthrough(event)
        head, self._head = self._head, ()
        return None if parts is None else [*head, *parts]


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
