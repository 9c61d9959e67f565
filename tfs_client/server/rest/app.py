"""The ASGI application: HTTP requests to calls, and their results to HTTP responses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.responses import Response

from tfs_client.errors import CallError, ResourceExhaustedError, StatusCode
from tfs_client.server.access.addresses import bracketed
from tfs_client.server.access.security import check_caller
from tfs_client.server.call_hooks import CallHooks, HttpReply
from tfs_client.server.call_record import Observer, Peers, ServedCall, notify_observer
from tfs_client.server.config import ServerConfig
from tfs_client.server.methods import Methods
from tfs_client.server.rest import replies, request_bodies, request_log, routes
from tfs_client.server.rest.answers import Answers
from tfs_client.server.rest.pages import JSON, Headers, Page, error_page, path_of
from tfs_client.server.rest.threaded_calls import ThreadedCall
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
PREFLIGHT = {"content-type": "text/html; charset=ISO-8859-1"}


class RestApp:
    """Answers HTTP requests. The work of a call is done in threads, never on the event loop.

    Pages by path take precedence over the API, for every HTTP method. The event loop makes them, so that metrics are
    available while every thread is busy. GET has a separate thread, so that the states of models are available too.

    Args:
        executor: the threads for POST, which runs models.
        lookups: the threads for GET, which does not.
        pages: the pages by path.

    Attributes:
        closing: when it is set, responses announce that the connection closes.
        reading: the tasks of requests whose bodies have not been received completely.
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
        hooks: CallHooks | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._answers = Answers(methods)
        self._hooks, self._peers = hooks, peers
        self._config = config
        self._executor = executor
        self._lookups = lookups
        self._observer = observer
        self._began = began
        self._pages = pages or {}
        self.closing = False
        self.reading: set[asyncio.Task[object]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The last of several headers with one name wins.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            response = await self._response(scope, headers, receive)
        except request_bodies.ClientGone:
            return
        except asyncio.CancelledError:  # the server stops, and the time to wait for the body is over
            response = Response(replies.error("the server has stopped"), 503, media_type=JSON)
        response.headers["date"] = formatdate(usegmt=True)
        if self.closing:
            response.headers["connection"] = "close"
        await response(scope, receive, send)

    async def _response(self, scope: Scope, headers: Headers, receive: Receive) -> Response:
        target = routes.target_of(scope["raw_path"], scope["query_string"])
        refusal = error_page(scope, headers, target, self._pages)
        if refusal is not None:
            if refusal.status_code == 404:
                request_log.ignored(f"{scope['method']} {target}")
            return refusal
        page = self._pages.get(path_of(target))
        if page is not None:
            return self._page_response(headers, page, target)
        if scope["method"] == "OPTIONS":
            response = self._preflight(scope, headers, target)
        else:
            response = await self._api_response(scope, headers, receive, target)
        if self._config.rest_cors:
            response.headers.update(CORS)
        return response

    def _page_response(self, headers: Headers, page: Page, target: str) -> Response:
        try:
            check_caller(self._config.token, headers)
        except CallError as error:
            return Response(replies.error(error.details), HTTP_STATUS[error.code], media_type=JSON)
        status, text, media_type = page(target)
        return Response(text, status, {"content-type": media_type})

    def _preflight(self, scope: Scope, headers: Headers, target: str) -> Response:
        """Respond to OPTIONS, which does not reach the API (http_server.cc)."""
        origin = headers.get("origin", "")
        allowed = "http://" in origin or "https://" in origin
        code = StatusCode.OK if allowed else StatusCode.FAILED_PRECONDITION
        notify_observer(
            self._observer, ServedCall("", metadata=headers, transport="rest", peer=self._peer(scope), code=code)
        )
        request_log.processing(f"OPTIONS {target}", 0)
        request_log.failed(f"OPTIONS {target}", code, "")
        return Response(b"", HTTP_STATUS[code], PREFLIGHT)

    async def _api_response(self, scope: Scope, headers: Headers, receive: Receive, target: str) -> Response:
        posted, peer = scope["method"] == "POST", self._peer(scope)
        request = f"{scope['method']} {target}"
        call = ServedCall("", metadata=headers, transport="rest", peer=peer)
        announced = int(headers.get("content-length", "0"))  # h11 accepts only numbers
        try:
            route = routes.route(scope["method"], target)
            call.method = route.method
            check_caller(self._config.token, headers)
        except CallError as error:  # the record does not name the model: the caller may not be authenticated
            return self._refused(call, error, HTTP_STATUS[error.code], request, announced)
        limit = self._config.rest_max_body
        body = await self._read(receive, limit) if announced <= limit else None
        if body is None:
            call = ServedCall("", route.spec.name, metadata=headers, transport="rest", peer=peer)
            too_large = ResourceExhaustedError(f"the body has more than {limit} bytes")
            return self._refused(call, too_large, 413, request, announced)
        call = ServedCall(
            route.method, route.spec.name, metadata=headers, transport="rest", peer=peer, bytes_in=len(body)
        )
        encoding = headers.get("content-encoding", "")

        def work() -> bytes:
            request_bodies.check_inflated(body, encoding, limit)
            inflated = request_bodies.inflated(body, encoding)
            request_log.processing(request, len(inflated))
            return self._answers(route, inflated, call)

        if self._began is not None:
            self._began(call)
        scope["state"]["watch"]()
        gone = scope["state"]["ended"]
        threaded = ThreadedCall(call, work, self._observer, gone, self._config.rest_timeout if posted else 0)
        reply = await threaded.reply(self._executor if posted else self._lookups)
        request_log.failed(request, reply.code, reply.details)
        response = HttpReply(HTTP_STATUS[reply.code], reply.content, JSON)
        if self._hooks is not None:
            response = self._hooks.rest_reply(call, response)
        return Response(response.content, response.status, media_type=response.media_type)

    def _peer(self, scope: Scope) -> str:
        peer = _peer(scope)
        return peer if self._peers is None else self._peers(peer)

    async def _read(self, receive: Receive, limit: int) -> bytes | None:
        task = asyncio.current_task()
        assert task is not None
        self.reading.add(task)
        try:
            return await request_bodies.body_of(receive, limit)
        finally:
            self.reading.discard(task)

    def _refused(self, call: ServedCall, error: CallError, status: int, request: str, announced: int) -> Response:
        """Respond to a call whose body, of the announced size, has not been read."""
        content = b"" if isinstance(error, routes.NoVersion) else replies.error(error.details)
        call.code, call.details, call.bytes_out = error.code, error.details, len(content)
        notify_observer(self._observer, call)
        request_log.processing(request, announced)
        request_log.failed(request, error.code, error.details)
        response = Response(content, status, media_type=JSON)
        if "expect" in call.metadata:  # the client may or may not send the body now
            response.headers["connection"] = "close"
        return response


def _peer(scope: Scope) -> str:
    """Return the address and port of a request's client; "" if it has already disconnected."""
    if scope["client"] is None:
        return ""
    host, port = scope["client"]
    return f"{bracketed(host)}:{port}"
