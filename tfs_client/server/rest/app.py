"""The ASGI application: HTTP requests to calls, and what becomes of them to HTTP responses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tfs_client.errors import CallError, StatusCode
from tfs_client.server.config import ServerConfig
from tfs_client.server.methods import Methods
from tfs_client.server.rest import bodies, replies, routes
from tfs_client.server.rest.answers import Answers
from tfs_client.server.rest.pages import Page, page_below, path_of
from tfs_client.server.rest.running import Running
from tfs_client.server.security import check_caller
from tfs_client.server.served import Observer, ServedCall, observe

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

# model_servers/http_server.cc (ToHTTPStatusCode)
HTTP_STATUS = {
    StatusCode.OK: 200,
    StatusCode.CANCELLED: 499,
    StatusCode.UNKNOWN: 500,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.INTERNAL: 500,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DATA_LOSS: 500,
    StatusCode.UNAUTHENTICATED: 401,
}
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}
JSON = "application/json"


class RestApp:
    """Answers HTTP requests. The work of a call is done in the threads of the executor, never on the event loop.

    Pages by path come before the API, whatever the method is. They are made on the event loop: metrics are to be had
    also when every thread has a call.

    Once ``closing`` is set, answers tell the client that the connection ends.
    """

    def __init__(
        self,
        methods: Methods,
        config: ServerConfig,
        executor: ThreadPoolExecutor,
        observer: Observer | None,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        self._answers = Answers(methods)
        self._config = config
        self._executor = executor
        self._observer = observer
        self._pages = pages or {}
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:  # the server stops, and has waited long enough for the body
            response = Response(replies.error("the server has stopped"), 503, media_type=JSON)
        response.headers["date"] = formatdate(usegmt=True)
        if self.closing:
            response.headers["connection"] = "close"
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        target = routes.target_of(request.scope["raw_path"], request.scope["query_string"])
        below = page_below(request, target, self._pages)
        if below is not None:
            return below
        page = self._pages.get(path_of(target))
        if page is not None:
            return self._page_response(request, page, target)
        response = await self._api_response(request, target)
        if self._config.rest_cors:
            response.headers.update(CORS)
        return response

    def _page_response(self, request: Request, page: Page, target: str) -> Response:
        try:
            check_caller(self._config.token, dict(request.headers))
        except CallError as error:
            return Response(error.details, HTTP_STATUS[error.code], media_type="text/plain")
        status, text = page(target)
        return Response(text, status, {"content-type": "text/plain"})

    async def _api_response(self, request: Request, target: str) -> Response:
        limit = self._config.rest_max_body
        announced = int(request.headers.get("content-length", "0"))  # h11 lets nothing but numbers through
        body = await bodies.body_of(request.stream(), limit) if announced <= limit else None
        if body is None:
            return Response(replies.error(f"the body has more than {limit} bytes"), 413, media_type=JSON)
        if request.method == "OPTIONS":
            return _preflight(request.headers.get("origin", ""))
        code, content = await self._reply(request, target, body)
        return Response(content, HTTP_STATUS[code], media_type=JSON)

    async def _reply(self, request: Request, target: str, body: bytes) -> tuple[StatusCode, bytes]:
        try:
            route = routes.route(request.method, target)
        except CallError as error:
            call = ServedCall("", metadata=dict(request.headers), transport="rest", code=error.code)
            call.details = error.details
            observe(self._observer, call)
            return error.code, b"" if isinstance(error, routes.NoVersion) else replies.error(error.details)
        encoding = request.headers.get("content-encoding", "")
        call = ServedCall(route.method, route.spec.name, metadata=dict(request.headers), transport="rest")

        def work() -> bytes:
            check_caller(self._config.token, call.metadata)
            return self._answers(route, bodies.inflated(body, encoding), call)

        running = Running(call, work, self._observer)
        watching = asyncio.ensure_future(_watch(request, running))
        try:
            return await running.reply(self._executor, self._config.rest_timeout if request.method == "POST" else 0)
        finally:
            watching.cancel()


async def _watch(request: Request, running: Running) -> None:
    """Tell the call when its client goes. Nothing else can come: the body has been read."""
    if (await request.receive())["type"] == "http.disconnect":
        running.left()


def _preflight(origin: str) -> Response:
    """The answer to OPTIONS, which no method sees (http_server.cc)."""
    allowed = "http://" in origin or "https://" in origin
    return Response(b"", 200 if allowed else 400, {"content-type": "text/html; charset=ISO-8859-1"})
