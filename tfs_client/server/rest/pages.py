"""The answers that come from below the API: small HTML pages, after which the connection closes.

Source: the contract's section on answers produced below the application; libevent's http.c.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from tfs_client.server.rest import routes

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

KNOWN_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
HEADERS = {"content-type": "text/html", "connection": "close"}


def page_below(request: Request, target: str) -> Response | None:
    """The page, for a request that does not reach the API; None for one that does."""
    if request.method not in KNOWN_METHODS:
        return _page(501)
    if not routes.is_clean(target):
        return _page(400)
    if request.headers.get("expect", "100-continue").lower() != "100-continue":
        return _page(417)
    return None if routes.is_api(target) else _page(404)


def _page(code: int) -> Response:
    from starlette.responses import Response

    return Response(page_text(code), code, HEADERS)


def page_text(code: int) -> bytes:
    """The page for a status."""
    phrase = HTTPStatus(code).phrase
    return (
        f"<HTML><HEAD>\n<TITLE>{code} {phrase}</TITLE>\n</HEAD><BODY>\n<H1>{phrase}</H1>\n</BODY></HTML>\n"
    ).encode()
