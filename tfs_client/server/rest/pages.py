"""Answers that are none of the API's: small HTML pages from below it, after which the connection closes, and pages at
a path of their own.

Source: the contract's section on answers produced below the application; libevent's http.c; http_server.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from tfs_client.server.rest import routes

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

KNOWN_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
Headers = Mapping[str, str]
"""By their names in lower case."""

Page = Callable[[str], "tuple[int, str]"]
"""Gets the path with the query, and gives a status and plain text."""

HEADERS = {"content-type": "text/html", "connection": "close"}


def page_below(scope: Scope, headers: Headers, target: str, paths: Container[str] = ()) -> Response | None:
    """The page, for a request that reaches neither the API nor one of these paths; None for one that does."""
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
    """The path without the query: what paths of their own are compared with."""
    return target.partition("?")[0]


def metrics_page(path: str, text: Callable[[], str]) -> Page:
    """The page of metrics. A path of its own does not mind a query, but this page does, as in the model server."""

    def page(target: str) -> tuple[int, str]:
        return (200, text()) if target == path else (400, f"Unexpected path: {target}. Should be {path}")

    return page


def _page(code: int) -> Response:
    from starlette.responses import Response

    return Response(page_text(code), code, HEADERS)


def page_text(code: int) -> bytes:
    """The page for a status."""
    phrase = HTTPStatus(code).phrase
    return (
        f"<HTML><HEAD>\n<TITLE>{code} {phrase}</TITLE>\n</HEAD><BODY>\n<H1>{phrase}</H1>\n</BODY></HTML>\n"
    ).encode()
