"""The web service, a WSGI application: ``gunicorn`` in this folder serves it, as gunicorn.conf.py says."""

from __future__ import annotations

import logging
import re
import time
import uuid

import numpy as np
import numpy.typing as npt
from flask import Flask, Response, g, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, RequestEntityTooLarge

from digit_app.metrics import Metrics
from digit_app.model import DigitModel
from digit_app.problems import FAILED, OVERLOADED, Overloaded, Problem, line_of, problem_of
from digit_app.settings import Settings
from tfs_client import TFServingError

log = logging.getLogger(__name__)

MAX_BODY = 64 << 10  # bytes
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def create_app(settings: Settings | None = None) -> Flask:
    """Create the app, once in each process. Tests pass settings; a deployment sets environment variables."""
    metrics = Metrics()
    model = DigitModel(settings or Settings.from_environment(), metrics)
    app = Flask("digit_app")
    # Flask cuts a body without a Content-Length off here, in silence. The byte more shows that it was too large.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    app.extensions["digits"] = model

    @app.before_request
    def begin() -> None:
        given = request.headers.get("x-request-id", "")
        g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        g.began = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        # The route, not the path: a path may hold anything, and each value would be a series.
        route = request.url_rule.rule if request.url_rule else "unknown"
        metrics.requests.labels(route, response.status_code).inc()
        metrics.seconds.labels(route).observe(time.perf_counter() - g.began)
        response.headers["x-request-id"] = g.request_id
        return response

    @app.errorhandler(TFServingError)
    def failed(error: TFServingError) -> Response:
        problem = problem_of(error, version=(request.view_args or {}).get("version"))
        level = logging.ERROR if problem.status >= 500 else logging.INFO
        log.log(level, "request %s: %d: %s", g.request_id, problem.status, line_of(error))
        return _reply(problem)

    @app.errorhandler(Overloaded)
    def overloaded(error: Overloaded) -> Response:
        return _reply(OVERLOADED)

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.error("request %s: 500", g.request_id, exc_info=error)
        return _reply(FAILED)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        name = "invalid_input" if error.code == 400 else error.name.lower().replace(" ", "_")
        reply = _reply(Problem(error.code or 500, name, error.description or error.name))
        reply.headers.update(
            {key: value for key, value in error.get_headers() if key != "Content-Type"}
        )  # such as Allow
        return reply

    @app.post("/v1/digits")
    @app.post("/v1/versions/<int:version>/digits")
    def classify(version: int | None = None) -> Response:
        if version is not None and version >= 1 << 63:
            raise NotFound("versions are at most 63 bits long")
        image, timeout = _image(_document()), _timeout()
        answer = model.classify(image, g.request_id, version, timeout)
        return jsonify(answer._asdict())

    @app.get("/healthz")
    def alive() -> Response:
        """The process answers; a failure is a reason to restart it. Does not ask the model server."""
        return jsonify(status="alive")

    @app.get("/readyz")
    def ready() -> tuple[Response, int]:
        """The model is served; a failure is a reason to send requests elsewhere."""
        return (jsonify(status="ready"), 200) if model.is_ready() else (jsonify(status="not ready"), 503)

    @app.get("/metrics")
    def show_metrics() -> Response:
        return Response(metrics.page(), content_type=CONTENT_TYPE_LATEST)

    return app


def _document() -> object:
    """Read the request's JSON."""
    if len(request.get_data()) > MAX_BODY:
        raise RequestEntityTooLarge
    try:
        return request.get_json()
    except RecursionError:
        raise BadRequest("the JSON is nested too deeply") from None


def _timeout() -> float | None:
    """Seconds for which the caller still waits: the header ``x-request-timeout``, less the time that has passed."""
    given = request.headers.get("x-request-timeout")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:  # NaN is not, either
        raise BadRequest("x-request-timeout: expected a number of seconds, more than 0 and at most 3600")
    return max(0.001, seconds - (time.perf_counter() - g.began))


def _image(document: object) -> npt.NDArray[np.float32]:
    """Read a grey picture from JSON: rows of brightness, from 0 to 1. The model decides about its size."""
    pixels = document.get("pixels") if isinstance(document, dict) else None
    try:
        array = np.asarray(pixels)
    except ValueError:
        raise BadRequest("pixels: the rows have different lengths") from None
    if array.ndim != 2 or array.dtype.kind not in "fi":
        raise BadRequest("pixels: expected a list of rows, and each row a list of numbers")
    if not ((array >= 0) & (array <= 1)).all():  # NaN is not, either
        raise BadRequest("pixels: expected numbers from 0 to 1")
    return array.astype(np.float32)[..., np.newaxis]


def _reply(problem: Problem) -> Response:
    response = jsonify(problem.body(g.request_id))
    response.status_code = problem.status
    response.headers.extend(problem.headers())
    return response
