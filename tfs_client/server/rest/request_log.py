"""The lines about HTTP requests that ``TF_CPP_VMODULE=http_server=1`` turns on (model_servers/http_server.cc).

They are for debugging: the logger is silent unless its level is DEBUG.
"""

from __future__ import annotations

import logging

from tfs_client.errors import StatusCode

log: logging.Logger = logging.getLogger("tfs_client.server.http_server")


def processing(request: str, size: int) -> None:
    """Log that a request, ``GET /path``, is processed; its inflated body has ``size`` bytes."""
    log.debug("Processing HTTP request: %s body: %d bytes.", request, size)


def failed(request: str, code: StatusCode, details: str) -> None:
    """Log the status with which a request has ended, unless it is OK."""
    if code is not StatusCode.OK:
        log.debug("Error Processing HTTP/REST request: %s Error: %s: %s", request, code.name, details)


def ignored(request: str) -> None:
    """Log a request for a path outside the API."""
    log.debug("Ignoring HTTP request: %s", request)
