"""Responses outside the API: HTML error pages of the HTTP layer, after which the connection closes, and pages by path.

Source: libevent's http.c; model_servers/http_server.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from tfs_client._codec import tfs_serve_calls
from tfs_client.server.rest import routes

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

KNOWN_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
Headers = Mapping[str, str]
"""Headers by their names in lower case."""

Page = Callable[[str], "tuple[int, str | bytes, str]"]
"""Takes the path with the query, and returns a status, a text and its media type."""

TEXT, JSON = "text/plain", "application/json"

HEADERS = {"content-type": "text/html", "connection": "close"}


def error_page(scope: Scope, headers: Headers, target: str, paths: Container[str] = ()) -> Response | None:
    """Return the page for a request that reaches neither the API nor one of these paths; None for other requests."""
    if scope["http_version"] not in ("1.0", "1.1"):
        return _page(400)
    if scope["method"] not in KNOWN_METHODS:
        return _page(501)
    if not routes.is_clean(target):
        return _page(400)
    if headers.get("expect", "100-continue").lower() != "100-continue":
        return _page(417)
    return None if routes.is_api(target) or path_of(target) in paths else _page(404)


def path_of(target: str) -> str:
    """Return the path without the query, by which pages are found."""
    return target.partition("?")[0]


def metrics_page(path: str, text: Callable[[], str]) -> Page:
    """Return the page of metrics. Unlike other pages it refuses a query, as the model server does."""

    def page(target: str) -> tuple[int, str, str]:
        if target != path:
            return 400, f"Unexpected path: {target}. Should be {path}", TEXT
        return 200, text(), TEXT

    return page


def models_page(names: Callable[[], Iterable[str]]) -> Page:
    """Return the page of the models' names, which TensorFlow Serving does not have."""
    return lambda target: (200, tfs_serve_calls.write(names()), JSON)


def _page(code: int) -> Response:
    from starlette.responses import Response

    return Response(page_text(code), code, HEADERS)


def page_text(code: int) -> bytes:
    """Return the HTML page for a status."""
    phrase = HTTPStatus(code).phrase
    return (
        f"<HTML><HEAD>\n<TITLE>{code} {phrase}</TITLE>\n</HEAD><BODY>\n<H1>{phrase}</H1>\n</BODY></HTML>\n"
    ).encode()
