"""The web service: ``uvicorn --factory digit_service.app:create_app``."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Header, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from digit_service.body_limit import BodyLimit
from digit_service.disconnects import Disconnected, unless_disconnected
from digit_service.metrics import Metrics
from digit_service.model import DigitModel
from digit_service.problems import FAILED, OVERLOADED, Overloaded, Problem, line_of, problem_of
from digit_service.schemas import DigitReply, DigitRequest, ErrorReply
from digit_service.settings import Settings
from tfs_client import TFServingError

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
Version = Annotated[int, Path(ge=0, lt=1 << 63)]
Timeout = Annotated[float | None, Header(alias="x-request-timeout", gt=0, le=3600)]  # seconds
MAX_BODY = 64 << 10  # bytes
CLIENT_CLOSED_REQUEST = 499  # not a standard status; nginx logs it
ERROR_STATUSES = (400, 404, 413, 429, 500, 502, 503, 504)
ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorReply} for status in ERROR_STATUSES}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the app. Tests pass settings; a deployment sets environment variables."""
    settings = settings or Settings.from_environment()
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The client connects with its first call, so the service starts without a model server, and is not ready.
        app.state.model = DigitModel(settings, metrics)
        try:
            yield
        finally:
            await app.state.model.close()

    app = FastAPI(title="Digits", lifespan=lifespan)
    app.add_middleware(BodyLimit, limit=MAX_BODY)  # inside observe, which is added after it

    @app.middleware("http")
    async def observe(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Give every request an id, count it, and answer for errors that nothing else handles."""
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.state.began = began = time.perf_counter()
        status = 500
        try:
            response = await call_next(request)
            status = response.status_code
        except Exception:
            log.exception("request %s: 500", request.state.request_id)
            response = _reply(FAILED, request)
        finally:
            # The route, not the path: a path may hold anything, and each value would be a series.
            route = getattr(request.scope.get("route"), "path", "unknown")
            metrics.requests.labels(route, status).inc()
            metrics.seconds.labels(route).observe(time.perf_counter() - began)
        response.headers["x-request-id"] = request.state.request_id
        return response

    @app.exception_handler(TFServingError)
    async def failed(request: Request, error: TFServingError) -> JSONResponse:
        problem = problem_of(error, version=request.state.version)
        log.log(
            logging.ERROR if problem.status >= 500 else logging.INFO,
            "request %s: %d: %s",
            request.state.request_id,
            problem.status,
            line_of(error),
        )
        return _reply(problem, request)

    @app.exception_handler(Overloaded)
    async def overloaded(request: Request, error: Overloaded) -> JSONResponse:
        return _reply(OVERLOADED, request)

    @app.exception_handler(Disconnected)
    async def left(request: Request, error: Disconnected) -> Response:
        """Nobody reads this reply; its status is for the metrics."""
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return _reply(Problem(400, "invalid_input", f"{place}: {first['msg']}"), request)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        """A wrong path or method, or a body that is too large."""
        status = error.status_code
        name = "Request Entity Too Large" if status == 413 else HTTPStatus(status).phrase  # Python 3.13 renamed 413
        reply = _reply(Problem(status, name.lower().replace(" ", "_"), str(error.detail)), request)
        reply.headers.update(error.headers or {})  # such as Allow
        return reply

    @app.post("/v1/digits", responses=ERRORS)
    async def classify(body: DigitRequest, request: Request, timeout: Timeout = None) -> DigitReply:
        return await _classified(body, request, timeout)

    @app.post("/v1/versions/{version}/digits", responses=ERRORS)
    async def classify_with_version(
        version: Version, body: DigitRequest, request: Request, timeout: Timeout = None
    ) -> DigitReply:
        return await _classified(body, request, timeout, version)

    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        """The process answers; a failure is a reason to restart it. Does not ask the model server."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def ready(request: Request) -> JSONResponse:
        """The model is served; a failure is a reason to send requests elsewhere."""
        if await _model(request).is_ready():
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, 503)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _model(request: Request) -> DigitModel:
    model: DigitModel = request.app.state.model
    return model


async def _classified(
    body: DigitRequest, request: Request, timeout: float | None, version: int | None = None
) -> DigitReply:
    request.state.version = version
    image = np.asarray(body.pixels, np.float32)[..., np.newaxis]
    if timeout is not None:  # what is left of it
        timeout = max(0.001, timeout - (time.perf_counter() - request.state.began))
    call = _model(request).classify(image, request.state.request_id, version, timeout)
    answer = await unless_disconnected(request, call)
    return DigitReply(digit=answer.digit, probability=answer.probability, version=answer.version)


def _reply(problem: Problem, request: Request) -> JSONResponse:
    return JSONResponse(problem.body(request.state.request_id), problem.status, problem.headers())
