"""The ASGI application: HTTP requests to calls, and what becomes of them to HTTP responses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from tfs_client.errors import CallError, ResourceExhaustedError, StatusCode
from tfs_client.server.config import ServerConfig
from tfs_client.server.methods import Methods
from tfs_client.server.rest import bodies, replies, routes
from tfs_client.server.rest.answers import Answers
from tfs_client.server.rest.pages import Headers, Page, page_below, path_of
from tfs_client.server.rest.running import Running
from tfs_client.server.security import check_caller
from tfs_client.server.served import Observer, ServedCall, observe
from tfs_client.server.thread_pool import ThreadPool

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


PREFLIGHT = {"content-type": "text/html; charset=ISO-8859-1"}


class RestApp:
    """Answers HTTP requests. The work of a call is done in threads, never on the event loop.

    Pages by path come before the API, whatever the method is. They are made on the event loop: metrics are to be had
    also when every thread has a call. GET has a thread of its own, so that states are, too.

    Args:
        executor: the threads of POST, which runs models.
        lookups: those of GET, which does not.
        pages: the pages by path.

    Attributes:
        closing: once it is set, answers tell the client that the connection ends.
        reading: the tasks of requests whose bodies have not all come.
    """

    def __init__(
        self,
        methods: Methods,
        config: ServerConfig,
        executor: ThreadPool,
        lookups: ThreadPool,
        observer: Observer | None,
        pages: Mapping[str, Page] | None = None,
        *,
        began: Observer | None = None,
    ) -> None:
        self._answers = Answers(methods)
        self._config = config
        self._executor = executor
        self._lookups = lookups
        self._observer = observer
        self._began = began
        self._pages = pages or {}
        self.closing = False
        self.reading: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Of several headers of a name the last counts.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            response = await self._response(scope, headers, receive)
        except bodies.ClientGone:
            return
        except asyncio.CancelledError:  # the server stops, and has waited long enough for the body
            response = Response(replies.error("the server has stopped"), 503, media_type=JSON)
        response.headers["date"] = formatdate(usegmt=True)
        if self.closing:
            response.headers["connection"] = "close"
        await response(scope, receive, send)

    async def _response(self, scope: Scope, headers: Headers, receive: Receive) -> Response:
        target = routes.target_of(scope["raw_path"], scope["query_string"])
        below = page_below(scope, headers, target, self._pages)
        if below is not None:
            return below
        page = self._pages.get(path_of(target))
        if page is not None:
            return self._page_response(headers, page, target)
        if scope["method"] == "OPTIONS":
            response = self._preflight(headers)
        else:
            response = await self._api_response(scope, headers, receive, target)
        if self._config.rest_cors:
            response.headers.update(CORS)
        return response

    def _page_response(self, headers: Headers, page: Page, target: str) -> Response:
        try:
            check_caller(self._config.token, headers)
        except CallError as error:
            return Response(error.details, HTTP_STATUS[error.code], media_type="text/plain")
        status, text = page(target)
        return Response(text, status, {"content-type": "text/plain"})

    def _preflight(self, headers: Headers) -> Response:
        """The answer to OPTIONS, which no method sees (http_server.cc)."""
        origin = headers.get("origin", "")
        allowed = "http://" in origin or "https://" in origin
        code = StatusCode.OK if allowed else StatusCode.FAILED_PRECONDITION
        observe(self._observer, ServedCall("", metadata=headers, transport="rest", code=code))
        return Response(b"", HTTP_STATUS[code], PREFLIGHT)

    async def _api_response(self, scope: Scope, headers: Headers, receive: Receive, target: str) -> Response:
        call = ServedCall("", metadata=headers, transport="rest")
        try:
            route = routes.route(scope["method"], target)
            call.method = route.method
            check_caller(self._config.token, headers)
        except CallError as error:  # the model that it names is nobody's business
            return self._refused(call, error, HTTP_STATUS[error.code])
        limit = self._config.rest_max_body
        announced = int(headers.get("content-length", "0"))  # h11 lets nothing but numbers through
        body = await self._read(receive, limit) if announced <= limit else None
        if body is None:
            call = ServedCall("", route.spec.name, metadata=headers, transport="rest")
            return self._refused(call, ResourceExhaustedError(f"the body has more than {limit} bytes"), 413)
        call = ServedCall(route.method, route.spec.name, metadata=headers, transport="rest")
        encoding = headers.get("content-encoding", "")
        posted = scope["method"] == "POST"

        def work() -> bytes:
            bodies.check_inflated(body, encoding, limit)
            return self._answers(route, bodies.inflated(body, encoding), call)

        if self._began is not None:
            self._began(call)
        scope["state"]["watch"]()
        gone = scope["state"]["ended"]
        running = Running(call, work, self._observer, gone, self._config.rest_timeout if posted else 0)
        code, content = await running.reply(self._executor if posted else self._lookups)
        return Response(content, HTTP_STATUS[code], media_type=JSON)

    async def _read(self, receive: Receive, limit: int) -> bytes | None:
        task = asyncio.current_task()
        assert task is not None
        self.reading.add(task)
        try:
            return await bodies.body_of(receive, limit)
        finally:
            self.reading.discard(task)

    def _refused(self, call: ServedCall, error: CallError, status: int) -> Response:
        """The answer to a call whose body has not been read."""
        call.code, call.details = error.code, error.details
        observe(self._observer, call)
        content = b"" if isinstance(error, routes.NoVersion) else replies.error(error.details)
        response = Response(content, status, media_type=JSON)
        if "expect" in call.metadata:  # nobody knows whether the body comes now
            response.headers["connection"] = "close"
        return response
